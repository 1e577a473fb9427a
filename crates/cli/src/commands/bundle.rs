// SPDX-License-Identifier: Apache-2.0
//! `conex bundle`: what umoci does, in its words.

use std::path::PathBuf;

use clap::Subcommand;
use conex_engine::images::bundle::{IdMapping, UnpackOptions, unpack};
use conex_engine::transport::Location;
use conex_spec::image::Platform;

use crate::error::{CommandError, CommandResult, Context as _};
use crate::session::{RegistryArgs, Session};

/// Make bundles: what an OCI runtime takes
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Unpack(UnpackArgs),
}

/// Unpack an image into rootfs/ and config.json
///
/// The bundle also has umoci.json and an mtree manifest, so that umoci can make a new layer of what is changed in it.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex bundle unpack --image store:alpine bundle
  conex bundle unpack --rootless --image oci:httpd:2.4.47 bundle
  cd bundle && conex-runtime run test")]
pub(crate) struct UnpackArgs {
    /// The image: docker://NAME, oci:DIRECTORY[:TAG], store:NAME
    #[arg(long, value_name = "IMAGE")]
    image: String,
    /// Without privileges: all files belong to you
    #[arg(long)]
    rootless: bool,
    /// Shift user ids: CONTAINER:HOST[:COUNT]
    #[arg(long, value_name = "MAP", value_parser = parse_mapping)]
    uid_map: Vec<IdMapping>,
    /// Shift group ids: CONTAINER:HOST[:COUNT]
    #[arg(long, value_name = "MAP", value_parser = parse_mapping)]
    gid_map: Vec<IdMapping>,
    /// Write through links to directories rather than replace them
    #[arg(long)]
    keep_dirlinks: bool,
    /// The image's platform: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", value_parser = super::platform::parse_platform)]
    platform: Option<Platform>,
    /// The directory to make
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    #[command(flatten)]
    registry: RegistryArgs,
}

fn parse_mapping(text: &str) -> Result<IdMapping, String> {
    let numbers: Option<Vec<u32>> = text.split(':').map(|number| number.parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[container_id, host_id]) => Ok(IdMapping { container_id, host_id, size: 1 }),
        Some(&[container_id, host_id, size]) => Ok(IdMapping { container_id, host_id, size }),
        _ => Err(format!("{text:?} is not CONTAINER:HOST[:COUNT]")),
    }
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    match &args.verb {
        Verb::Unpack(args) => {
            let context = || format!("bundle unpack {}", args.image);
            let location = Location::parse(&args.image, true).context(context)?;
            unpack_image(args, &location, session).context(context)
        }
    }
}

/// umoci's `--image PATH[:TAG]` means a layout.
pub(crate) fn run_as_umoci(args: &UnpackArgs, session: &Session) -> CommandResult {
    let context = || format!("unpack {}", args.image);
    let location = Location::parse(&format!("oci:{}", args.image), false).context(context)?;
    unpack_image(args, &location, session).context(context)
}

/// What was asked for; without privileges and a wish, root in the container is the caller.
fn id_map(rootless: bool, asked: &[IdMapping], caller: u32) -> Vec<IdMapping> {
    if rootless && asked.is_empty() {
        return vec![IdMapping { container_id: 0, host_id: caller, size: 1 }];
    }
    asked.to_vec()
}

fn unpack_image(args: &UnpackArgs, location: &Location, session: &Session) -> Result<u8, CommandError> {
    if session.environment.is_rootless() && !args.rootless {
        return Err(CommandError::usage("only root can give files to other users")
            .with_hint("add --rootless: all files will belong to you"));
    }
    let engine = session.engine()?;
    let source = location.source(&engine, &session.registry(&args.registry)?)?;
    let environment = &session.environment;
    let options = UnpackOptions {
        rootless: args.rootless,
        uid_map: id_map(args.rootless, &args.uid_map, environment.uid),
        gid_map: id_map(args.rootless, &args.gid_map, environment.gid),
        keep_dirlinks: args.keep_dirlinks,
    };
    let platform = args.platform.clone().unwrap_or_else(Platform::host);
    unpack(source.as_ref(), &platform, &args.bundle, &options)?;
    Ok(0)
}
