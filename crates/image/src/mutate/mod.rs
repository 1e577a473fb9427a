// SPDX-License-Identifier: Apache-2.0
//! image-spec v1.1: config.md, manifest.md
//!
//! An image made out of another: more layers, another configuration, more history. Decided on data ([`Draft`],
//! [`Changes`]); written by [`Draft::commit`], which replaces one name in a layout when everything else is there.
//!
//! ```text
//!  Image ──► Draft ──configure──► Draft ──append──► Draft ──commit──► config, manifest, (indexes), name
//! ```
//! Where an index led to the image, the index is rewritten around it: the images for other platforms stay. What lies
//! elsewhere than in a layout is changed by way of a [`Scratch`].

mod archive;
mod commit;
mod configure;
mod flatten;
mod index;
mod insert;
mod layer;
mod rebase;
mod scratch;
mod stat;
mod strip;

use std::collections::BTreeMap;

use conex_spec::Timestamp;
use conex_spec::image::media_type::{self, Compression, Kind, OCI_CONFIG, OCI_MANIFEST};
use conex_spec::image::{Descriptor, History, ImageConfig, Manifest, Platform, RootFs};

use crate::verify::sha256;
use crate::{Error, Image, Result};

pub use archive::append_archive;
pub use configure::{Changes, Clear};
pub use flatten::flatten;
pub use index::{IndexDraft, Which, entries_of};
pub use insert::{Content, insert};
pub use layer::{LayerWriter, NewLayer};
pub use scratch::{Edition, Scratch};
pub use stat::{Step, steps};
pub use strip::strip;

/// An image that is being changed. Nothing is written before [`Draft::commit`].
#[derive(Clone, Debug)]
pub struct Draft {
    /// From the named descriptor down to the manifest's, as they were; empty for a new image.
    pub walk: Vec<Descriptor>,
    /// The manifest; its `config` is what the configuration was.
    pub manifest: Manifest,
    /// The configuration.
    pub config: ImageConfig,
}

/// How a step is noted in the history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// Who did it; the image's author if unset.
    pub author: Option<String>,
    /// Why.
    pub comment: Option<String>,
    /// When.
    pub created: Option<Timestamp>,
    /// By what.
    pub created_by: String,
}

impl Draft {
    /// An image to change.
    pub fn of(image: Image) -> Self {
        Self { walk: image.walk, manifest: image.manifest, config: image.config }
    }

    /// An image of nothing.
    pub fn new(platform: &Platform, created: Timestamp) -> Self {
        let config = ImageConfig {
            created: Some(created.to_string()),
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            variant: platform.variant.clone(),
            rootfs: RootFs { kind: "layers".to_owned(), diff_ids: Vec::new() },
            ..ImageConfig::default()
        };
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST.to_owned()),
            artifact_type: None,
            config: Descriptor::new(OCI_CONFIG, sha256(b""), 0),
            layers: Vec::new(),
            subject: None,
            annotations: BTreeMap::new(),
        };
        Self { walk: Vec::new(), manifest, config }
    }

    /// Adds a layer on top.
    pub fn append(&mut self, layer: NewLayer, note: Option<&Note>) {
        self.manifest.layers.push(layer.descriptor);
        self.config.rootfs.diff_ids.push(layer.diff_id);
        self.remember(note, false);
    }

    /// Notes a step that changed no file.
    pub fn note(&mut self, note: Option<&Note>) {
        self.remember(note, true);
    }

    fn remember(&mut self, note: Option<&Note>, empty_layer: bool) {
        let Some(note) = note else { return };
        self.config.history.push(History {
            created: note.created.map(|time| time.to_string()),
            created_by: Some(note.created_by.clone()),
            author: note.author.clone().or_else(|| self.config.author.clone()),
            comment: note.comment.clone(),
            empty_layer,
        });
    }

    /// How a new layer is stored unless somebody says otherwise: as the topmost that is compressed; by gzip where none
    /// is.
    pub fn compression(&self) -> Compression {
        let packed = self.manifest.layers.iter().rev().find_map(|layer| {
            let Kind::Layer(compression) = media_type::kind(&layer.media_type) else { return None };
            (compression != Compression::None).then_some(compression)
        });
        packed.unwrap_or(Compression::Gzip)
    }

    /// The media type of a new layer, in the words of the image: image-spec's or Docker's.
    fn layer_type(&self, compression: Compression) -> &'static str {
        let docker = self.manifest.config.media_type == media_type::DOCKER_CONFIG;
        match (docker, compression) {
            (false, Compression::None) => media_type::OCI_LAYER,
            (false, Compression::Gzip) => media_type::OCI_LAYER_GZIP,
            (false, Compression::Zstd) => media_type::OCI_LAYER_ZSTD,
            (true, Compression::None) => media_type::DOCKER_LAYER,
            (true, Compression::Gzip) => media_type::DOCKER_LAYER_GZIP,
            (true, Compression::Zstd) => media_type::DOCKER_LAYER_ZSTD,
        }
    }

    /// The media type of the manifest.
    fn manifest_type(&self) -> Result<String> {
        let said = self.manifest.media_type.clone().or_else(|| Some(self.walk.last()?.media_type.clone()));
        said.ok_or_else(|| Error::invalid("the manifest has no media type"))
    }
}
