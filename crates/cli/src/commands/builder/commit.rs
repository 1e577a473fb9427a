// SPDX-License-Identifier: Apache-2.0
//! `conex builder commit`

use std::path::PathBuf;

use conex_build::commit::{CommitOptions, Committed, Format, commit};
use conex_build::container;
use conex_engine::Engine;
use conex_engine::images::layer::pack::Times;
use conex_engine::images::store::StoreSource;
use conex_engine::images::transfer::{self, CopyOptions, Form};
use conex_engine::transport::Location;
use conex_spec::distribution::Reference;

use super::words::{seconds, timestamp};
use super::{engine, hold};
use crate::error::{CommandError, CommandResult, Context as _};
use crate::output;
use crate::session::{RegistryArgs, Session};

/// Make an image of a working container, and print its id
///
/// Nothing is copied: what was written becomes a layer of the store, and the working container goes on above it.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex builder commit c localhost/app:1
  conex builder commit --rm c quay.io/org/app:1
  conex builder commit c oci-archive:app.tar")]
pub(crate) struct Args {
    /// Name or id of the working container
    container: String,
    /// A name in the store, or a place with its transport [default: no name]
    image: Option<String>,
    /// oci or docker
    #[arg(short, long, value_name = "FORMAT", value_parser = format)]
    format: Option<Format>,
    /// One layer with all files
    #[arg(long)]
    squash: bool,
    /// Remove the working container
    #[arg(long)]
    rm: bool,
    /// When it was made, for the image and for all files that it adds: seconds since 1970
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "source_date_epoch")]
    timestamp: Option<i64>,
    /// When it was made: seconds since 1970 [default: $SOURCE_DATE_EPOCH]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    source_date_epoch: Option<i64>,
    /// No file is later than that
    #[arg(long)]
    rewrite_timestamp: bool,
    /// Without a history
    #[arg(long)]
    omit_history: bool,
    /// Write the id to a file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Runs the verb.
pub(super) fn run(args: &Args, session: &Session) -> CommandResult {
    let destination = args.image.as_deref().map(place).transpose()?;
    let options = options(args, session)?;
    let engine = engine(session)?;
    let context = || format!("commit {}", args.container);
    let mut held = hold(&engine, &args.container).context(context)?;
    // Until something leads to it.
    let kept = engine.store()?.share().map_err(conex_engine::Error::from)?;
    let committed = commit(&engine, &mut held, &options).context(context)?;
    name(args, session, &engine, destination.as_ref(), &committed).context(context)?;
    drop(kept);
    if args.rm {
        container::remove(&engine, held).context(context)?;
    }
    if let Some(file) = &args.iidfile {
        std::fs::write(file, committed.id.as_str()).context(|| file.display().to_string())?;
    }
    output::print_line(committed.id.hex()).map(|()| 0)
}

fn options(args: &Args, session: &Session) -> Result<CommitOptions, CommandError> {
    let epoch = match args.source_date_epoch {
        None => session.environment.source_date_epoch()?,
        epoch => epoch,
    };
    let times = match (args.timestamp, epoch) {
        (Some(time), _) => Times::All(time),
        (None, Some(time)) if args.rewrite_timestamp => Times::AtMost(time),
        _ => Times::Kept,
    };
    Ok(CommitOptions {
        format: args.format.unwrap_or_default(),
        squash: args.squash,
        created: args.timestamp.or(epoch).map(timestamp),
        times,
        omit_history: args.omit_history,
    })
}

/// Lets a name lead to it, or brings it to another place.
fn name(
    args: &Args,
    session: &Session,
    engine: &Engine,
    destination: Option<&Location>,
    committed: &Committed,
) -> Result<(), CommandError> {
    let store = engine.store()?;
    let descriptor = &committed.manifest.descriptor;
    match destination {
        None => store.keep(descriptor).map_err(conex_engine::Error::from)?,
        Some(Location::Store(name)) => {
            let reference: Reference = name.parse().map_err(conex_engine::Error::from)?;
            store.tag(&reference.canonical(), descriptor).map_err(conex_engine::Error::from)?;
        }
        Some(place) => {
            let source = StoreSource::nameless(store, descriptor.clone());
            let sink = place.sink(engine, &session.registry(&args.registry)?)?;
            let options = CopyOptions { form: Form::default(), ..CopyOptions::default() };
            let progress = session.progress(args.quiet);
            transfer::copy(&source, sink.as_ref(), &options, progress.as_ref())
                .map_err(conex_engine::Error::from)?;
        }
    }
    Ok(())
}

/// A name without a host belongs to this machine: `app` is `localhost/app`.
fn place(text: &str) -> Result<Location, CommandError> {
    let location = Location::parse(text, true)?;
    let Location::Store(name) = &location else { return Ok(location) };
    let first = name.split('/').next().unwrap_or_default();
    let has_host = name.contains('/') && (first.contains(['.', ':']) || first == "localhost");
    Ok(if has_host { location } else { Location::Store(format!("localhost/{name}")) })
}

fn format(text: &str) -> Result<Format, String> {
    match text {
        "oci" => Ok(Format::Oci),
        "docker" => Ok(Format::Docker),
        _ => Err(format!("{text:?} is no format: there are oci and docker")),
    }
}
