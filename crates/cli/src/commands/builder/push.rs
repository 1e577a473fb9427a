// SPDX-License-Identifier: Apache-2.0
//! `conex builder push`

use std::path::PathBuf;

use conex_engine::image;
use conex_engine::images::transfer::Select;
use conex_engine::transport::Location;

use super::super::copy;
use super::super::form::FormArgs;
use crate::error::{CommandResult, Context as _};
use crate::session::{RegistryArgs, Session};

/// Send an image of the store to a registry, or to any other place
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex builder push app quay.io/org/app:1
  conex builder push app oci:layout:1")]
pub(crate) struct Args {
    /// Name or id of an image in the store
    image: String,
    /// Where to; without a transport, on a registry [default: its own name]
    destination: Option<String>,
    /// Accepted for habit: what an index leads to is sent
    #[arg(long, hide = true)]
    all: bool,
    /// Write the manifest's digest to a file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    form: FormArgs,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Runs the verb.
pub(super) fn run(args: &Args, session: &Session) -> CommandResult {
    // The copy enters the user namespace: before it, names alone are read.
    let engine = session.engine()?;
    let context = || format!("push {}", args.image);
    let found = image::find(&engine, &args.image).context(context)?;
    let destination = args.destination.as_deref().unwrap_or(&found.name);
    let request = copy::Request {
        source: Location::Store(args.image.clone()),
        destination: place(destination).context(context)?,
        select: Select::All,
        quiet: args.quiet,
        form: args.form.form()?,
        ..copy::Request::new(session, &args.registry)?
    };
    let copied = request.run(session).context(context)?;
    if let Some(file) = &args.digestfile {
        std::fs::write(file, copied.digest.as_str()).context(|| file.display().to_string())?;
    }
    Ok(0)
}

/// A place; without a transport it is on a registry.
fn place(text: &str) -> Result<Location, conex_engine::Error> {
    match Location::parse(text, true)? {
        Location::Store(name) if !text.starts_with("store:") => {
            Location::parse(&format!("docker://{name}"), false)
        }
        location => Ok(location),
    }
}
