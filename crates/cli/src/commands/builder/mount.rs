// SPDX-License-Identifier: Apache-2.0
//! `conex builder mount`, `conex builder umount`

use conex_build::container::{self, Held};
use serde_json::json;

use super::{engine, hold};
use crate::error::{CommandError, CommandResult, Context as _};
use crate::output;
use crate::session::Session;

/// Show working containers' files at a path, or list those that are mounted
///
/// An ordinary user's mounts last as long as the shell that `conex builder unshare` starts.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  m=$(conex builder mount c)                 then: cp -r site $m/srv
  conex builder unshare                      a shell in which an ordinary user can do that")]
pub(crate) struct Args {
    /// Names or ids of working containers
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Accepted for habit
    #[arg(long, hide = true)]
    notruncate: bool,
}

/// Take the mounts of working containers away
#[derive(clap::Args, Debug)]
pub(crate) struct UmountArgs {
    /// Names or ids of working containers
    #[arg(value_name = "CONTAINER", required_unless_present = "all")]
    containers: Vec<String>,
    /// All of them
    #[arg(short, long, conflicts_with = "containers")]
    all: bool,
}

/// Runs the verb.
pub(super) fn run(args: &Args, session: &Session) -> CommandResult {
    if !args.containers.is_empty() && session.environment.is_rootless() && !session.environment.is_unshared()
    {
        let message = "an ordinary user's mount would end with this command";
        return Err(CommandError::tool(message)
            .with_hint("start a shell by `conex builder unshare`, and mount in there"));
    }
    let engine = engine(session)?;
    if args.containers.is_empty() {
        let mounted = container::mounted(&engine)?;
        if args.json {
            let rows: Vec<_> = mounted
                .iter()
                .map(|one| json!({"container": one.name, "mountPoint": one.path.display().to_string()}))
                .collect();
            return output::print(&output::pretty(&json!(rows))).map(|()| 0);
        }
        for one in mounted {
            output::print_line(&format!("{} {}", one.name, one.path.display()))?;
        }
        return Ok(0);
    }
    for name in &args.containers {
        let mut held = hold(&engine, name).context(|| format!("mount {name}"))?;
        let path = container::mount(&engine, &mut held).context(|| format!("mount {name}"))?;
        output::print_line(&match args.containers.len() {
            1 => path.display().to_string(),
            _ => format!("{name} {}", path.display()),
        })?;
    }
    Ok(0)
}

/// Runs the verb.
pub(super) fn umount(args: &UmountArgs, session: &Session) -> CommandResult {
    let engine = engine(session)?;
    let mut helds: Vec<Held> = Vec::new();
    if args.all {
        for one in container::mounted(&engine)? {
            helds.push(hold(&engine, &one.name)?);
        }
    }
    for name in &args.containers {
        helds.push(hold(&engine, name).context(|| format!("umount {name}"))?);
    }
    for mut held in helds {
        container::umount(&engine, &mut held).context(|| format!("umount {}", held.working.name))?;
        output::print_line(&held.record.id)?;
    }
    Ok(0)
}
