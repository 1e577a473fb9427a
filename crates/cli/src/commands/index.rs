// SPDX-License-Identifier: Apache-2.0
//! `conex index`: the list of an image's platforms, as `podman manifest`, `regctl index` and `crane index` make and change it.

use std::collections::BTreeMap;

use clap::Subcommand;
use conex_engine::images::layout::LayoutSink;
use conex_engine::images::mutate::{IndexDraft, Which, entries_of};
use conex_engine::images::transfer::{CopyOptions, Select, Source, Unnamed, copy};
use conex_engine::transport::Location;
use conex_spec::image::{Descriptor, Platform};

use super::image::edit_args::{Caller, pair};
use super::image::target::Desk;
use super::platform::parse_platform;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::session::{RegistryArgs, Session};

/// Make and change indexes: one name for the images of several platforms
///
/// A changed index takes over the name when everything that it lists is there.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Create(CreateArgs),
    Add(AddArgs),
    #[command(visible_alias = "rm")]
    Remove(RemoveArgs),
    Annotate(AnnotateArgs),
}

/// The index, wherever it is.
#[derive(clap::Args, Debug)]
struct Target {
    /// The index: docker://NAME, oci:DIRECTORY[:TAG], any place of `conex copy`; else a name in the store
    #[arg(long, value_name = "IMAGE")]
    image: String,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Make an index of images
///
/// Each is listed with the platform that its configuration says; of an index, all that it lists.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  conex index create --image docker://r.example/app:1 oci:amd64:app oci:arm64:app")]
struct CreateArgs {
    #[command(flatten)]
    target: Target,
    /// The images
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
}

/// Add images to an index
///
/// An image takes the place of the one that is listed for its platform.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex index add --image oci:images:app oci:arm64:app
  conex index add --image docker://r.example/app:1 --platform linux/arm/v7 --annotation built=today app:arm")]
struct AddArgs {
    #[command(flatten)]
    target: Target,
    /// List the image for this platform: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", value_parser = parse_platform)]
    platform: Option<Platform>,
    /// Annotate the new entry
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    annotation: Vec<(String, String)>,
    /// The images
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

/// Take images out of an index
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex index remove --image oci:images:app linux/s390x
  conex index remove --image docker://r.example/app:1 sha256:…")]
struct RemoveArgs {
    #[command(flatten)]
    target: Target,
    /// Digests or platforms
    #[arg(value_name = "ENTRY", required = true, value_parser = parse_which)]
    entries: Vec<Which>,
}

/// Set annotations of an index, or annotations and platform of what it lists
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex index annotate --image oci:images:app org.opencontainers.image.version=1
  conex index annotate --image oci:images:app --entry linux/arm --platform linux/arm/v7")]
struct AnnotateArgs {
    #[command(flatten)]
    target: Target,
    /// The entry: a digest or a platform [default: the index itself]
    #[arg(long, value_name = "ENTRY", value_parser = parse_which)]
    entry: Option<Which>,
    /// List the entry for this platform: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", value_parser = parse_platform, requires = "entry")]
    platform: Option<Platform>,
    /// Remove an annotation; before any is set
    #[arg(long, value_name = "NAME")]
    remove: Vec<String>,
    /// What to set
    #[arg(value_name = "NAME=VALUE", value_parser = pair)]
    annotations: Vec<(String, String)>,
}

fn parse_which(text: &str) -> Result<Which, String> {
    match text.parse() {
        Ok(digest) => Ok(Which::Digest(digest)),
        Err(_) => {
            parse_platform(text).map(Which::Platform).map_err(|why| format!("neither a digest nor: {why}"))
        }
    }
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    let (name, target) = match &args.verb {
        Verb::Create(args) => ("create", &args.target),
        Verb::Add(args) => ("add", &args.target),
        Verb::Remove(args) => ("remove", &args.target),
        Verb::Annotate(args) => ("annotate", &args.target),
    };
    change(&args.verb, target, session).context(|| format!("index {name} {}", target.image))
}

fn change(verb: &Verb, target: &Target, session: &Session) -> Result<u8, CommandError> {
    let to = Caller::Conex.location(&target.image)?;
    let is_new = matches!(verb, Verb::Create(_));
    if matches!(to, Location::Dir(_)) && !is_new {
        return Err(CommandError::usage(
            "dir: holds one image, which a new one would replace while it is read",
        ));
    }
    let desk = if is_new {
        Desk::elsewhere(session, &target.registry, &to)?
    } else {
        Desk::open(session, &target.registry, Some(&to), &to)?
    };
    let mut old: Vec<Box<dyn Source>> = Vec::new();
    let mut draft = IndexDraft::default();
    if !is_new {
        let source = Caller::Conex.source(&to, &desk.engine, &desk.registry)?;
        draft = IndexDraft::of(&source.resolve()?)?;
        old.push(source);
    }
    match verb {
        Verb::Create(args) => add(&args.images, &desk, &mut old, |entry| draft.add(entry))?,
        Verb::Add(args) => {
            let listed = |mut entry: Descriptor| {
                entry.platform = args.platform.clone().or(entry.platform);
                entry.annotations.extend(args.annotation.iter().cloned());
                draft.add(entry);
            };
            add(&args.images, &desk, &mut old, listed)?;
        }
        Verb::Remove(args) => args.entries.iter().try_for_each(|entry| draft.remove(entry))?,
        Verb::Annotate(args) => annotate(args, &mut draft)?,
    }
    draft.commit(desk.layout(), desk.name())?;
    desk.deliver(old, session)?;
    Ok(0)
}

/// Lists images, and sees to it that they can be read from `old` or are there.
fn add(
    words: &[String],
    desk: &Desk,
    old: &mut Vec<Box<dyn Source>>,
    mut list: impl FnMut(Descriptor),
) -> Result<(), CommandError> {
    for word in words {
        let location = Caller::Conex.location(word)?;
        let source = location.trusted_source(&desk.engine, &desk.registry, true)?;
        entries_of(source.as_ref())?.into_iter().for_each(&mut list);
        if let Some(layout) = desk.in_place() {
            let sink = LayoutSink::open(layout)?;
            let as_it_is =
                CopyOptions { select: Select::All, preserve_digests: true, ..CopyOptions::default() };
            copy(source.as_ref(), &Unnamed(&sink), &as_it_is, &conex_engine::images::transfer::Silent)?;
        }
        old.push(source);
    }
    Ok(())
}

fn annotate(args: &AnnotateArgs, draft: &mut IndexDraft) -> Result<(), CommandError> {
    if let (Some(platform), Some(which)) = (&args.platform, &args.entry) {
        draft.entries(which)?.into_iter().for_each(|entry| entry.platform = Some(platform.clone()));
    }
    // Under its new platform, if it got one.
    let which = match (&args.entry, &args.platform) {
        (Some(Which::Platform(_)), Some(platform)) => Some(Which::Platform(platform.clone())),
        (entry, _) => entry.clone(),
    };
    for annotations in draft.annotations(which.as_ref())? {
        set(annotations, args)?;
    }
    Ok(())
}

fn set(annotations: &mut BTreeMap<String, String>, args: &AnnotateArgs) -> Result<(), CommandError> {
    for name in &args.remove {
        if annotations.remove(name).is_none() {
            return Err(CommandError::not_found(format!("there is no annotation {name:?}")));
        }
    }
    annotations.extend(args.annotations.iter().cloned());
    Ok(())
}
