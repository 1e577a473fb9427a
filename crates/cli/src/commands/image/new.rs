// SPDX-License-Identifier: Apache-2.0
//! `conex image new`, `umoci new`

use conex_engine::images::layout::Layout;
use conex_engine::images::mutate::Draft;
use conex_spec::image::Platform;

use super::edit_args::{Caller, now};
use crate::error::{CommandError, CommandResult, Context as _};
use crate::session::Session;

/// Make an image of nothing
///
/// It is for this machine's platform; `config` changes that and everything else.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex layout init images && conex image new --image oci:images:scratch
  conex image insert --image oci:images:scratch ./program /bin/program
  conex image config --image oci:images:scratch --config.entrypoint /bin/program")]
pub(crate) struct Args {
    /// The image's name: oci:DIRECTORY[:TAG] (umoci: DIRECTORY[:TAG])
    #[arg(long, value_name = "IMAGE")]
    image: String,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session, caller: Caller) -> CommandResult {
    make(args, session, caller).context(|| format!("new {}", args.image))
}

fn make(args: &Args, session: &Session, caller: Caller) -> Result<u8, CommandError> {
    let place = caller.place(&args.image)?;
    let draft = Draft::new(&Platform::host(), now(session)?);
    draft.commit(&Layout::open(&place.layout)?, &place.name)?;
    Ok(0)
}
