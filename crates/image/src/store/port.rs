// SPDX-License-Identifier: Apache-2.0
//! The store as a [`Source`] and as a [`Sink`]. The sink unpacks each layer in the same pass that stores its blob.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use conex_spec::image::media_type::{Kind, kind};
use conex_spec::image::{Descriptor, Platform};
use conex_spec::{DiffId, Digest};

use super::layers::Staging;
use super::{Contents, Shared, Store};
use crate::layout::blob::Ingest;
use crate::manifest::Document;
use crate::transfer::{BlobReader, Outcome, Progress, RawManifest, Silent, Sink, Source};
use crate::{Error, ErrorKind, Image, Result, Wrap};

/// Reads an image of a store.
#[derive(Debug)]
pub struct StoreSource {
    store: Arc<Store>,
    name: String,
    /// What it is, where it has no name.
    nameless: Option<Descriptor>,
}

impl StoreSource {
    /// `name` is a full canonical reference.
    pub fn new(store: Arc<Store>, name: impl Into<String>) -> Self {
        Self { store, name: name.into(), nameless: None }
    }

    /// An image of which only this is known.
    pub fn nameless(store: Arc<Store>, descriptor: Descriptor) -> Self {
        Self { store, name: descriptor.digest.to_string(), nameless: Some(descriptor) }
    }
}

impl Source for StoreSource {
    fn resolve(&self) -> Result<RawManifest> {
        match &self.nameless {
            Some(descriptor) => self.store.manifest(descriptor),
            None => self.store.manifest(&self.store.resolve(&self.name)?),
        }
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<RawManifest> {
        self.store.manifest(descriptor)
    }

    fn open_blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobReader> {
        Contents { store: &self.store }.open_blob(descriptor, offset)
    }

    fn describe(&self) -> String {
        format!("store:{}", self.name)
    }
}

/// What happens to layers on their way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unpack {
    Now,
    WhenRun,
}

/// Writes an image to a store under a name. Keeps gc away while it lives.
#[derive(Debug)]
pub struct StoreSink {
    store: Arc<Store>,
    name: String,
    unpack: Unpack,
    /// What the layers that were unpacked on the way turned out to be.
    diff_ids: Mutex<HashMap<Digest, DiffId>>,
    _shared: Shared,
}

impl StoreSink {
    /// `name` is a full canonical reference.
    pub fn new(store: Arc<Store>, name: impl Into<String>) -> Result<Self> {
        let shared = store.share()?;
        let diff_ids = Mutex::new(HashMap::new());
        Ok(Self { store, name: name.into(), unpack: Unpack::Now, diff_ids, _shared: shared })
    }

    /// Only stores; layers are unpacked when the image is first run. For images of other platforms.
    #[must_use]
    pub fn without_unpacking(mut self) -> Self {
        self.unpack = Unpack::WhenRun;
        self
    }

    /// Fetches a layer's blob and unpacks it in the same pass.
    fn put_layer(&self, descriptor: &Descriptor, from: &dyn Source, progress: &dyn Progress) -> Result<()> {
        let Some(mut ingest) = self.store.blobs.receive(&descriptor.digest)? else {
            progress.begin(descriptor, descriptor.size);
            progress.finish(descriptor, Outcome::Exists);
            return Ok(());
        };
        let resumed = ingest.is_resumed()?;
        let mut diff_id = self.receive_layer(&mut ingest, descriptor, from, progress);
        if resumed && diff_id.as_ref().is_err_and(|e| e.kind() == ErrorKind::Invalid) {
            // What an earlier attempt has left may be damaged.
            ingest.restart()?;
            diff_id = self.receive_layer(&mut ingest, descriptor, from, progress);
        }
        match diff_id {
            Ok(diff_id) => {
                ingest.publish()?;
                let mut known = self.diff_ids.lock().unwrap_or_else(PoisonError::into_inner);
                known.insert(descriptor.digest.clone(), diff_id);
            }
            Err(error) => return Err(ingest.abandon(error)),
        }
        progress.finish(descriptor, Outcome::Copied);
        Ok(())
    }

    fn receive_layer(
        &self,
        ingest: &mut Ingest<'_>,
        descriptor: &Descriptor,
        from: &dyn Source,
        progress: &dyn Progress,
    ) -> Result<DiffId> {
        let staging = Staging::new(&self.store, ingest, None)?;
        let staged = staging.fill(descriptor, |take| ingest.fetch(descriptor, from, progress, take))?;
        let diff_id = staged.diff_id.clone();
        // Syncs the blob, too, before either gets its name.
        staged.publish(&diff_id.0, Vec::new())?;
        Ok(diff_id)
    }

    /// Checks an image's layers against its configuration, and unpacks those that are not yet.
    fn check_image(&self, manifest: &RawManifest) -> Result<()> {
        let source = Contents { store: &self.store };
        let image = match Image::below(&source, manifest.clone(), &Platform::host()) {
            Err(error) if error.kind() == ErrorKind::Unsupported => return Ok(()),
            other => other?,
        };
        let known = self.diff_ids.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (layer, diff_id) in image.layers() {
            if let Some(found) = known.get(&layer.digest).filter(|found| *found != diff_id) {
                let digest = &layer.digest;
                return Err(Error::invalid(format!(
                    "layer {digest}: the content is {found}, but the configuration says {diff_id}"
                )));
            }
        }
        if self.unpack == Unpack::Now {
            self.store.unpacked(&image, &source, &Silent)?;
        }
        Ok(())
    }
}

impl Sink for StoreSink {
    fn has_blob(&self, descriptor: &Descriptor) -> Result<bool> {
        Ok(self.store.blob_size(&descriptor.digest)?.is_some())
    }

    fn put_blob(&self, descriptor: &Descriptor, from: &dyn Source, progress: &dyn Progress) -> Result<()> {
        match kind(&descriptor.media_type) {
            Kind::Layer(_) if self.unpack == Unpack::Now => self.put_layer(descriptor, from, progress),
            _ => self.store.blobs.copy(descriptor, from, progress),
        }
    }

    fn put_manifest(&self, manifest: &RawManifest) -> Result<()> {
        if let Document::Manifest(_) = Document::parse(manifest)? {
            self.check_image(manifest).wrap(|| format!("manifest {}", manifest.descriptor.digest))?;
        }
        self.store.put_manifest(manifest)
    }

    fn commit(&self, manifest: &RawManifest) -> Result<()> {
        self.put_manifest(manifest)?;
        self.store.tag(&self.name, &manifest.descriptor)
    }

    fn describe(&self) -> String {
        format!("store:{}", self.name)
    }
}
