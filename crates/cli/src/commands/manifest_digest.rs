// SPDX-License-Identifier: Apache-2.0
//! skopeo's `manifest-digest`.

use std::path::PathBuf;

use conex_engine::images::verify::sha256;

use crate::error::{CommandResult, Context as _};
use crate::output;

/// Print the digest of a manifest in a file
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The manifest
    manifest: PathBuf,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> CommandResult {
    let bytes = std::fs::read(&args.manifest)
        .context(|| format!("Error reading manifest from {}", args.manifest.display()))?;
    output::print_line(sha256(&bytes).as_str())?;
    Ok(0)
}
