// SPDX-License-Identifier: Apache-2.0
//! `conex builder unshare`

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use conex_build::container;

use super::{engine, hold};
use crate::environment::{ROOTLESS_GID, ROOTLESS_UID, USERNS_CONFIGURED};
use crate::error::{CommandError, CommandResult, Context as _};
use crate::session::Session;

/// Run a program, or a shell, as root of the user namespace that an ordinary user's images belong to
///
/// Mounts that are made in there last until it ends. For root it is the program alone.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex builder unshare                      a shell
  conex builder unshare sh build.sh          a script that mounts working containers
  conex builder unshare --mount DIR=c -- ls -l '$DIR'")]
pub(crate) struct Args {
    /// Mount a working container, and tell where in a variable: VARIABLE=CONTAINER
    #[arg(short, long, value_name = "VARIABLE=CONTAINER")]
    mount: Vec<String>,
    /// The program and its arguments [default: $SHELL]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    let shell = session.environment.variable("SHELL").unwrap_or_else(|| "/bin/sh".into());
    let mut command = match args.command.split_first() {
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments);
            command
        }
        None => Command::new(shell),
    };
    let engine = engine(session)?;
    for text in &args.mount {
        let (variable, name) = text.split_once('=').unwrap_or((text, text));
        let mut held = hold(&engine, name).context(|| format!("unshare --mount {text}"))?;
        command.env(variable, container::mount(&engine, &mut held)?);
    }
    if session.environment.is_rootless() {
        command
            .env(USERNS_CONFIGURED, "done")
            .env(ROOTLESS_UID, session.environment.uid.to_string())
            .env(ROOTLESS_GID, session.environment.gid.to_string());
    }
    let error = command.exec();
    let missing = error.kind() == std::io::ErrorKind::NotFound;
    let program = command.get_program().to_string_lossy().into_owned();
    Err(CommandError::program(missing, format!("unshare: execute {program}: {error}")))
}
