// SPDX-License-Identifier: Apache-2.0
//! The store as a [`Source`] and as a [`Sink`]. The sink unpacks each layer in the same pass that stores its blob.

use std::sync::Arc;

use conex_spec::image::Descriptor;

use super::{Store, unbuilt};
use crate::Result;
use crate::transfer::{BlobReader, Progress, RawManifest, Sink, Source};

/// Reads the image `name` of a store.
#[derive(Debug)]
pub struct StoreSource {
    store: Arc<Store>,
    name: String,
}

impl StoreSource {
    /// `name` is a full canonical reference.
    pub fn new(store: Arc<Store>, name: impl Into<String>) -> Self {
        Self { store, name: name.into() }
    }
}

impl Source for StoreSource {
    fn resolve(&self) -> Result<RawManifest> {
        self.store.manifest(&self.store.resolve(&self.name)?)
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<RawManifest> {
        self.store.manifest(descriptor)
    }

    fn open_blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobReader> {
        let _ = (descriptor, offset);
        unbuilt("open blob")
    }

    fn describe(&self) -> String {
        format!("store:{}", self.name)
    }
}

/// Writes an image to a store under a name. Keeps gc away while it lives.
#[derive(Debug)]
pub struct StoreSink {
    store: Arc<Store>,
    name: String,
}

impl StoreSink {
    /// `name` is a full canonical reference.
    pub fn new(store: Arc<Store>, name: impl Into<String>) -> Result<Self> {
        Ok(Self { store, name: name.into() })
    }
}

impl Sink for StoreSink {
    fn has_blob(&self, descriptor: &Descriptor) -> Result<bool> {
        self.store.has_blob(&descriptor.digest)
    }

    fn put_blob(&self, descriptor: &Descriptor, from: &dyn Source, progress: &dyn Progress) -> Result<()> {
        let _ = (descriptor, from, progress);
        unbuilt("put blob")
    }

    fn put_manifest(&self, manifest: &RawManifest) -> Result<()> {
        self.store.put_manifest(manifest)
    }

    fn commit(&self, manifest: &RawManifest) -> Result<()> {
        self.store.put_manifest(manifest)?;
        self.store.tag(&self.name, &manifest.descriptor)
    }

    fn describe(&self) -> String {
        format!("store:{}", self.name)
    }
}
