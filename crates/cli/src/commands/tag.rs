// SPDX-License-Identifier: Apache-2.0
//! `conex tag`

use conex_engine::image;

use crate::error::{CommandResult, Context as _};
use crate::session::Session;

/// Give an image more names
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  conex tag alpine quay.io/org/base:3        then: conex push quay.io/org/base:3")]
pub(crate) struct Args {
    /// Name or id of an image in the store
    image: String,
    /// The new names
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    let engine = session.engine()?;
    for name in &args.names {
        image::tag(&engine, &args.image, name).context(|| format!("tag {} {name}", args.image))?;
    }
    Ok(0)
}
