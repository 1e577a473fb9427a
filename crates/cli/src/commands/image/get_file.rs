// SPDX-License-Identifier: Apache-2.0
//! `conex image get-file`, as `regctl image get-file`

use std::fs::File;
use std::path::PathBuf;

use conex_engine::images::merged::{Hash, Merged};

use super::target::LookArgs;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::session::Session;

/// Show one file of an image
///
/// Links are followed inside the image.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex image get-file alpine /etc/os-release
  conex image get-file docker://debian:12 /usr/lib/os-release os-release")]
pub(crate) struct Args {
    /// The image: docker://NAME, oci:DIRECTORY[:TAG], any place of `conex copy`; else a name in the store
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Its path in the image
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Write it to this file rather than to stdout
    #[arg(value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    look: LookArgs,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    show(args, session).context(|| format!("get-file {}", args.image))
}

fn show(args: &Args, session: &Session) -> Result<u8, CommandError> {
    let (image, source) = args.look.open_layers(&args.image, session)?;
    let merged = Merged::read(&image, source.as_ref(), Hash::No)?;
    match &args.output {
        None => merged.write_file(&image, source.as_ref(), &args.path, &mut std::io::stdout())?,
        Some(path) => {
            merged.find_file(&args.path)?;
            let mut file = File::create(path).context(|| path.display().to_string())?;
            merged.write_file(&image, source.as_ref(), &args.path, &mut file)?;
        }
    }
    Ok(0)
}
