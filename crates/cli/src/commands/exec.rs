// SPDX-License-Identifier: Apache-2.0
//! `conex exec`

use std::io::IsTerminal as _;

use conex_engine::container::{self, ExecEnd, ExecOptions};

use super::container_args::resolve_environment;
use crate::error::{CommandError, CommandResult, Context as _, Manner};
use crate::session::Session;

/// Run another program in a running container
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex exec web ls /
  conex exec -it web sh
  conex exec -u root -w /srv -e DEBUG=1 web ./check
Exit codes: the program's own; 127 where it is missing, 126 where it cannot be executed, 125 where conex failed.")]
pub(crate) struct Args {
    /// Keep stdin open
    #[arg(short, long)]
    interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Leave it running and return at once
    #[arg(short, long)]
    detach: bool,
    /// Set a variable; a name alone takes the value from here
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Run as USER[:GROUP]
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// Start in this directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// With all capabilities
    #[arg(long)]
    privileged: bool,
    /// The container, and the program with its arguments
    #[arg(required = true, num_args = 2.., trailing_var_arg = true, value_name = "CONTAINER COMMAND [ARG]")]
    container_and_command: Vec<String>,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    let (name, command) = args.container_and_command.split_first().expect("clap demands two words");
    if args.tty && args.interactive && !args.detach && !std::io::stdin().is_terminal() {
        return Err(CommandError::usage("exec -it: stdin is not a terminal")
            .with_hint("leave out -t where no person types: conex exec -i …"));
    }
    let engine = session.engine()?;
    let options = ExecOptions {
        command: command.to_vec(),
        env: resolve_environment(session, &args.env)?,
        user: args.user.clone(),
        cwd: args.workdir.clone(),
        terminal: args.tty,
        stdin: args.interactive,
        detach: args.detach,
        privileged: args.privileged,
    };
    let exec = || container::exec(&engine, &container::find(&engine, name)?, &options);
    match exec().context(|| format!("exec {name}"))? {
        ExecEnd::Exited(code) => Ok(code),
        // Told already: two messages about one thing would look like two things.
        ExecEnd::Refused(error) => Ok(CommandError::from(error).exit_code(Manner::Engine)),
    }
}
