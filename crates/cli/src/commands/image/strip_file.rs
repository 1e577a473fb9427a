// SPDX-License-Identifier: Apache-2.0
//! `conex image strip-file`, as `regctl image mod --layer-strip-file`

use std::path::PathBuf;

use conex_engine::images::mutate::strip;

use super::edit_args::Caller;
use super::target::TargetArgs;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::session::Session;

/// Take files out of every layer of an image
///
/// Unlike a whiteout this leaves nothing of them below. Layers that have none of them stay as they are.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex image strip-file --image oci:images:app /root/.netrc /var/cache/apt
  conex image strip-file --image docker://r.example/app:1 --tag 1-clean /etc/key")]
pub(crate) struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// Files and directories, from the image's root and as the layers spell them
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    without(args, session).context(|| format!("strip {}", args.target.word()))
}

fn without(args: &Args, session: &Session) -> Result<u8, CommandError> {
    let mut edit = args.target.open_layers(session, Caller::Conex)?;
    let mut draft = edit.draft.clone();
    strip(&mut draft, edit.layout(), &edit.image, edit.source(), &args.paths)?;
    edit.draft = draft;
    edit.commit(session)?;
    Ok(0)
}
