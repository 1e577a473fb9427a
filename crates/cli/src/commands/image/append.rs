// SPDX-License-Identifier: Apache-2.0
//! `conex image append`, `umoci raw add-layer`

use std::path::PathBuf;

use conex_engine::images::mutate::append_archive;

use super::edit_args::{Caller, CompressArgs, HistoryArgs};
use super::target::TargetArgs;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::session::Session;

/// Put tar files on top of an image, each as a layer
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex image append --image oci:images:app layer.tar
  conex image append --image oci:images:app --tag more --compress zstd layer.tar.gz")]
pub(crate) struct Args {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    compress: CompressArgs,
    #[command(flatten)]
    history: HistoryArgs,
    /// The archives, as they are or compressed by gzip or zstd; the last on top
    #[arg(value_name = "ARCHIVE", required = true)]
    archives: Vec<PathBuf>,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session, caller: Caller) -> CommandResult {
    add(args, session, caller).context(|| format!("add a layer to {}", args.target.word()))
}

fn add(args: &Args, session: &Session, caller: Caller) -> Result<u8, CommandError> {
    let mut image = args.target.open(session, caller)?;
    let compression = args.compress.chosen().unwrap_or_else(|| image.draft.compression());
    let verb = if caller == Caller::Umoci { "raw add-layer" } else { "image append" };
    let note = args.history.note(verb, session, caller)?;
    for archive in &args.archives {
        let layer = append_archive(&image.draft, image.layout(), archive, compression)?;
        image.draft.append(layer, note.as_ref());
    }
    image.commit(session)?;
    Ok(0)
}
