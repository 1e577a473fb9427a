// SPDX-License-Identifier: Apache-2.0
//! `conex artifact`: files in registries, and what refers to what, as oras' users know it.

mod copy;
mod delete;
mod discover;
mod files;
mod inspect;
mod pull;
mod push;

use clap::Subcommand;
use conex_engine::images::manifest::Document;
use conex_engine::images::transfer::{RawManifest, Source};
use conex_engine::registry::{Client, Remote};
use conex_engine::transport::Location;
use conex_spec::Digest;
use conex_spec::distribution::{Reference, ReferenceError};
use conex_spec::image::annotation::TITLE;
use conex_spec::image::{Descriptor, Manifest};

use crate::error::{CommandError, CommandResult, Context as _};
use crate::session::{RegistryArgs, Session};

/// Files in registries: SBOMs, signatures, charts, anything
///
/// A NAME is one on a registry (host/repository:tag or host/repository@digest); `push` and `pull` take any place of
/// `conex copy`, too.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Push(push::PushArgs),
    Attach(push::AttachArgs),
    Pull(pull::Args),
    Discover(discover::Args),
    Inspect(inspect::Args),
    Copy(copy::Args),
    Delete(delete::Args),
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    match &args.verb {
        Verb::Push(args) => push::push(args, session).context(|| format!("artifact push {}", args.name)),
        Verb::Attach(args) => {
            push::attach(args, session).context(|| format!("artifact attach {}", args.name))
        }
        Verb::Pull(args) => pull::run(args, session).context(|| format!("artifact pull {}", args.name)),
        Verb::Discover(args) => {
            discover::run(args, session).context(|| format!("artifact discover {}", args.name))
        }
        Verb::Inspect(args) => {
            inspect::run(args, session).context(|| format!("artifact inspect {}", args.name))
        }
        Verb::Copy(args) => copy::run(args, session).context(|| format!("artifact copy {}", args.source)),
        Verb::Delete(args) => delete::run(args, session).context(|| format!("artifact delete {}", args.name)),
    }
}

/// A place: a registry's name unless it says otherwise.
fn location(word: &str) -> Result<Location, CommandError> {
    match Location::parse(word, false) {
        Ok(location) => Ok(location),
        Err(error) if word.contains("://") => Err(error.into()),
        Err(_) => Ok(Location::Docker(reference(word)?)),
    }
}

/// A name on a registry.
fn reference(word: &str) -> Result<Reference, CommandError> {
    let named = word.trim_start_matches("docker://").parse();
    named.map_err(|error: ReferenceError| CommandError::usage(error.to_string()))
}

/// The same repository by digest.
fn by_digest(reference: &Reference, digest: &Digest) -> Reference {
    Reference { tag: None, digest: Some(digest.clone()), ..reference.clone() }
}

fn remote(session: &Session, registry: &RegistryArgs, reference: &Reference) -> Result<Remote, CommandError> {
    Ok(Client::new(session.registry(registry)?).remote(reference))
}

/// The one manifest that a name stands for.
fn manifest(source: &dyn Source) -> Result<(RawManifest, Manifest), CommandError> {
    let raw = source.resolve()?;
    match Document::parse(&raw)? {
        Document::Manifest(manifest) => Ok((raw, *manifest)),
        Document::Index(_) => {
            Err(CommandError::usage("this is an index of several; name one of them by its digest"))
        }
    }
}

/// What kind of artifact it is: what it says, else its configuration's type.
fn artifact_type(manifest: &Manifest) -> &str {
    let own = manifest.artifact_type.as_deref().filter(|text| !text.is_empty());
    own.unwrap_or(&manifest.config.media_type)
}

/// The file that a layer holds.
fn title(layer: &Descriptor) -> Option<&str> {
    layer.annotations.get(TITLE).map(String::as_str)
}
