// SPDX-License-Identifier: Apache-2.0
//! `conex wait`

use conex_engine::container;

use crate::error::{CommandResult, Context as _};
use crate::output;
use crate::session::Session;

/// Wait until containers have ended, and print their exit codes
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name, id, or the beginning of one
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    let engine = session.engine()?;
    for name in &args.containers {
        let wait = || container::wait(&engine, &container::find(&engine, name)?);
        let exit = wait().context(|| format!("wait {name}"))?;
        // podman's number for a status that is not known.
        output::print_line(&exit.map_or_else(|| "-1".to_owned(), |exit| exit.code.to_string()))?;
    }
    Ok(0)
}
