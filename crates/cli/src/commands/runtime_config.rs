// SPDX-License-Identifier: Apache-2.0
//! `conex bundle config`, `umoci raw runtime-config`

use std::path::PathBuf;

use conex_engine::images::bundle::write_runtime_config;
use conex_engine::transport::Location;
use conex_spec::image::Platform;

use super::mapping::MapArgs;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::session::{RegistryArgs, Session};

/// Write the runtime configuration of an image, and nothing else
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex bundle config --image oci:images:app config.json
  conex bundle config --image oci:images:app --rootfs bundle/rootfs bundle/config.json")]
pub(crate) struct RuntimeConfigArgs {
    /// The image: docker://NAME, oci:DIRECTORY[:TAG], store:NAME (umoci: DIRECTORY[:TAG])
    #[arg(long, value_name = "IMAGE")]
    pub image: String,
    /// Look up users by name in this root filesystem
    #[arg(long, value_name = "DIR")]
    rootfs: Option<PathBuf>,
    /// For a runtime without privileges
    #[arg(long)]
    rootless: bool,
    #[command(flatten)]
    map: MapArgs,
    /// The image's platform: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", value_parser = super::platform::parse_platform)]
    platform: Option<Platform>,
    /// The file to write
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Runs the verb.
pub(crate) fn run(args: &RuntimeConfigArgs, location: &Location, session: &Session) -> CommandResult {
    write(args, location, session).context(|| format!("configuration of {}", args.image))
}

fn write(args: &RuntimeConfigArgs, location: &Location, session: &Session) -> Result<u8, CommandError> {
    let engine = session.engine()?;
    let source = location.trusted_source(&engine, &session.registry(&args.registry)?, false)?;
    let options = args.map.options(args.rootless, &session.environment, false);
    let platform = args.platform.clone().unwrap_or_else(Platform::host);
    write_runtime_config(source.as_ref(), &platform, &args.file, args.rootfs.as_deref(), &options)?;
    Ok(0)
}
