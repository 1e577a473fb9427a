// SPDX-License-Identifier: Apache-2.0
//! `conex rm`

use conex_engine::container::{self, Force};

use crate::error::{CommandError, CommandResult, Context as _};
use crate::output;
use crate::session::Session;

/// Remove containers
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex rm web
  conex rm -f web                            also while it runs
  conex rm $(conex ps -aq)                   all that have ended
Exit codes: 1 where a container is missing, 2 where one runs.")]
pub(crate) struct Args {
    /// Name, id, or the beginning of one
    #[arg(value_name = "CONTAINER", required_unless_present = "all")]
    containers: Vec<String>,
    /// Kill those that run; a missing one is no error
    #[arg(short, long)]
    force: bool,
    /// All containers
    #[arg(short, long, conflicts_with = "containers")]
    all: bool,
    /// Accepted for habit: there are no anonymous volumes
    #[arg(short, long, hide = true)]
    volumes: bool,
}

/// Runs the verb: first what needs the right to signal, then what needs the right to delete.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    let engine = session.engine()?;
    let force = if args.force { Force::Yes } else { Force::No };
    let names: Vec<String> = match args.all {
        true => container::ids(&engine)?,
        false => args.containers.clone(),
    };
    let mut ended = Vec::new();
    let mut failures = Vec::new();
    for name in names {
        let end = || {
            let container = container::find(&engine, &name)?;
            container.end(&engine, force).map(|()| container)
        };
        match end().context(|| format!("rm {name}")) {
            Ok(container) => ended.push((name, container)),
            Err(error) if args.force && error.is_not_found() => {}
            Err(error) => failures.push(error),
        }
    }
    session.enter_user_namespace()?;
    for (name, container) in ended {
        match container::remove(&engine, &container).context(|| format!("rm {name}")) {
            Ok(()) => output::print_line(&name)?,
            Err(error) => failures.push(error),
        }
    }
    session.sweep(&engine)?;
    CommandError::first(failures).map_or(Ok(0), Err)
}
