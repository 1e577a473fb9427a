// SPDX-License-Identifier: Apache-2.0
//! `conex image rebase`

use conex_engine::images::layout::Layout;
use conex_spec::image::Platform;

use super::edit_args::{Caller, Place, TargetArgs};
use crate::error::{CommandError, CommandResult, Context as _};

/// Put an image's own layers on another base
///
/// The old base's layers must be the image's lowest; the new base must be in the same layout. Nothing is built again: that
/// the layers make sense on the new base is for you to know.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  conex copy docker://debian:12 oci:images:new-base
  conex image rebase --image oci:images:app --old-base oci:images:base --new-base oci:images:new-base")]
pub(crate) struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// What the image was built on: oci:DIRECTORY[:TAG]
    #[arg(long, value_name = "IMAGE")]
    old_base: String,
    /// What it shall lie on, in the image's layout: oci:DIRECTORY[:TAG]
    #[arg(long, value_name = "IMAGE")]
    new_base: String,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, caller: Caller) -> CommandResult {
    rebase(args, caller).context(|| format!("rebase {}", args.target.word()))
}

fn rebase(args: &Args, caller: Caller) -> Result<u8, CommandError> {
    let (mut draft, place) = args.target.open(caller)?;
    let platform = Platform {
        os: draft.config.os.clone(),
        architecture: draft.config.architecture.clone(),
        variant: draft.config.variant.clone(),
        ..Platform::default()
    };
    let base = |word: &str| -> Result<(Place, _), CommandError> {
        let place = caller.place(word)?;
        let image = place.image(&platform).context(|| word.to_owned())?;
        Ok((place, image))
    };
    let (_, old) = base(&args.old_base)?;
    let (new_place, new) = base(&args.new_base)?;
    if new_place.layout != place.layout {
        return Err(CommandError::usage("the new base must be in the image's layout").with_hint(format!(
            "conex copy {} oci:{}:TAG",
            args.new_base,
            place.layout.display()
        )));
    }
    draft.rebase(&old, &new)?;
    draft.commit(&Layout::open(&place.layout)?, &place.name)?;
    Ok(0)
}
