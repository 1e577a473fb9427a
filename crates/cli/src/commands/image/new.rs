// SPDX-License-Identifier: Apache-2.0
//! `conex image new`, `umoci new`

use conex_engine::images::mutate::Draft;
use conex_spec::image::Platform;

use super::edit_args::{Caller, now};
use super::target::Desk;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::session::{RegistryArgs, Session};

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
    /// The image's name: docker://NAME, oci:DIRECTORY[:TAG], any place of `conex copy`; else a name in the store
    /// (umoci: DIRECTORY[:TAG])
    #[arg(long, value_name = "IMAGE")]
    image: String,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session, caller: Caller) -> CommandResult {
    make(args, session, caller).context(|| format!("new {}", args.image))
}

fn make(args: &Args, session: &Session, caller: Caller) -> Result<u8, CommandError> {
    let desk = Desk::open(session, &args.registry, None, &caller.location(&args.image)?)?;
    Draft::new(&Platform::host(), now(session)?).commit(desk.layout(), desk.name())?;
    desk.deliver(Vec::new(), session)?;
    Ok(0)
}
