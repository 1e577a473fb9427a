// SPDX-License-Identifier: Apache-2.0
//! `conex create`

use conex_engine::container;

use super::container_args::ContainerArgs;
use super::run::{claim_cidfile, write_cidfile};
use crate::error::{CommandResult, Context as _};
use crate::output;
use crate::session::Session;

/// Make a container without starting it
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  conex create --name web httpd; conex start web")]
pub(crate) struct Args {
    #[command(flatten)]
    container: ContainerArgs,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    let context = || format!("create {}", args.container.image());
    let engine = args.container.engine(session)?;
    session.enter_user_namespace()?;
    session.sweep(&engine)?;
    let options = args.container.options(session, &engine, false).context(context)?;
    claim_cidfile(args.container.cidfile.as_deref())?;
    let (container, _) = container::create(&engine, &options).context(context)?;
    write_cidfile(args.container.cidfile.as_deref(), &container)?;
    output::print_line(&container.id)?;
    Ok(0)
}
