// SPDX-License-Identifier: Apache-2.0
//! `conex kill`

use conex_engine::container;

use crate::error::{CommandResult, Context as _};
use crate::output;
use crate::session::Session;

/// Send a signal to containers
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex kill web                             SIGKILL
  conex kill -s HUP web")]
pub(crate) struct Args {
    /// Name, id, or the beginning of one
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
    /// Which: TERM, SIGTERM, 15
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    signal: String,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    let engine = session.engine()?;
    let signal = container::parse_signal(&args.signal).context(|| "kill")?;
    for name in &args.containers {
        let kill = || container::kill(&engine, &container::find(&engine, name)?, signal);
        kill().context(|| format!("kill {name}"))?;
        output::print_line(name)?;
    }
    Ok(0)
}
