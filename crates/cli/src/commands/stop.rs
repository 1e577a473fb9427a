// SPDX-License-Identifier: Apache-2.0
//! `conex stop`

use std::time::Duration;

use conex_engine::container;

use crate::error::{CommandResult, Context as _};
use crate::output;
use crate::session::Session;

/// Ask containers to end, and end them if they do not
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex stop web                             its stop signal, and SIGKILL 10 seconds later
  conex stop -t 0 web                        SIGKILL at once")]
pub(crate) struct Args {
    /// Name, id, or the beginning of one
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
    /// Seconds until SIGKILL [default: what the container was made with, 10]
    #[arg(short, long, value_name = "SECONDS")]
    time: Option<u64>,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    let engine = session.engine()?;
    for name in &args.containers {
        let stop =
            || container::stop(&engine, &container::find(&engine, name)?, args.time.map(Duration::from_secs));
        stop().context(|| format!("stop {name}"))?;
        output::print_line(name)?;
    }
    Ok(0)
}
