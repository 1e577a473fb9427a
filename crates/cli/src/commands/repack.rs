// SPDX-License-Identifier: Apache-2.0
//! `conex bundle repack`, `umoci repack`

use std::path::PathBuf;

use conex_engine::images::bundle::{RepackOptions, repack};

use super::image::edit_args::{Caller, CompressArgs, HistoryArgs};
use crate::error::{CommandError, CommandResult, Context as _};
use crate::session::Session;

/// Make a layer of what has changed in a bundle
///
/// The layout must be the one that the bundle was unpacked from. Nothing should write to the bundle meanwhile: a file that
/// changes while it is read is an error.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex bundle unpack --image oci:images:app bundle && touch bundle/rootfs/new
  conex bundle repack --image oci:images:changed bundle
  conex bundle repack --image oci:images:app --refresh-bundle --mask-path /tmp bundle")]
pub(crate) struct RepackArgs {
    /// The new image's name: oci:DIRECTORY[:TAG] (umoci: DIRECTORY[:TAG])
    #[arg(long, value_name = "IMAGE")]
    image: String,
    /// Leave out what has changed at or below this path
    #[arg(long, value_name = "PATH")]
    mask_path: Vec<PathBuf>,
    /// Do not leave out what has changed in the image's volumes
    #[arg(long)]
    no_mask_volumes: bool,
    /// Let the bundle be one of the new image, for the next repack
    #[arg(long)]
    refresh_bundle: bool,
    #[command(flatten)]
    compress: CompressArgs,
    #[command(flatten)]
    history: HistoryArgs,
    /// The bundle
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
}

/// Runs the verb.
pub(crate) fn run(args: &RepackArgs, session: &Session, caller: Caller) -> CommandResult {
    store(args, session, caller).context(|| format!("repack {}", args.image))
}

fn store(args: &RepackArgs, session: &Session, caller: Caller) -> Result<u8, CommandError> {
    let place = caller.place(&args.image)?;
    let verb = if caller == Caller::Umoci { "repack" } else { "bundle repack" };
    let options = RepackOptions {
        masks: args.mask_path.clone(),
        mask_volumes: !args.no_mask_volumes,
        refresh: args.refresh_bundle,
        note: args.history.note(verb, session, caller)?,
        compression: args.compress.chosen(),
        latest: session.environment.source_date_epoch()?,
    };
    repack(&place.layout, &place.name, &args.bundle, &options)?;
    Ok(0)
}
