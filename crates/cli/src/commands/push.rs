// SPDX-License-Identifier: Apache-2.0
//! `conex push`

use conex_engine::images::transfer::Select;
use conex_engine::transport::Location;

use super::copy;
use super::signing::SigningArgs;
use crate::error::{CommandResult, Context as _};
use crate::session::{RegistryArgs, Session};

/// Send an image of the store to a registry
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex push quay.io/org/app:1               under its own name
  conex push app quay.io/org/app:1           under another one")]
pub(crate) struct Args {
    /// Name or id of an image in the store
    image: String,
    /// Where to, with or without docker:// [default: its own name]
    destination: Option<String>,
    /// Print nothing but the digest
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    signing: SigningArgs,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    let engine = session.engine()?;
    let destination = match &args.destination {
        Some(destination) => destination.strip_prefix("docker://").unwrap_or(destination).to_owned(),
        None => {
            conex_engine::image::find(&engine, &args.image).context(|| format!("push {}", args.image))?.name
        }
    };
    let request = copy::Request {
        source: Location::Store(args.image.clone()),
        destination: Location::parse(&format!("docker://{destination}"), false)?,
        select: Select::All,
        quiet: args.quiet,
        signatures: args.signing.wishes(session, None).context(|| format!("push {}", args.image))?,
        ..copy::Request::new(session, &args.registry)?
    };
    request.run(session).context(|| format!("push {}", args.image))?;
    Ok(0)
}
