// SPDX-License-Identifier: Apache-2.0
//! An index with only some of its entries, as a [`Source`] of its own.

use conex_spec::Digest;
use conex_spec::image::{Descriptor, Platform};

use super::copy::{Others, Select};
use super::{BlobReader, RawManifest, Source};
use crate::manifest::{self, Document};
use crate::{Error, ErrorKind, Result};

/// What became of the index below `inner`.
pub(super) struct Narrowed<'a> {
    inner: &'a dyn Source,
    top: RawManifest,
}

/// The entries of an index for these platforms, in its order. Each platform must be there. What belongs to a chosen image and has
/// no platform of its own, such as an attestation, goes with it.
pub(super) fn wanted(index: &RawManifest, platforms: &[Platform]) -> Result<Vec<Descriptor>> {
    let Document::Index(index) = Document::parse(index)? else { return Ok(Vec::new()) };
    let mut chosen: Vec<&Digest> = Vec::new();
    for platform in platforms {
        let found = manifest::choose(&index, platform).filter(|entry| entry.platform.is_some());
        let found = found.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("the index has no image for {platform}"))
        })?;
        chosen.push(&found.digest);
    }
    let belongs = |entry: &Descriptor| {
        let subject = entry.annotations.get("vnd.docker.reference.digest");
        subject.is_some_and(|subject| chosen.iter().any(|digest| digest.as_str() == subject.as_str()))
    };
    let entries = index.manifests.iter();
    Ok(entries.filter(|entry| chosen.contains(&&entry.digest) || belongs(entry)).cloned().collect())
}

impl<'a> Narrowed<'a> {
    /// The index without the others; `None` where all stays as it is.
    pub(super) fn new(inner: &'a dyn Source, top: &RawManifest, select: &Select) -> Result<Option<Self>> {
        let Select::Platforms { platforms, others: Others::Removed } = select else { return Ok(None) };
        let Document::Index(mut index) = Document::parse(top)? else { return Ok(None) };
        let wanted = wanted(top, platforms)?;
        if wanted == index.manifests {
            return Ok(None);
        }
        index.manifests = wanted;
        let bytes = serde_json::to_vec(&index).map_err(|error| Error::invalid(error.to_string()))?;
        let top = manifest::verified(bytes, &top.descriptor.media_type, None)?;
        Ok(Some(Self { inner, top }))
    }
}

impl Source for Narrowed<'_> {
    fn resolve(&self) -> Result<RawManifest> {
        Ok(self.top.clone())
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<RawManifest> {
        self.inner.manifest(descriptor)
    }

    fn open_blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobReader> {
        self.inner.open_blob(descriptor, offset)
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn repository(&self) -> Option<(String, String)> {
        self.inner.repository()
    }
}
