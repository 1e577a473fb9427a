// SPDX-License-Identifier: Apache-2.0
//! `conex image insert`, `umoci insert`

use std::path::{Path, PathBuf};

use conex_engine::images::layer::{apply::Owner, pack};
use conex_engine::images::mutate::{Content, insert};

use super::edit_args::{Caller, CompressArgs, HistoryArgs};
use super::target::TargetArgs;
use crate::commands::mapping::MapArgs;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::session::Session;

/// Put files of the host into an image, as a layer of their own
///
/// What the layers below hold is still in the image's blobs, whatever is put over it.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex image insert --image oci:images:app ./program /usr/bin/program
  conex image insert --image oci:images:app --opaque ./etc /etc/app     nothing else of /etc/app is seen
  conex image insert --image oci:images:app --whiteout /var/cache       take something out")]
pub(crate) struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// Let TARGET be nothing
    #[arg(long, conflicts_with = "opaque")]
    whiteout: bool,
    /// Hide what is in the directory TARGET, rather than join it
    #[arg(long)]
    opaque: bool,
    /// Without privileges: all files become root's, unless they note other owners
    #[arg(long)]
    rootless: bool,
    #[command(flatten)]
    map: MapArgs,
    #[command(flatten)]
    compress: CompressArgs,
    #[command(flatten)]
    history: HistoryArgs,
    /// SOURCE, a file or directory of the host, and TARGET, its path in the image; with --whiteout only TARGET
    #[arg(value_name = "SOURCE] [TARGET", required = true, num_args = 1..=2)]
    paths: Vec<PathBuf>,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session, caller: Caller) -> CommandResult {
    put(args, session, caller).context(|| format!("insert into {}", args.target.word()))
}

fn put(args: &Args, session: &Session, caller: Caller) -> Result<u8, CommandError> {
    let (content, target) = content(args)?;
    let mut image = args.target.open(session, caller)?;
    let compression = args.compress.chosen().unwrap_or_else(|| image.draft.compression());
    let latest = session.environment.source_date_epoch()?;
    let options =
        pack::Options { owner: owner(args), times: latest.map_or(pack::Times::Kept, pack::Times::AtMost) };
    let layer = insert(&image.draft, image.layout(), &content, target, compression, options)?;
    let verb = if caller == Caller::Umoci { "insert" } else { "image insert" };
    image.draft.append(layer, args.history.note(verb, session, caller)?.as_ref());
    image.commit(session)?;
    Ok(0)
}

fn content(args: &Args) -> Result<(Content, &Path), CommandError> {
    match (&args.paths[..], args.whiteout) {
        ([target], true) => Ok((Content::Absent, target)),
        ([source, target], false) if args.opaque => Ok((Content::Opaque(source.clone()), target)),
        ([source, target], false) => Ok((Content::Merged(source.clone()), target)),
        (_, true) => Err(CommandError::usage("--whiteout takes TARGET and nothing else")),
        (_, false) => Err(CommandError::usage("insert takes SOURCE and TARGET")),
    }
}

fn owner(args: &Args) -> Owner {
    let (uid, gid) = (&args.map.uid_map, &args.map.gid_map);
    match uid.is_empty() && gid.is_empty() {
        _ if args.rootless => Owner::Caller,
        true => Owner::Keep,
        false => Owner::Map { uid: uid.clone(), gid: gid.clone() },
    }
}
