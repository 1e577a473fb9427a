// SPDX-License-Identifier: Apache-2.0
//! `conex image flatten`, as `crane flatten`

use conex_engine::images::mutate::flatten;

use super::edit_args::{Caller, CompressArgs, HistoryArgs};
use super::target::TargetArgs;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::session::Session;

/// Make one layer of all layers of an image
///
/// What upper layers took away or replaced is not in the new image any more. Times later than $SOURCE_DATE_EPOCH become that.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex image flatten --image oci:images:app --tag flat
  conex image flatten --image docker://r.example/app:1 --to app:flat --compress zstd")]
pub(crate) struct Args {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    compress: CompressArgs,
    #[command(flatten)]
    history: HistoryArgs,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    one_layer(args, session).context(|| format!("flatten {}", args.target.word()))
}

fn one_layer(args: &Args, session: &Session) -> Result<u8, CommandError> {
    let mut edit = args.target.open_layers(session, Caller::Conex)?;
    let compression = args.compress.chosen().unwrap_or_else(|| edit.draft.compression());
    let latest = session.environment.source_date_epoch()?;
    let layer = flatten(&edit.draft, edit.layout(), &edit.image, edit.source(), compression, latest)?;
    let note = args.history.note("image flatten", session, Caller::Conex)?;
    edit.draft.replace_layers(layer, note.as_ref());
    edit.commit(session)?;
    Ok(0)
}
