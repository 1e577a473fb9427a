// SPDX-License-Identifier: Apache-2.0
//! `conex logout`, as skopeo, podman and docker have it.

use super::login::{FileArgs, key_of};
use crate::error::{CommandError, CommandResult};
use crate::output;
use crate::session::{RegistryArgs, Session};

/// Forget a login
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex logout quay.io
  conex logout --all")]
pub(crate) struct Args {
    /// The registry [default: the first of registries.conf, or docker.io]
    registry: Option<String>,
    /// Forget all logins
    #[arg(short, long, conflicts_with = "registry")]
    all: bool,
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    tls_verify: Option<bool>,
    #[command(flatten)]
    file: FileArgs,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    let file = args.file.file(session);
    if args.all {
        file.forget_all()?;
        output::print_line("Removed login credentials for all registries")?;
        return Ok(0);
    }
    let settings = session.registry(&RegistryArgs::default())?;
    let key = key_of(args.registry.as_deref(), &file, &settings)?;
    if !file.forget(&key)? {
        return Err(CommandError::tool(format!("not logged into {key}")));
    }
    output::print_line(&format!("Removed login credentials for {key}"))?;
    Ok(0)
}
