// SPDX-License-Identifier: Apache-2.0
//! One image, read and checked: its manifest, its configuration, and that the two belong together.

use conex_spec::image::{Descriptor, ImageConfig, Manifest, Platform};
use conex_spec::{ChainId, Digest};

use crate::transfer::{RawManifest, Source};
use crate::{Error, ErrorKind, Result};

/// A manifest with its configuration; as many layers as `diff_ids`.
#[derive(Clone, Debug)]
pub struct Image {
    /// From the named descriptor down to the manifest's: one entry, or more where an index led here.
    pub walk: Vec<Descriptor>,
    /// The manifest's exact bytes.
    pub raw: RawManifest,
    /// The manifest, parsed.
    pub manifest: Manifest,
    /// The configuration, parsed.
    pub config: ImageConfig,
}

impl Image {
    /// Reads the image that `source` names; where that is an index, the manifest that fits `platform` best.
    pub fn load(source: &dyn Source, platform: &Platform) -> Result<Self> {
        let _ = (source, platform);
        Err(Error::new(ErrorKind::Unsupported, "read an image: not built yet"))
    }

    /// The image id: the digest of its configuration.
    pub fn id(&self) -> &Digest {
        &self.manifest.config.digest
    }

    /// The chain id of each layer, base first (image-spec config.md#layer-chainid).
    pub fn chain_ids(&self) -> Vec<ChainId> {
        Vec::new()
    }
}
