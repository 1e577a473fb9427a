// SPDX-License-Identifier: Apache-2.0
//! `conex pull`

use conex_engine::image;
use conex_spec::image::Platform;

use crate::commands::platform::parse_platform;
use crate::error::{CommandResult, Context as _};
use crate::output;
use crate::session::{RegistryArgs, Session};

/// Bring images from their registries into the store
///
/// Each layer is downloaded, verified and unpacked in one pass; layers that are here already are not asked for. An
/// interrupted pull goes on where it stopped.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex pull alpine                          docker.io/library/alpine:latest
  conex pull quay.io/org/app:1.2             another registry
  conex pull alpine@sha256:…                 exactly this one
  conex pull --tls-verify=false localhost:5000/app")]
pub(crate) struct Args {
    /// What to bring
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// For another machine: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", value_parser = parse_platform)]
    platform: Option<Platform>,
    /// Print the image ids only
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    let engine = session.engine_for(&args.registry)?;
    session.enter_user_namespace()?;
    let platform = args.platform.clone().unwrap_or_else(Platform::host);
    for name in &args.images {
        let progress = session.progress(args.quiet);
        let pulled =
            image::pull(&engine, name, &platform, progress.as_ref()).context(|| format!("pull {name}"))?;
        if !args.quiet {
            output::note(&format!("{}@{}", pulled.reference, pulled.descriptor.digest));
        }
        output::print_line(pulled.id.hex())?;
    }
    Ok(0)
}
