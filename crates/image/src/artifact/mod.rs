// SPDX-License-Identifier: Apache-2.0
//! Files that travel as images do (image-spec v1.1: manifest.md#guidelines-for-artifact-usage). Which names they have,
//! and that a directory came as an archive, is said by annotations, in the words that oras uses.
//!
//! ```text
//!  files ──► Piece ──► Draft ──► Packed: a Source, for transfer::copy        take(): a Source ──► files
//!            hashed    one manifest: artifactType, config, layers, subject
//! ```

mod piece;
mod take;

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use conex_spec::image::{Descriptor, Manifest, media_type};

use crate::section::Section;
use crate::transfer::{BlobReader, RawManifest, Source};
use crate::verify::sha256;
use crate::{Error, ErrorKind, Result};

pub use piece::{Content, Piece};
pub use take::{Existing, Taken, take};

/// `true` on a layer that is a directory's archive (oras).
pub const UNPACK: &str = "io.deis.oras.content.unpack";
/// The digest of that archive, inflated (oras).
pub const UNPACKED_DIGEST: &str = "io.deis.oras.content.digest";
/// What an artifact is of whose type nobody has said anything.
const UNKNOWN: &str = "application/vnd.unknown.artifact.v1";

/// An artifact to be.
#[derive(Debug, Default)]
pub struct Draft {
    /// Media type; without one the configuration's stands for it.
    pub artifact_type: Option<String>,
    /// A configuration; without one the empty one.
    pub config: Option<Piece>,
    /// The files, in this order.
    pub pieces: Vec<Piece>,
    /// Of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// What it is about.
    pub subject: Option<Descriptor>,
}

impl Draft {
    /// The manifest, and where its blobs are. The same files give the same digest.
    pub fn pack(mut self) -> Packed {
        let untyped = self.artifact_type.is_none() && self.config.is_none();
        let config = self.config.take().unwrap_or_else(empty);
        if self.pieces.is_empty() {
            self.pieces.push(empty());
        }
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            artifact_type: self.artifact_type.or_else(|| untyped.then(|| UNKNOWN.to_owned())),
            config: config.descriptor.clone(),
            layers: self.pieces.iter().map(|piece| piece.descriptor.clone()).collect(),
            subject: self.subject,
            annotations: self.annotations,
        };
        let bytes = serde_json::to_vec(&manifest).expect("a manifest has only string keys");
        let descriptor = Descriptor::new(media_type::OCI_MANIFEST, sha256(&bytes), bytes.len() as u64);
        self.pieces.push(config);
        Packed { manifest: RawManifest { descriptor, bytes }, pieces: self.pieces }
    }
}

/// The empty document, which carries itself along.
fn empty() -> Piece {
    let mut descriptor = Descriptor::new(media_type::OCI_EMPTY, sha256(b"{}"), 2);
    descriptor.data = Some(STANDARD.encode(b"{}"));
    Piece { descriptor, content: Content::Bytes(b"{}".to_vec()) }
}

/// An artifact that can be copied anywhere.
#[derive(Debug)]
pub struct Packed {
    /// Its manifest.
    pub manifest: RawManifest,
    pieces: Vec<Piece>,
}

impl Source for Packed {
    fn resolve(&self) -> Result<RawManifest> {
        Ok(self.manifest.clone())
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<RawManifest> {
        self.manifest.only(descriptor)
    }

    fn open_blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobReader> {
        let piece = self.pieces.iter().find(|piece| piece.descriptor.digest == descriptor.digest);
        let missing = || Error::new(ErrorKind::NotFound, format!("no blob {} here", descriptor.digest));
        let section = |file| Box::new(Section::new(file, 0, descriptor.size).behind(offset));
        let reader: Box<dyn Read + Send> = match &piece.ok_or_else(missing)?.content {
            Content::Bytes(bytes) => {
                let mut bytes = Cursor::new(bytes.clone());
                bytes.set_position(offset);
                Box::new(bytes)
            }
            Content::Path(path) => section(Arc::new(crate::host::open_file(path)?)),
            Content::Archive(archive) => section(archive.clone()),
        };
        Ok(BlobReader { reader, offset })
    }

    fn describe(&self) -> String {
        "the files".to_owned()
    }
}

#[cfg(test)]
mod tests;
