// SPDX-License-Identifier: Apache-2.0
//! conex as oci-image-tool: an image in a directory or a tar file, unpacked or judged.

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use conex_engine::images::archive::{ArchiveName, OciArchiveSource};
use conex_engine::images::bundle::{self, UnpackOptions};
use conex_engine::images::layout::{LayoutName, LayoutSource};
use conex_engine::images::manifest;
use conex_engine::images::transfer::Source;
use conex_engine::images::validate::{self, Kind, Violation};
use conex_spec::image::annotation::REF_NAME;
use conex_spec::image::{Descriptor, Platform};

use super::{Tool, session};
use crate::commands::platform::parse_platform;
use crate::error::{CommandError, CommandResult, Context as _, Manner};
use crate::output;
use crate::session::{Globals, Names};

/// Images in OCI layouts: create, unpack, validate
#[derive(Parser, Debug)]
pub(super) struct Cli {
    /// Accepted and without effect
    #[arg(long, hide = true, global = true)]
    debug: bool,
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Create(CreateArgs),
    Unpack(UnpackArgs),
    Validate(ValidateArgs),
}

/// Make a bundle: a root file system and config.json
#[derive(clap::Args, Debug)]
struct CreateArgs {
    #[command(flatten)]
    choice: Choice,
    /// The root file system's name in the bundle
    #[arg(long, value_name = "NAME", default_value = "rootfs")]
    rootfs: String,
    /// A layout's directory, or a tar file of one
    #[arg(value_name = "SRC")]
    source: PathBuf,
    /// The bundle's directory: empty or new
    #[arg(value_name = "DEST")]
    destination: PathBuf,
}

/// Unpack an image into a directory
#[derive(clap::Args, Debug)]
struct UnpackArgs {
    #[command(flatten)]
    choice: Choice,
    /// A layout's directory, or a tar file of one
    #[arg(value_name = "SRC")]
    source: PathBuf,
    /// Empty or new
    #[arg(value_name = "DEST")]
    destination: PathBuf,
}

/// Judge images and their documents by the image-spec; every violation is told
#[derive(clap::Args, Debug)]
struct ValidateArgs {
    /// imageLayout, image, manifest, imageIndex or config; found out if left out
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only this image of a layout: a name, name=NAME or digest=DIGEST
    #[arg(long = "ref", value_name = "REF")]
    references: Vec<String>,
    /// Layouts, tar files of them, or single documents
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// Which image of a layout.
#[derive(clap::Args, Debug)]
struct Choice {
    /// A name, name=NAME, digest=DIGEST or platform.os=OS; several must all hold
    #[arg(long = "ref", value_name = "REF")]
    references: Vec<String>,
    /// OS:ARCH
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// imageLayout or image; found out if left out
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
}

impl Tool for Cli {
    const NAME: &str = "oci-image-tool";
    const MANNER: Manner = Manner::Plain;

    fn run(&self) -> CommandResult {
        let unprivileged = session(&self.globals, Names::Full).environment.is_rootless();
        match &self.verb {
            Verb::Create(args) => {
                let (source, platform) = args.choice.open(&args.source)?;
                bundle::create(source.as_ref(), &platform, &args.destination, &args.rootfs, unprivileged)?;
                Ok(0)
            }
            Verb::Unpack(args) => {
                let (source, platform) = args.choice.open(&args.source)?;
                let options = UnpackOptions { rootless: unprivileged, ..UnpackOptions::default() };
                bundle::unpack_rootfs(source.as_ref(), &platform, &args.destination, &options)?;
                Ok(0)
            }
            Verb::Validate(args) => args.run(),
        }
    }
}

impl Choice {
    fn open(&self, path: &Path) -> Result<(Box<dyn Source>, Platform), CommandError> {
        if let Some(kind) = self.kind.as_deref().filter(|kind| !["image", "imageLayout"].contains(kind)) {
            return Err(CommandError::usage(format!("--type {kind:?}: there are image and imageLayout")));
        }
        let platform = match &self.platform {
            None => Platform::host(),
            Some(text) => parse_platform(&text.replacen(':', "/", 1)).map_err(CommandError::usage)?,
        };
        let reference = reference(&Layout::open(path, None)?.entries()?, &self.references)?;
        Ok((Layout::open(path, reference)?.source(), platform))
    }
}

/// A layout, as a directory or as a file.
enum Layout {
    Directory(Box<LayoutSource>),
    Archive(Box<OciArchiveSource>),
}

impl Layout {
    fn open(path: &Path, reference: Option<String>) -> Result<Self, CommandError> {
        if path.is_dir() {
            let name = LayoutName { path: path.to_owned(), reference };
            return Ok(Self::Directory(Box::new(LayoutSource::open(&name)?)));
        }
        let name = ArchiveName {
            transport: "oci-archive",
            path: path.to_owned(),
            reference,
            more_names: Vec::new(),
        };
        Ok(Self::Archive(Box::new(OciArchiveSource::open(&name)?)))
    }

    fn entries(&self) -> Result<Vec<Descriptor>, CommandError> {
        Ok(match self {
            Self::Directory(layout) => layout.index()?.0,
            Self::Archive(archive) => archive.index().0.to_owned(),
        })
    }

    fn index(&self) -> Result<Vec<u8>, CommandError> {
        Ok(match self {
            Self::Directory(layout) => layout.index()?.1,
            Self::Archive(archive) => archive.index().1.to_owned(),
        })
    }

    fn source(self) -> Box<dyn Source> {
        match self {
            Self::Directory(layout) => layout,
            Self::Archive(archive) => archive,
        }
    }
}

/// The one entry that all conditions hold for, as `@N`; without conditions the layout decides.
fn reference(entries: &[Descriptor], conditions: &[String]) -> Result<Option<String>, CommandError> {
    if conditions.is_empty() {
        return Ok(None);
    }
    let fitting = fitting(entries, conditions)?;
    match fitting[..] {
        [only] => Ok(Some(format!("@{only}"))),
        [] => Err(CommandError::usage(format!("no image of the layout is {}", conditions.join(" and ")))),
        _ => Err(CommandError::usage(format!(
            "{} images of the layout are {}",
            fitting.len(),
            conditions.join(" and ")
        ))
        .with_hint("name one of them with --ref digest=DIGEST")),
    }
}

/// The numbers of all entries that the conditions hold for.
fn fitting(entries: &[Descriptor], conditions: &[String]) -> Result<Vec<usize>, CommandError> {
    // skopeo once called an image `latest` that was given no name, and people still ask for it.
    if let ([only], [latest]) = (entries, conditions)
        && !only.annotations.contains_key(REF_NAME)
        && ["latest", "name=latest"].contains(&latest.as_str())
    {
        return Ok(vec![0]);
    }
    let mut fitting = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let mut holds = true;
        for condition in conditions {
            let (key, value) = condition.split_once('=').unwrap_or(("name", condition));
            let platform = entry.platform.as_ref();
            holds &= match key {
                "name" => entry
                    .annotations
                    .get("org.opencontainers.image.ref.name")
                    .is_some_and(|name| name == value),
                "digest" => entry.digest.as_str() == value,
                "platform.os" => platform.is_some_and(|platform| platform.os == value),
                "platform.architecture" => platform.is_some_and(|platform| platform.architecture == value),
                _ => {
                    let message = format!("--ref {condition:?}: there are name, digest, platform.os");
                    return Err(CommandError::usage(message));
                }
            };
        }
        if holds {
            fitting.push(index);
        }
    }
    Ok(fitting)
}

impl ValidateArgs {
    fn run(&self) -> CommandResult {
        let mut violations = 0;
        for file in &self.files {
            let found = self.validate(file).context(|| format!("validate {}", file.display()))?;
            violations += found.len();
            match found.is_empty() {
                true => output::print_line(&format!("{}: OK", file.display()))?,
                false => {
                    for violation in found {
                        output::print_line(&format!("{}: {violation}", file.display()))?;
                    }
                }
            }
        }
        match violations {
            0 => Ok(0),
            1 => Err(CommandError::tool("there is 1 violation")),
            many => Err(CommandError::tool(format!("there are {many} violations"))),
        }
    }

    fn validate(&self, path: &Path) -> Result<Vec<Violation>, CommandError> {
        let kind = match self.kind.as_deref() {
            None | Some("image" | "imageLayout") => None,
            Some("manifest") => Some(Kind::Manifest),
            Some("imageIndex") => Some(Kind::Index),
            Some("config") => Some(Kind::Config),
            Some(other) => {
                let message = format!(
                    "--type {other:?}: there are imageLayout, image, manifest, imageIndex and config"
                );
                return Err(CommandError::usage(message));
            }
        };
        let kind = match (kind, self.kind.is_none() && path.is_file()) {
            (None, true) => guess(&std::fs::read(path).context(|| "read it")?),
            (kind, _) => kind,
        };
        if let Some(kind) = kind {
            return Ok(validate::document("document", &std::fs::read(path).context(|| "read it")?, kind));
        }
        let layout = Layout::open(path, None)?;
        let mut entries = layout.entries()?;
        if !self.references.is_empty() {
            let chosen = fitting(&entries, &self.references)?;
            entries = chosen.into_iter().map(|index| entries[index].clone()).collect();
        }
        let mut found = validate::document("index.json", &layout.index()?, Kind::Index);
        found.extend(validate::layout(layout.source().as_ref(), &entries));
        Ok(found)
    }
}

/// What a file looks like; `None` for what is not JSON.
fn guess(bytes: &[u8]) -> Option<Kind> {
    let value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    if value.get("rootfs").is_some() {
        return Some(Kind::Config);
    }
    let media_type = manifest::sniff_media_type(bytes);
    Kind::of(&media_type.unwrap_or_default()).or(Some(Kind::Manifest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_that_people_use_are_understood() {
        for words in [
            "oci-image-tool create --ref latest busybox-oci busybox-bundle",
            "oci-image-tool unpack --ref name=latest --platform linux:amd64 busybox-oci rootfs",
            "oci-image-tool validate --type imageLayout --ref latest busybox-oci",
        ] {
            Cli::try_parse_from(words.split(' ')).unwrap_or_else(|error| panic!("{words}: {error}"));
        }
    }
}
