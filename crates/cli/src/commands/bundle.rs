// SPDX-License-Identifier: Apache-2.0
//! `conex bundle`: what umoci does, in its words.

use std::path::PathBuf;

use clap::Subcommand;
use conex_engine::images::bundle::{create_over_layers, lay_out_layers, unpack, unpack_rootfs};
use conex_engine::overlay;
use conex_engine::transport::Location;
use conex_spec::image::Platform;

use super::image::edit_args::Caller;
use super::mapping::MapArgs;
use super::repack::{self, RepackArgs};
use super::runtime_config::{self, RuntimeConfigArgs};
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
    Repack(RepackArgs),
    Config(RuntimeConfigArgs),
    Layers(LayersArgs),
    Create(CreateArgs),
}

/// Lay an image out by hand: its config.json, and each layer in a directory named by its diff_id
///
/// The layers are in overlayfs' form; config.json says in which order they lie, the lowest first.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex bundle layers alpine layers
  jq .rootfs.diff_ids layers/config.json")]
pub(crate) struct LayersArgs {
    /// The image's platform: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", value_parser = super::platform::parse_platform)]
    platform: Option<Platform>,
    /// The image: docker://NAME, oci:DIRECTORY[:TAG], store:NAME (the default)
    #[arg(value_name = "IMAGE")]
    image: String,
    /// The directory: empty or new
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Make a bundle whose root file system is an overlay of layers that were laid out
///
/// The overlay is mounted at BUNDLE/rootfs, in this mount namespace, and stays until it is unmounted.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex bundle layers alpine layers && conex bundle create --overlay layers bundle
  conex-runtime run --bundle bundle test
  umount bundle/rootfs")]
pub(crate) struct CreateArgs {
    /// The directory that `bundle layers` made
    #[arg(long, value_name = "LAYERS")]
    overlay: PathBuf,
    /// The bundle's directory: empty or new
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
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
    #[command(flatten)]
    map: MapArgs,
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

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    match &args.verb {
        Verb::Unpack(args) => {
            let context = || format!("bundle unpack {}", args.image);
            let location = Location::parse(&args.image, true).context(context)?;
            unpack_image(args, &location, session, Goal::Bundle).context(context)
        }
        Verb::Repack(args) => repack::run(args, session, Caller::Conex),
        Verb::Config(args) => {
            let location = Location::parse(&args.image, true).context(|| args.image.clone())?;
            runtime_config::run(args, &location, session)
        }
        Verb::Layers(args) => lay_out(args, session).context(|| format!("bundle layers {}", args.image)),
        Verb::Create(args) => {
            create(args, session).context(|| format!("bundle create {}", args.bundle.display()))
        }
    }
}

fn needs_root(session: &Session, what: &str) -> Result<(), CommandError> {
    if session.environment.is_rootless() {
        return Err(CommandError::tool(format!("{what} needs root")).with_hint(
            "an ordinary user's `conex run` does all this in a user namespace, where mounts end with the command",
        ));
    }
    Ok(())
}

fn lay_out(args: &LayersArgs, session: &Session) -> Result<u8, CommandError> {
    needs_root(session, "laying out layers with their owners and devices")?;
    let engine = session.engine()?;
    let location = Location::parse(&args.image, true)?;
    let source = location.trusted_source(&engine, &session.registry(&args.registry)?, false)?;
    let platform = args.platform.clone().unwrap_or_else(Platform::host);
    lay_out_layers(source.as_ref(), &platform, &args.directory, false)?;
    Ok(0)
}

fn create(args: &CreateArgs, session: &Session) -> Result<u8, CommandError> {
    needs_root(session, "mounting an overlay")?;
    let bundle = create_over_layers(&args.overlay, &args.bundle, false)?;
    overlay::mount(&bundle.snapshot, &bundle.upper, &bundle.work, &bundle.rootfs)?;
    Ok(0)
}

/// umoci's `--image PATH[:TAG]` means a layout; `docker://NAME` is conex' addition.
pub(crate) fn run_as_umoci(args: &UnpackArgs, session: &Session, goal: Goal) -> CommandResult {
    let context = || format!("unpack {}", args.image);
    let location = Caller::Umoci.location(&args.image).context(context)?;
    unpack_image(args, &location, session, goal).context(context)
}

/// What is made of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// A directory with all that a runtime and a later repack need.
    Bundle,
    /// The files alone.
    Rootfs,
}

fn unpack_image(
    args: &UnpackArgs,
    location: &Location,
    session: &Session,
    goal: Goal,
) -> Result<u8, CommandError> {
    if session.environment.is_rootless() && !args.rootless {
        return Err(CommandError::usage("only root can give files to other users")
            .with_hint("add --rootless: all files will belong to you"));
    }
    let engine = session.engine()?;
    let source = location.trusted_source(&engine, &session.registry(&args.registry)?, false)?;
    let options = args.map.options(args.rootless, &session.environment, args.keep_dirlinks);
    let platform = args.platform.clone().unwrap_or_else(Platform::host);
    match goal {
        Goal::Bundle => unpack(source.as_ref(), &platform, &args.bundle, &options)?,
        Goal::Rootfs => unpack_rootfs(source.as_ref(), &platform, &args.bundle, &options)?,
    }
    Ok(0)
}
