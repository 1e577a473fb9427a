// SPDX-License-Identifier: Apache-2.0
//! Writes an image. Blobs wait in files without names; when the manifest has come, layers are unpacked from the bottom up,
//! each seeing what lies below it, and become the storage's one by one; the image's record comes last.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use conex_spec::distribution::Reference;
use conex_spec::image::media_type::{Compression, Kind, kind};
use conex_spec::image::{Descriptor, ImageConfig, Manifest};
use conex_spec::{DiffId, Digest};

use super::staging::Staging;
use super::{LayerRecord, Share, Storage, layer_name};
use crate::layer::apply::Below;
use crate::manifest::{self, Document};
use crate::section::Section;
use crate::snapshot::Stack;
use crate::store::layers::Privileges;
use crate::transfer::{Outcome, Progress, RawManifest, Sink, Source};
use crate::verify::{self, VerifyingReader};
use crate::{Error, ErrorKind, Result, Wrap};

mod image;
mod layer;

/// An image for a storage.
#[derive(Debug)]
pub struct StorageSink {
    storage: Storage,
    /// The full canonical reference.
    name: String,
    staging: Staging,
    blobs: Mutex<HashMap<Digest, Blob>>,
}

/// What has come in, verified.
#[derive(Clone, Debug)]
enum Blob {
    Small(Arc<Vec<u8>>),
    Layer(Arc<File>, u64),
}

/// A layer's place in an image.
struct Place<'a> {
    blob: &'a Descriptor,
    diff_id: &'a DiffId,
    id: String,
    /// The layers below, top first.
    below: &'a [String],
}

impl StorageSink {
    /// In the storage at `graph_root`, which is made where there is none.
    pub fn open(graph_root: &Path, image: &str) -> Result<Self> {
        let reference: Reference = image.parse()?;
        if reference.digest.is_some() {
            let message = format!("containers-storage:{image}: an image is written by name, not by digest");
            return Err(Error::new(ErrorKind::Usage, message));
        }
        let open = || {
            let storage = Storage::create(graph_root)?;
            let staging = Staging::new(&storage.root)?;
            Ok((storage, staging))
        };
        let (storage, staging) = open()
            .map_err(|error: Error| error.wrap(format!("containers-storage: {}", graph_root.display())))?;
        Ok(Self { storage, name: reference.canonical(), staging, blobs: Mutex::default() })
    }

    fn blobs(&self) -> MutexGuard<'_, HashMap<Digest, Blob>> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn small(&self, digest: &Digest) -> Result<Arc<Vec<u8>>> {
        match self.blobs().get(digest) {
            Some(Blob::Small(bytes)) => Ok(bytes.clone()),
            _ => Err(Error::invalid(format!("{digest} has not come"))),
        }
    }

    /// A layer's content: as it came, or put together from where it is unpacked already.
    fn content(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>> {
        if let Some(Blob::Layer(file, size)) = self.blobs().get(&blob.digest) {
            return Ok(Box::new(Section::new(file.clone(), 0, *size)));
        }
        match self.unpacked(&blob.digest)? {
            Some(layer) => self.storage.archive(&layer.id),
            None => Err(Error::new(ErrorKind::Busy, "has been removed by somebody").with_hint("try again")),
        }
    }

    /// A layer that was unpacked from this blob.
    fn unpacked(&self, blob: &Digest) -> Result<Option<LayerRecord>> {
        let layers = self.storage.layers(Share::Readers)?;
        let records: Vec<LayerRecord> = layers.records.view()?;
        for record in records {
            let is_it = [&record.compressed_diff_digest, &record.diff_digest].contains(&&Some(blob.clone()));
            let can_be_had = is_it
                && !record.is_incomplete()
                && layers.dir.find(format!("{}.tar-split.gz", record.id))?.is_some();
            if can_be_had {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// All layers, unpacked; the top one's name.
    fn place_layers(&self, manifest: &Manifest, diff_ids: &[DiffId]) -> Result<Option<String>> {
        let mut below: Vec<String> = Vec::new();
        for (blob, diff_id) in manifest.layers.iter().zip(diff_ids) {
            let id = layer_name(below.first().map(String::as_str), diff_id);
            let place = Place { blob, diff_id, id: id.clone(), below: &below };
            self.place(&place).wrap(|| format!("layer {}", blob.digest))?;
            below.insert(0, id);
        }
        Ok(below.into_iter().next())
    }

    fn place(&self, place: &Place<'_>) -> Result<()> {
        let known: Vec<LayerRecord> = self.storage.layers(Share::Readers)?.records.view()?;
        if known.iter().any(|layer| layer.id == place.id && !layer.is_incomplete()) {
            return Ok(());
        }
        let privileges = Privileges::probe(&self.staging.dir)?;
        let below = place.below.iter().map(|id| Ok(Arc::new(self.storage.diff(id)?)));
        let below: Vec<_> = below.collect::<Result<_>>()?;
        let stack = Stack::new(below.clone(), !privileges.trusted);
        let unpacked =
            layer::Unpacked::new(&self.staging, place, privileges.options(), Below::Layers(stack))?;
        let unpacked = unpacked.fill(place, self.content(place.blob)?, below.first().map(AsRef::as_ref))?;
        unpacked.publish(&self.storage, place)
    }
}

impl Sink for StorageSink {
    fn has_blob(&self, descriptor: &Descriptor) -> Result<bool> {
        let is_layer = matches!(kind(&descriptor.media_type), Kind::Layer(_));
        Ok(self.blobs().contains_key(&descriptor.digest)
            || is_layer && self.unpacked(&descriptor.digest)?.is_some())
    }

    fn put_blob(&self, descriptor: &Descriptor, from: &dyn Source, progress: &dyn Progress) -> Result<()> {
        progress.begin(descriptor, 0);
        let input = from.open_blob(descriptor, 0)?.reader;
        let blob = match kind(&descriptor.media_type) {
            Kind::Layer(_) => {
                let mut file = self.staging.file()?;
                let mut reader = VerifyingReader::new(input, descriptor);
                std::io::copy(&mut reader, &mut file)?;
                reader.finish()?;
                Blob::Layer(Arc::new(file), descriptor.size)
            }
            _ => Blob::Small(Arc::new(verify::read_small(input, descriptor)?)),
        };
        self.blobs().insert(descriptor.digest.clone(), blob);
        progress.advance(descriptor, descriptor.size);
        progress.finish(descriptor, Outcome::Copied);
        Ok(())
    }

    fn put_manifest(&self, _manifest: &RawManifest) -> Result<()> {
        Err(one_platform())
    }

    fn commit(&self, raw: &RawManifest) -> Result<()> {
        let Document::Manifest(manifest) = Document::parse(raw)? else { return Err(one_platform()) };
        if kind(&manifest.config.media_type) != Kind::Config {
            let message = format!("{} is an artifact, not an image", manifest.config.media_type);
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let bytes = self.small(&manifest.config.digest)?;
        let config: ImageConfig = manifest::parse_strictly(&bytes).wrap(|| "configuration")?;
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            let message = format!("{} layers, but {} diff_ids", manifest.layers.len(), diff_ids.len());
            return Err(Error::invalid(message));
        }
        let top = self.place_layers(&manifest, diff_ids)?;
        let documents = [
            (manifest.config.digest.to_string(), &bytes[..]),
            (super::records::manifest_document(&raw.descriptor.digest), &raw.bytes[..]),
            ("manifest".to_owned(), &raw.bytes[..]),
        ];
        let new = image::NewImage {
            id: manifest.config.digest.hex(),
            name: &self.name,
            manifest: &raw.descriptor.digest,
            top: top.as_deref(),
            created: config.created.as_deref(),
            documents: &documents,
        };
        new.publish(&self.storage)
    }

    fn describe(&self) -> String {
        format!("containers-storage:[overlay@{}]{}", self.storage.path.display(), self.name)
    }
}

fn one_platform() -> Error {
    Error::new(ErrorKind::Usage, "a storage keeps one platform of an image").with_hint("leave --all out")
}

/// As layers.json numbers them.
fn compression_number(media_type: &str) -> u8 {
    match kind(media_type) {
        Kind::Layer(Compression::Gzip) => 2,
        Kind::Layer(Compression::Zstd) => 4,
        _ => 0,
    }
}
