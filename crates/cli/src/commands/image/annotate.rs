// SPDX-License-Identifier: Apache-2.0
//! `conex image annotate`, as `crane mutate --annotation`

use super::edit_args::{Caller, pair};
use super::target::TargetArgs;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::session::Session;

/// Set and remove annotations of an image's manifest
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex image annotate --image oci:images:app org.opencontainers.image.url=https://example.org
  conex image annotate --image docker://r.example/app:1 --remove draft")]
pub(crate) struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// Remove an annotation; before any is set
    #[arg(long, value_name = "NAME")]
    remove: Vec<String>,
    /// What to set
    #[arg(value_name = "NAME=VALUE", value_parser = pair, required_unless_present = "remove")]
    annotations: Vec<(String, String)>,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    annotate(args, session).context(|| format!("annotate {}", args.target.word()))
}

fn annotate(args: &Args, session: &Session) -> Result<u8, CommandError> {
    let mut edit = args.target.open(session, Caller::Conex)?;
    let annotations = &mut edit.draft.manifest.annotations;
    for name in &args.remove {
        if annotations.remove(name).is_none() {
            return Err(CommandError::not_found(format!("there is no annotation {name:?}")));
        }
    }
    annotations.extend(args.annotations.iter().cloned());
    edit.commit(session)?;
    Ok(0)
}
