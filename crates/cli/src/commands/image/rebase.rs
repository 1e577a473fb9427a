// SPDX-License-Identifier: Apache-2.0
//! `conex image rebase`

use super::edit_args::Caller;
use super::target::{LookArgs, TargetArgs};
use crate::error::{CommandError, CommandResult, Context as _};
use crate::session::Session;

/// Put an image's own layers on another base
///
/// The old base's layers must be the image's lowest. Nothing is built again: that the layers make sense on the new base is
/// for you to know.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex image rebase --image oci:images:app --old-base oci:images:base --new-base docker://debian:12
  conex image rebase --image docker://r.example/app:1 --tag 2 --old-base debian:11 --new-base debian:12")]
pub(crate) struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// What the image was built on; any place
    #[arg(long, value_name = "IMAGE")]
    old_base: String,
    /// What it shall lie on; any place
    #[arg(long, value_name = "IMAGE")]
    new_base: String,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session, caller: Caller) -> CommandResult {
    rebase(args, session, caller).context(|| format!("rebase {}", args.target.word()))
}

fn rebase(args: &Args, session: &Session, caller: Caller) -> Result<u8, CommandError> {
    let mut image = args.target.open(session, caller)?;
    let look = LookArgs::like(&args.target, &image.draft.config);
    let base = |word: &str| look.open(word, session, caller).context(|| word.to_owned());
    let (old, _) = base(&args.old_base)?;
    let (new, source) = base(&args.new_base)?;
    image.draft.rebase(&old, &new)?;
    image.borrow_layers(&new.manifest.layers, source)?;
    image.commit(session)?;
    Ok(0)
}
