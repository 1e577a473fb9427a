// SPDX-License-Identifier: Apache-2.0
//! `conex rmi`

use conex_engine::image;

use crate::error::{CommandResult, Context as _};
use crate::output;
use crate::session::Session;

/// Remove names of images, and what only they led to
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex rmi alpine                           the name, and with its last name the image
  conex rmi -f alpine                        also while containers were made from it
Exit codes: 1 where an image is missing, 2 where one is in use.")]
pub(crate) struct Args {
    /// Name or id
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// Also images that containers were made from; a missing image is no error
    #[arg(short, long)]
    force: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    let engine = session.engine()?;
    session.enter_user_namespace()?;
    for name in &args.images {
        match image::remove(&engine, name, args.force).context(|| format!("rmi {name}")) {
            Ok(removed) => {
                output::print_line(&format!("Untagged: {}", removed.untagged))?;
                if let Some(id) = removed.deleted {
                    output::print_line(&format!("Deleted: {id}"))?;
                }
            }
            Err(error) if args.force && error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(0)
}
