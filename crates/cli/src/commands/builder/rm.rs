// SPDX-License-Identifier: Apache-2.0
//! `conex builder rm`, `conex builder rename`

use conex_build::container;

use super::{engine, hold};
use crate::error::{CommandError, CommandResult, Context as _};
use crate::output;
use crate::session::Session;

/// Remove working containers
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Names or ids
    #[arg(value_name = "CONTAINER", required_unless_present = "all")]
    containers: Vec<String>,
    /// All of them
    #[arg(short, long, conflicts_with = "containers")]
    all: bool,
}

/// Give a working container another name
#[derive(clap::Args, Debug)]
pub(crate) struct RenameArgs {
    /// Name or id
    container: String,
    /// The new name
    name: String,
}

/// Runs the verb.
pub(super) fn run(args: &Args, session: &Session) -> CommandResult {
    let engine = engine(session)?;
    let mut names = args.containers.clone();
    if args.all {
        names.extend(container::list(&engine)?.into_iter().map(|(working, _)| working.name));
    }
    let mut failures = Vec::new();
    for name in &names {
        let removed = hold(&engine, name).and_then(|held| {
            let id = held.record.id.clone();
            container::remove(&engine, held)?;
            output::print_line(&id)
        });
        failures.extend(removed.context(|| format!("rm {name}")).err());
    }
    CommandError::first(failures).map_or(Ok(0), Err)
}

/// Runs the verb.
pub(super) fn rename(args: &RenameArgs, session: &Session) -> CommandResult {
    let engine = engine(session)?;
    let context = || format!("rename {}", args.container);
    let held = hold(&engine, &args.container).context(context)?;
    container::rename(&engine, held, &args.name).context(context)?;
    Ok(0)
}
