// SPDX-License-Identifier: Apache-2.0
//! `conex builder from`

use std::path::PathBuf;

use conex_build::container::{FromOptions, Isolation, from};
use conex_engine::image::{self, PullPolicy};
use conex_spec::image::Platform;

use super::super::platform::parse_platform;
use crate::error::{CommandResult, Context as _};
use crate::output;
use crate::session::{RegistryArgs, Session};

/// Make a working container of an image, and print its name
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex builder from alpine                  alpine-working-container
  conex builder from --name base scratch     from nothing")]
pub(crate) struct Args {
    /// What to begin with; `scratch`: nothing
    image: String,
    /// Its name [default: IMAGE-working-container]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// When to ask the registry: always, missing, never
    #[arg(long, value_name = "POLICY", num_args = 0..=1, require_equals = true, default_missing_value = "missing")]
    pull: Option<String>,
    /// Ask the registry in any case
    #[arg(long, hide = true)]
    pull_always: bool,
    /// Never ask the registry
    #[arg(long, hide = true)]
    pull_never: bool,
    /// For another machine: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", value_parser = parse_platform)]
    platform: Option<Platform>,
    /// How `run` confines: oci, rootless, chroot
    #[arg(long, value_name = "HOW", value_parser = isolation)]
    isolation: Option<Isolation>,
    /// Write its id to a file
    #[arg(long, value_name = "FILE")]
    cidfile: Option<PathBuf>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Runs the verb.
pub(super) fn run(args: &Args, session: &Session) -> CommandResult {
    let engine = session.engine_for(&args.registry)?;
    session.enter_user_namespace()?;
    conex_build::container::sweep(&engine)?;
    let image = match args.image.as_str() {
        "scratch" => None,
        name => {
            let platform = args.platform.clone().unwrap_or_else(Platform::host);
            let progress = session.progress(args.quiet);
            let context = || format!("from {name}");
            let policy = policy(args).context(context)?;
            Some(image::ensure(&engine, name, policy, &platform, progress.as_ref()).context(context)?)
        }
    };
    let options =
        FromOptions { image, name: args.name.clone(), isolation: args.isolation.unwrap_or_default() };
    let held = from(&engine, &options).context(|| format!("from {}", args.image))?;
    if let Some(file) = &args.cidfile {
        std::fs::write(file, &held.record.id).context(|| file.display().to_string())?;
    }
    output::print_line(&held.working.name).map(|()| 0)
}

fn policy(args: &Args) -> Result<PullPolicy, crate::error::CommandError> {
    let word = match (args.pull_always, args.pull_never) {
        (true, _) => "always",
        (_, true) => "never",
        _ => args.pull.as_deref().unwrap_or("missing"),
    };
    Ok(match word {
        "always" | "newer" | "ifnewer" => PullPolicy::Always,
        "missing" | "ifmissing" | "true" => PullPolicy::Missing,
        "never" | "false" => PullPolicy::Never,
        _ => {
            let message = format!("--pull {word:?}: there are always, missing, never");
            return Err(crate::error::CommandError::usage(message));
        }
    })
}

/// `--isolation`
pub(super) fn isolation(text: &str) -> Result<Isolation, String> {
    match text {
        "oci" | "" => Ok(Isolation::Oci),
        "rootless" => Ok(Isolation::Rootless),
        "chroot" => Ok(Isolation::Chroot),
        _ => Err(format!("{text:?} is no isolation: there are oci, rootless, chroot")),
    }
}
