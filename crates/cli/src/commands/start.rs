// SPDX-License-Identifier: Apache-2.0
//! `conex start`

use conex_engine::container::{self, Attach};

use super::run::follow;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::output;
use crate::session::Session;

/// Start containers that were made or have ended
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex start web
  conex start -a job                         and show what it prints, until it ends")]
pub(crate) struct Args {
    /// Name, id, or the beginning of one
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
    /// Show its output and wait for its end; only with one container
    #[arg(short, long)]
    attach: bool,
    /// Also send it our input, if it was made with -i
    #[arg(short, long)]
    interactive: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    let attach = args.attach || args.interactive;
    if attach && args.containers.len() > 1 {
        return Err(CommandError::usage("start -a: only one container at a time"));
    }
    let engine = session.engine()?;
    session.enter_user_namespace()?;
    for name in &args.containers {
        let start = || {
            let container = container::find(&engine, name)?;
            let mut record = container.required_record()?;
            record.stdin &= args.interactive;
            let attachment =
                container::start(&engine, &container, if attach { Attach::Yes } else { Attach::No })?;
            match attachment {
                Some(attachment) => follow(&engine, &container, &record, attachment, vec![16, 17]),
                None => output::print_line(name).map(|()| 0),
            }
        };
        let code = start().context(|| format!("start {name}"))?;
        if attach {
            return Ok(code);
        }
    }
    Ok(0)
}
