// SPDX-License-Identifier: Apache-2.0
//! image-spec v1.1: manifest.md, image-index.md
//!
//! Reading manifests that may lie. A document is exactly one of index and manifest (CVE-2021-41190), says the
//! same media type as its descriptor, holds no key twice, and is at most 4 MiB.

use conex_spec::image::{Descriptor, Index, Manifest, Platform};

use crate::transfer::RawManifest;
use crate::{Error, ErrorKind, Result};

/// The largest manifest, index or configuration that is read.
pub const MAX_MANIFEST: u64 = 4 << 20;

/// A manifest document, parsed.
#[derive(Clone, Debug)]
pub enum Document {
    /// Several images under one name.
    Index(Box<Index>),
    /// One image or artifact.
    Manifest(Box<Manifest>),
}

impl Document {
    /// Parses and checks. `raw.descriptor.media_type` must agree with what the document says and is.
    pub fn parse(raw: &RawManifest) -> Result<Self> {
        let _ = raw;
        Err(Error::new(ErrorKind::Unsupported, "parse a manifest: not built yet"))
    }
}

/// Builds the [`RawManifest`] of received bytes: checks size and digest against `expected` where it is known.
/// `media_type` is what the other side called it (`Content-Type`, a descriptor).
pub fn verified(
    bytes: Vec<u8>,
    media_type: &str,
    expected: Option<&conex_spec::Digest>,
) -> Result<RawManifest> {
    let _ = (bytes, media_type, expected);
    Err(Error::new(ErrorKind::Unsupported, "verify a manifest: not built yet"))
}

/// The entry of an index that fits `wanted` best: an exact variant before a compatible one, in the index's order.
pub fn choose<'a>(index: &'a Index, wanted: &Platform) -> Option<&'a Descriptor> {
    index.manifests.iter().find(|d| d.platform.as_ref().is_some_and(|p| wanted.accepts(p)))
}
