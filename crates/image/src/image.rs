// SPDX-License-Identifier: Apache-2.0
//! One image, read and checked: its manifest, its configuration, and that the two belong together.

use conex_spec::image::{Descriptor, ImageConfig, Index, Manifest, Platform, media_type};
use conex_spec::{ChainId, DiffId, Digest};

use crate::manifest::{self, Document};
use crate::transfer::{RawManifest, Source};
use crate::verify::{self, sha256};
use crate::{Error, ErrorKind, Result, Wrap};

/// Indexes in indexes.
pub(crate) const MAX_DEPTH: usize = 4;

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
        let top = source.resolve()?;
        Self::below(source, top, platform).map_err(|error| error.wrap(source.describe()))
    }

    /// Reads the image below a manifest or index of `source`.
    pub(crate) fn below(source: &dyn Source, top: RawManifest, platform: &Platform) -> Result<Self> {
        let (walk, raw, manifest) = choose_manifest(source, top, platform)?;
        let config = read_config(source, &manifest)?;
        let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
        if layers != diff_ids {
            return Err(Error::invalid(format!(
                "the manifest has {layers} layers, but the configuration names {diff_ids}"
            )));
        }
        Ok(Self { walk, raw, manifest, config })
    }

    /// The image id: the digest of its configuration.
    pub fn id(&self) -> &Digest {
        &self.manifest.config.digest
    }

    /// Each layer with what its uncompressed tar must hash to, base first.
    pub fn layers(&self) -> impl Iterator<Item = (&Descriptor, &DiffId)> {
        self.manifest.layers.iter().zip(&self.config.rootfs.diff_ids)
    }

    /// The chain id of each layer, base first (image-spec config.md#layer-chainid).
    pub fn chain_ids(&self) -> Vec<ChainId> {
        chain_ids(&self.config.rootfs.diff_ids)
    }
}

/// The chain id of each layer, base first.
pub(crate) fn chain_ids(diff_ids: &[DiffId]) -> Vec<ChainId> {
    let mut chain: Vec<ChainId> = Vec::new();
    for diff_id in diff_ids {
        chain.push(match chain.last() {
            None => ChainId(diff_id.0.clone()),
            Some(below) => ChainId(sha256(format!("{below} {diff_id}").as_bytes())),
        });
    }
    chain
}

/// Goes down through indexes to the manifest that fits.
pub(crate) fn choose_manifest(
    source: &dyn Source,
    mut raw: RawManifest,
    platform: &Platform,
) -> Result<(Vec<Descriptor>, RawManifest, Manifest)> {
    let mut walk = vec![raw.descriptor.clone()];
    for _ in 0..=MAX_DEPTH {
        let index = match Document::parse(&raw)? {
            Document::Manifest(manifest) => return Ok((walk, raw, *manifest)),
            Document::Index(index) => index,
        };
        let chosen = manifest::choose(&index, platform).or_else(|| nested(&index));
        let chosen = chosen.ok_or_else(|| no_platform(&index, platform))?;
        raw = source.manifest(chosen)?;
        walk.push(chosen.clone());
    }
    Err(Error::invalid(format!("indexes nested deeper than {MAX_DEPTH}")))
}

/// An index without platforms may hold one index that has them.
fn nested(index: &Index) -> Option<&Descriptor> {
    index.manifests.iter().find(|d| media_type::kind(&d.media_type) == media_type::Kind::Index)
}

fn no_platform(index: &Index, platform: &Platform) -> Error {
    let offered: Vec<String> = index
        .manifests
        .iter()
        .filter_map(|d| d.platform.as_ref())
        .map(ToString::to_string)
        .take(20)
        .collect();
    let message = format!("no image for {platform}; there are {}", offered.join(", "));
    Error::new(ErrorKind::NotFound, message).with_hint("choose one of them with --platform")
}

fn read_config(source: &dyn Source, manifest: &Manifest) -> Result<ImageConfig> {
    let descriptor = &manifest.config;
    if !matches!(media_type::kind(&descriptor.media_type), media_type::Kind::Config) {
        let message = format!("{} is an artifact, not an image that can run", descriptor.media_type);
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    let read = || {
        let bytes = verify::read_small(source.open_blob(descriptor, 0)?.reader, descriptor)?;
        manifest::parse_strictly(&bytes)
    };
    read().wrap(|| format!("configuration {}", descriptor.digest))
}
