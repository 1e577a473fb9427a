// SPDX-License-Identifier: Apache-2.0
//! `artifact pull`.

use std::path::PathBuf;

use conex_engine::images::artifact::{Existing, take};

use crate::error::CommandResult;
use crate::output;
use crate::session::{RegistryArgs, Session};

/// Take an artifact's files
///
/// Their names are the artifact's; none leads out of the directory. Prints the path of each.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  conex artifact pull localhost:5000/notes:1 -o notes")]
pub(super) struct Args {
    /// What
    pub(super) name: String,
    /// The directory for the files
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// Replace no file that is there
    #[arg(short, long)]
    keep_old_files: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn run(args: &Args, session: &Session) -> CommandResult {
    let location = super::location(&args.name)?;
    let source = location.trusted_source(&session.engine()?, &session.registry(&args.registry)?, false)?;
    let (_, manifest) = super::manifest(source.as_ref())?;
    let existing = if args.keep_old_files { Existing::Refuse } else { Existing::Replace };
    let taken = take(source.as_ref(), &manifest, &args.output, existing)?;
    let nameless = taken.iter().filter(|taken| taken.path.is_none() && taken.descriptor.size > 2).count();
    for path in taken.iter().filter_map(|taken| taken.path.as_ref()) {
        output::print_line(&args.output.join(path).display().to_string())?;
    }
    if nameless > 0 {
        output::note(&format!(
            "{nameless} blobs have no file's name and were left: `conex copy {} oci:DIRECTORY` takes all",
            args.name
        ));
    }
    Ok(0)
}
