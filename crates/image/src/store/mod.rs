// SPDX-License-Identifier: Apache-2.0
//! The store: an OCI image layout, and around it what an engine needs. Format: docs/formats/store.md.
//!
//! ```text
//! <root>/                        mode 0700; flock on it: shared while used, exclusive for gc and repair
//!   oci-layout                   flock on it: serialises changes of index.json
//!   index.json                   names, as org.opencontainers.image.ref.name = full canonical reference
//!   blobs/sha256/<hex>           raw manifests, configurations, compressed layers
//!   layers/sha256/<hex>/         by diff_id (or chain id, see `layer`): layer.json and diff/, ready for overlayfs
//!   ingest/                      partial downloads and unfinished layers, each locked by who works on it
//! ```
//! No byte enters but through the verifying reader. All locks are the kernel's (flock): a killed process leaves
//! files in `ingest/` and nothing else, and the next one continues or removes them.

mod gc;
mod port;
mod upload;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use conex_spec::Digest;
use conex_spec::image::{Descriptor, Platform};

use crate::snapshot::Snapshot;
use crate::transfer::RawManifest;
use crate::{Error, ErrorKind, Image, Result};

pub use gc::GcReport;
pub use port::{StoreSink, StoreSource};
pub use upload::Upload;

/// An open store. Cheap; several threads and processes may use one store at a time.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
}

/// A name in the store and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The full canonical reference: `docker.io/library/alpine:latest`.
    pub name: String,
    /// The manifest or index.
    pub descriptor: Descriptor,
}

/// Keeps `gc` away while it lives. Hold one from before bringing content in until a name leads to it.
#[derive(Debug)]
pub struct Shared {
    _lock: File,
}

fn unbuilt<T>(what: &str) -> Result<T> {
    Err(Error::new(ErrorKind::Unsupported, format!("{what}: not built yet")))
}

impl Store {
    /// Opens the store at `path`, and makes it (mode 0700) where there is none.
    pub fn open(path: &Path) -> Result<Self> {
        let _ = path;
        unbuilt("open a store")
    }

    /// Opens the store at `path`; an error of kind `NotFound` where there is none.
    pub fn open_existing(path: &Path) -> Result<Self> {
        let _ = path;
        unbuilt("open a store")
    }

    /// Where the store is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for a running gc, then keeps the next one away.
    pub fn share(&self) -> Result<Shared> {
        unbuilt("lock")
    }

    /// All names, in the order of index.json.
    pub fn images(&self) -> Result<Vec<Named>> {
        unbuilt("images")
    }

    /// What `name` (a full canonical reference) means: a manifest or an index.
    pub fn resolve(&self, name: &str) -> Result<Descriptor> {
        let _ = name;
        unbuilt("resolve")
    }

    /// Lets `name` mean `descriptor`, whose blob must be here. Replaces what it meant.
    pub fn tag(&self, name: &str, descriptor: &Descriptor) -> Result<()> {
        let _ = (name, descriptor);
        unbuilt("tag")
    }

    /// Forgets `name`; says what it meant. The content stays until `gc`.
    pub fn untag(&self, name: &str) -> Result<Descriptor> {
        let _ = name;
        unbuilt("untag")
    }

    /// The size of a blob, where it is here whole and verified.
    pub fn blob_size(&self, digest: &Digest) -> Result<Option<u64>> {
        let _ = digest;
        unbuilt("blob size")
    }

    /// Whether the blob is here, whole and verified.
    pub fn has_blob(&self, digest: &Digest) -> Result<bool> {
        Ok(self.blob_size(digest)?.is_some())
    }

    /// Opens a blob for reading.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        let _ = digest;
        unbuilt("open blob")
    }

    /// Reads a small blob (manifest, configuration), verified again against the descriptor.
    pub fn read_blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let _ = descriptor;
        unbuilt("read blob")
    }

    /// Stores what `reader` yields if it has this digest and size; nothing of it otherwise.
    pub fn put_blob(&self, descriptor: &Descriptor, reader: &mut dyn Read) -> Result<()> {
        let _ = (descriptor, reader);
        unbuilt("put blob")
    }

    /// Starts an upload of a blob whose digest is not known yet.
    pub fn begin_upload(&self) -> Result<Upload> {
        unbuilt("upload")
    }

    /// Continues the upload `id`, whoever began it. `Busy` while another holds it.
    pub fn resume_upload(&self, id: &str) -> Result<Upload> {
        let _ = id;
        unbuilt("upload")
    }

    /// A manifest or index that is here, parsed strictly and verified.
    pub fn manifest(&self, descriptor: &Descriptor) -> Result<RawManifest> {
        let _ = descriptor;
        unbuilt("manifest")
    }

    /// Stores a manifest or index. Everything it refers to must be here.
    pub fn put_manifest(&self, manifest: &RawManifest) -> Result<()> {
        let _ = manifest;
        unbuilt("put manifest")
    }

    /// Removes a blob that nothing needs any more (`DELETE` of a registry).
    pub fn remove_blob(&self, digest: &Digest) -> Result<()> {
        let _ = digest;
        unbuilt("remove blob")
    }

    /// The image below a descriptor of this store.
    pub fn image(&self, descriptor: &Descriptor, platform: &Platform) -> Result<Image> {
        let _ = (descriptor, platform);
        unbuilt("image")
    }

    /// Unpacks what layers of the image are not unpacked yet, and says where they are, for overlayfs.
    pub fn snapshot(&self, image: &Image) -> Result<Snapshot> {
        let _ = image;
        unbuilt("snapshot")
    }

    /// Removes all content that no name and no digest of `keep` leads to, and what killed processes left.
    /// `Busy` while anyone holds [`Shared`].
    pub fn gc(&self, keep: &[Digest]) -> Result<GcReport> {
        let _ = keep;
        unbuilt("gc")
    }
}
