// SPDX-License-Identifier: Apache-2.0
//! image-spec v1.1: image-index.md
//!
//! The list of an image's platforms, made and changed. Decided on data; [`IndexDraft::commit`] writes it.

use std::collections::BTreeMap;

use conex_spec::Digest;
use conex_spec::image::media_type::{self, Kind};
use conex_spec::image::{Descriptor, ImageConfig, Index, Platform};

use crate::layout::{Layout, index};
use crate::manifest::{self, Document};
use crate::transfer::{RawManifest, Source};
use crate::{Error, ErrorKind, Result, Wrap, verify};

/// An index that is being changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexDraft {
    /// image-spec's or Docker's.
    pub media_type: String,
    /// What it says.
    pub index: Index,
}

/// Which entries of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one of this digest.
    Digest(Digest),
    /// All for this platform; without a variant, any of it.
    Platform(Platform),
}

impl Which {
    fn fits(&self, entry: &Descriptor) -> bool {
        match self {
            Self::Digest(digest) => entry.digest == *digest,
            Self::Platform(wanted) => entry.platform.as_ref().is_some_and(|platform| {
                (&platform.os, &platform.architecture) == (&wanted.os, &wanted.architecture)
                    && (wanted.variant.is_none() || platform.variant == wanted.variant)
            }),
        }
    }

    fn missing(&self) -> Error {
        let what = match self {
            Self::Digest(digest) => digest.to_string(),
            Self::Platform(platform) => platform.to_string(),
        };
        Error::new(ErrorKind::NotFound, format!("the index has no entry {what}"))
    }
}

impl Default for IndexDraft {
    /// An index of nothing.
    fn default() -> Self {
        Self { media_type: media_type::OCI_INDEX.to_owned(), index: index::empty() }
    }
}

impl IndexDraft {
    /// An index to change.
    pub fn of(raw: &RawManifest) -> Result<Self> {
        match Document::parse(raw)? {
            Document::Index(index) => {
                Ok(Self { media_type: raw.descriptor.media_type.clone(), index: *index })
            }
            Document::Manifest(_) => Err(Error::new(ErrorKind::Usage, "is one image, no index of several")
                .with_hint("make an index of it: conex index create --image NEW IMAGE…")),
        }
    }

    /// Adds an entry. It takes the place of the one with its digest, else of the one for its platform.
    pub fn add(&mut self, entry: Descriptor) {
        let entries = &mut self.index.manifests;
        let known = |platform: &&Platform| platform.os != "unknown";
        let same_platform = |old: &Descriptor| {
            entry.platform.as_ref().filter(known).is_some() && old.platform == entry.platform
        };
        let digest = entries.iter().position(|old| old.digest == entry.digest);
        match digest.or_else(|| entries.iter().position(same_platform)) {
            Some(at) => entries[at] = entry,
            None => entries.push(entry),
        }
    }

    /// Takes entries out.
    pub fn remove(&mut self, which: &Which) -> Result<()> {
        let before = self.index.manifests.len();
        self.index.manifests.retain(|entry| !which.fits(entry));
        if self.index.manifests.len() == before { Err(which.missing()) } else { Ok(()) }
    }

    /// The annotations of the entries, or of the index itself.
    pub fn annotations(&mut self, which: Option<&Which>) -> Result<Vec<&mut BTreeMap<String, String>>> {
        match which {
            None => Ok(vec![&mut self.index.annotations]),
            Some(which) => Ok(self.entries(which)?.into_iter().map(|entry| &mut entry.annotations).collect()),
        }
    }

    /// The entries that fit, at least one.
    pub fn entries(&mut self, which: &Which) -> Result<Vec<&mut Descriptor>> {
        let entries: Vec<_> = self.index.manifests.iter_mut().filter(|entry| which.fits(entry)).collect();
        if entries.is_empty() { Err(which.missing()) } else { Ok(entries) }
    }

    /// Stores it, and lets `name` mean it. What it lists must be where it is to be read.
    pub fn commit(&self, layout: &Layout, name: &str) -> Result<Descriptor> {
        let new = layout.put(&self.media_type, &index::json(&self.index)?)?;
        layout.set_name(name, &new)?;
        Ok(new)
    }
}

/// What an index lists of a source: an image with the platform that its configuration says, or all that an index lists.
pub fn entries_of(source: &dyn Source) -> Result<Vec<Descriptor>> {
    let entries = || -> Result<Vec<Descriptor>> {
        let raw = source.resolve()?;
        match Document::parse(&raw)? {
            Document::Index(index) => Ok(index.manifests),
            Document::Manifest(image) => {
                let platform = match media_type::kind(&image.config.media_type) {
                    Kind::Config => Some(platform(source, &image.config)?),
                    _ => None,
                };
                let artifact_type = image.artifact_type.clone();
                Ok(vec![Descriptor {
                    platform,
                    artifact_type,
                    annotations: BTreeMap::new(),
                    ..raw.descriptor
                }])
            }
        }
    };
    entries().wrap(|| source.describe())
}

fn platform(source: &dyn Source, config: &Descriptor) -> Result<Platform> {
    let bytes = verify::read_small(source.open_blob(config, 0)?.reader, config)?;
    let config: ImageConfig = manifest::parse_strictly(&bytes).wrap(|| "configuration")?;
    Ok(Platform {
        os: config.os,
        architecture: config.architecture,
        variant: config.variant,
        os_version: config.os_version,
        os_features: config.os_features,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::sha256;

    fn entry(name: &str, platform: &str) -> Descriptor {
        let (os, architecture) = platform.split_once('/').unwrap();
        let platform = Platform { os: os.into(), architecture: architecture.into(), ..Platform::default() };
        let digest = sha256(name.as_bytes());
        Descriptor { platform: Some(platform), ..Descriptor::new(media_type::OCI_MANIFEST, digest, 1) }
    }

    #[test]
    fn a_platform_has_one_image_and_unknown_ones_any_number() {
        let mut draft = IndexDraft::default();
        for (name, platform) in [
            ("a", "linux/amd64"),
            ("b", "linux/arm64"),
            ("x", "unknown/unknown"),
            ("y", "unknown/unknown"),
            ("c", "linux/amd64"),
            ("y", "unknown/unknown"),
        ] {
            draft.add(entry(name, platform));
        }
        let digests = |draft: &IndexDraft| -> Vec<_> {
            draft.index.manifests.iter().map(|entry| entry.digest.clone()).collect()
        };
        assert_eq!(digests(&draft), ["c", "b", "x", "y"].map(|name| sha256(name.as_bytes())));
        let arm = Which::Platform(entry("b", "linux/arm64").platform.unwrap());
        draft.annotations(Some(&arm)).unwrap()[0].insert("k".into(), "v".into());
        assert_eq!(draft.index.manifests[1].annotations["k"], "v");
        draft.remove(&arm).unwrap();
        assert_eq!(draft.remove(&arm).unwrap_err().kind(), ErrorKind::NotFound);
        draft.remove(&Which::Digest(sha256(b"x"))).unwrap();
        assert_eq!(digests(&draft), ["c", "y"].map(|name| sha256(name.as_bytes())));
    }
}
