// SPDX-License-Identifier: Apache-2.0
//! `conex manual`

use std::path::PathBuf;

use crate::error::{CommandError, CommandResult};
use crate::output;

/// Write the manual pages, one for each command
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex manual /usr/local/share/man/man1
  conex manual pages && man pages/conex-run.1")]
pub(crate) struct Args {
    /// Where to; made if it is not there
    directory: PathBuf,
}

/// Runs the verb, for the program with this command line.
pub(crate) fn run(args: &Args, command: clap::Command) -> CommandResult {
    let failed = |error| CommandError::tool(format!("manual: {}: {error}", args.directory.display()));
    std::fs::create_dir_all(&args.directory).map_err(failed)?;
    // One page names what the program was called as; help is not a command of its own.
    clap_mangen::generate_to(command.disable_help_subcommand(true), &args.directory).map_err(failed)?;
    output::print(&format!("{}\n", args.directory.display()))?;
    Ok(0)
}
