// SPDX-License-Identifier: Apache-2.0
//! `conex builder run`

use std::io::IsTerminal as _;

use conex_build::container::{self, Isolation, RunOptions};
use conex_engine::container::{Network, Options, Security};
use conex_engine::volume;
use conex_spec::image::History;

use super::from::isolation;
use super::{engine, hold};
use crate::error::{CommandError, CommandResult, Context as _};
use crate::session::Session;

/// Run a program in a working container
///
/// What it changes stays for the next command and for `commit`. It has the host's network unless --network none says
/// otherwise.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex builder run c -- apk add curl
  conex builder run -v ./src:/src:ro -e CC=clang c -- make -C /src
Exit codes: the program's own (128 + n after signal n), 125 where conex failed.")]
pub(crate) struct Args {
    /// Name or id of the working container
    container: String,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
    /// As which user: USER[:GROUP], by name or number
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// In which directory
    #[arg(long, alias = "cwd", value_name = "DIR")]
    workingdir: Option<String>,
    /// Set a variable for this run: NAME=VALUE
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Show it a directory or file: SOURCE:TARGET[:ro]
    #[arg(short, long, value_name = "SPEC")]
    volume: Vec<String>,
    /// An empty file system in memory: PATH[:OPTIONS]
    #[arg(long, value_name = "PATH")]
    tmpfs: Vec<String>,
    /// host or none
    #[arg(long, alias = "net", value_name = "NETWORK", default_value = "host")]
    network: String,
    /// How it is confined: oci, rootless, chroot
    #[arg(long, value_name = "HOW", value_parser = isolation)]
    isolation: Option<Isolation>,
    /// Give it a capability
    #[arg(long, value_name = "NAME")]
    cap_add: Vec<String>,
    /// Take a capability away
    #[arg(long, value_name = "NAME")]
    cap_drop: Vec<String>,
    /// seccomp=unconfined, no-new-privileges
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<String>,
    /// The host name that it sees
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Give it a terminal [default: where this command has one]
    #[arg(short, long, alias = "tty", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    terminal: Option<bool>,
    /// Write it into the history
    #[arg(long)]
    add_history: bool,
}

/// Runs the verb.
pub(super) fn run(args: &Args, session: &Session) -> CommandResult {
    let engine = engine(session)?;
    let context = || format!("run {}", args.container);
    let mut held = hold(&engine, &args.container).context(context)?;
    let options = RunOptions {
        isolation: args.isolation.unwrap_or(held.record.isolation),
        sandbox: sandbox(args, &held.record.hostname)?,
        ..RunOptions::default()
    };
    let status = container::run(&engine, &held, options).context(context)?;
    if args.add_history && status == 0 {
        held.record.steps.push(History {
            created_by: Some(format!("/bin/sh -c {}", args.command.join(" "))),
            created: Some(conex_spec::Timestamp::from(std::time::SystemTime::now()).to_string()),
            empty_layer: true,
            ..History::default()
        });
        held.save()?;
    }
    Ok(status)
}

fn sandbox(args: &Args, hostname: &Option<String>) -> Result<Options, CommandError> {
    let cwd = std::env::current_dir().context(|| "current directory")?;
    let volumes = args.volume.iter().map(|text| volume::parse(text, &cwd)).collect::<Result<_, _>>()?;
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let mut security =
        Security { add: args.cap_add.clone(), drop: args.cap_drop.clone(), ..Security::default() };
    for option in &args.security_opt {
        match option.as_str() {
            "seccomp=unconfined" => security.unconfined = true,
            "no-new-privileges" | "no-new-privileges=true" => security.no_new_privileges = true,
            _ => return Err(CommandError::usage(format!("--security-opt {option:?} is not known"))),
        }
    }
    Ok(Options {
        image: args.container.clone(),
        command: args.command.clone(),
        // The program is what stands on the command line, whatever the image would put in front of it.
        entrypoint: Some(Vec::new()),
        env: args.env.clone(),
        volumes,
        tmpfs: args.tmpfs.clone(),
        user: args.user.clone(),
        cwd: args.workingdir.clone(),
        hostname: args.hostname.clone().or_else(|| hostname.clone()),
        network: network(&args.network)?,
        terminal: args.terminal.unwrap_or(terminal),
        stdin: true,
        security,
        ..Options::default()
    })
}

fn network(text: &str) -> Result<Network, CommandError> {
    match text {
        "host" | "" => Ok(Network::Host),
        "none" => Ok(Network::None),
        _ => Err(CommandError::usage(format!("--network {text:?}: there are host and none"))),
    }
}
