// SPDX-License-Identifier: Apache-2.0
//! `conex completions`

use clap_complete::Shell;

use crate::error::CommandResult;
use crate::output;

/// Print a shell's completions
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex completions bash > /usr/share/bash-completion/completions/conex
  conex completions zsh > ~/.zfunc/_conex
  conex completions fish > ~/.config/fish/completions/conex.fish")]
pub(crate) struct Args {
    /// Which shell
    shell: Shell,
}

/// Runs the verb, for the program with this command line.
pub(crate) fn run(args: &Args, mut command: clap::Command) -> CommandResult {
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(0)
}
