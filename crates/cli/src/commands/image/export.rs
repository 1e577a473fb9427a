// SPDX-License-Identifier: Apache-2.0
//! `conex image export`, as `crane export`

use std::fs::File;
use std::io::{BufWriter, IsTerminal as _, Write};
use std::path::PathBuf;

use conex_engine::images::merged::{For, Hash, Merged};

use super::target::LookArgs;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::session::Session;

/// Write an image's files as one tar
///
/// Nothing is unpacked: owners, devices and attributes are the image's, whoever asks. Times later than $SOURCE_DATE_EPOCH
/// become that.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex image export alpine | tar tv
  conex image export docker://debian:12 --output debian.tar")]
pub(crate) struct Args {
    /// Write to this file rather than to stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The image: docker://NAME, oci:DIRECTORY[:TAG], any place of `conex copy`; else a name in the store
    #[arg(value_name = "IMAGE")]
    image: String,
    #[command(flatten)]
    look: LookArgs,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    export(args, session).context(|| format!("export {}", args.image))
}

fn export(args: &Args, session: &Session) -> Result<u8, CommandError> {
    let Some(path) = args.output.as_ref().filter(|path| path.as_os_str() != "-") else {
        if std::io::stdout().is_terminal() {
            return Err(CommandError::usage("a tar file is nothing for a terminal")
                .with_hint("write it to a file (--output FILE) or to another program"));
        }
        return write(args, session, &mut std::io::stdout());
    };
    let mut file = File::create(path).context(|| path.display().to_string())?;
    let written = write(args, session, &mut file);
    if written.is_err() {
        // The failure is what to tell.
        let _ = std::fs::remove_file(path);
    }
    written
}

fn write(args: &Args, session: &Session, output: &mut (dyn Write + Send)) -> Result<u8, CommandError> {
    let (image, source) = args.look.open_layers(&args.image, session)?;
    let latest = session.environment.source_date_epoch()?;
    let merged = Merged::read(&image, source.as_ref(), Hash::No)?;
    let output = BufWriter::with_capacity(256 << 10, output);
    merged.write(&image, source.as_ref(), output, latest, For::Tar)?.flush()?;
    Ok(0)
}
