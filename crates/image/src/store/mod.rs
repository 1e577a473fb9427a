// SPDX-License-Identifier: Apache-2.0
//! The store: an OCI image layout, and around it what an engine needs. Format: docs/formats/store.md.
//!
//! ```text
//! <root>/                        mode 0700; flock on it: shared while used, exclusive for gc and repair
//!   oci-layout                   flock on it: serialises changes of index.json
//!   index.json                   names, as org.opencontainers.image.ref.name = full canonical reference
//!   blobs/sha256/<hex>           raw manifests, configurations, compressed layers
//!   layers/sha256/<hex>/         by diff_id (or chain id, see `layers`): layer.json and diff/, ready for overlayfs;
//!                                one that was made here is its blob's source (see `made`)
//!   ingest/                      partial downloads and unfinished layers, each locked by who works on it
//! ```
//! No byte enters but through the verifying reader. All locks are the kernel's (flock): a killed process leaves
//! files in `ingest/` and nothing else, and the next one continues or removes them.

pub(crate) mod gc;
pub(crate) mod layers;
pub(crate) mod made;
mod pins;
mod port;
mod summaries;
mod upload;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use conex_spec::Digest;
use conex_spec::image::annotation::REF_NAME;
use conex_spec::image::{Descriptor, Platform};
use conex_sys::path::Dir;

use crate::layout::blob::Blobs;
use crate::layout::{files, index};
use crate::manifest::Document;
use crate::snapshot::Snapshot;
use crate::transfer::{BlobReader, RawManifest, Silent, Source};
use crate::{Error, ErrorKind, Image, Result, Wrap};

pub use gc::{GcReport, Keep};
pub use made::Made;
pub use port::{StoreSink, StoreSource};
pub use summaries::{Summaries, Summary};
pub use upload::Upload;

/// Directories of a store besides the layout's.
pub(crate) const LAYERS: &str = "layers";
pub(crate) const INGEST: &str = "ingest";

/// An open store. Cheap; several threads and processes may use one store at a time.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    pub(crate) root: Dir,
    pub(crate) blobs: Blobs,
    pub(crate) layers: Dir,
    privileges: OnceLock<layers::Privileges>,
}

/// A name in the store and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The full canonical reference: `docker.io/library/alpine:latest`.
    pub name: String,
    /// The manifest or index.
    pub descriptor: Descriptor,
}

/// A line of index.json.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As of [`Named`]; `None` for an image that has no name.
    pub name: Option<String>,
    /// The manifest or index.
    pub descriptor: Descriptor,
}

/// Keeps `gc` away while it lives. Hold one from before bringing content in until a name leads to it.
#[derive(Debug)]
pub struct Shared {
    lock: File,
}

impl Shared {
    /// The lock itself, which lasts as long as the file is open.
    pub(crate) fn into_file(self) -> File {
        self.lock
    }

    /// Does something while nobody else holds the store; `Busy` while anybody does.
    ///
    /// flock(2) changes a lock by giving up the old one first: for that moment another's gc may get in between, and take
    /// what no name leads to yet. Its owner then finds it missing and brings it again.
    pub(crate) fn alone<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let done = match self.lock.try_lock() {
            Ok(()) => work(),
            Err(std::fs::TryLockError::WouldBlock) => {
                Err(Error::new(ErrorKind::Busy, "another process is using the store"))
            }
            Err(std::fs::TryLockError::Error(error)) => Err(error.into()),
        };
        self.lock.lock_shared()?;
        done
    }
}

impl Store {
    /// Opens the store at `path`, and makes it (mode 0700) where there is none.
    pub fn open(path: &Path) -> Result<Self> {
        let open = || {
            let root = crate::host::make_dir(path, 0o700)?;
            // Setuid files and device nodes lie below.
            if conex_sys::path::stat(&root)?.st_mode & 0o077 != 0 {
                conex_sys::path::chmod(&root, 0o700)?;
            }
            index::create(&root)?;
            Self::assemble(path, root)
        };
        open().map_err(|error: Error| error.wrap(format!("store {}", path.display())))
    }

    /// Opens the store at `path`; an error of kind `NotFound` where there is none.
    pub fn open_existing(path: &Path) -> Result<Self> {
        let open = || {
            let root = Dir::open_host(path)?;
            index::check_marker(&root)?;
            Self::assemble(path, root)
        };
        open().map_err(|error: Error| error.wrap(format!("store {}", path.display())))
    }

    fn assemble(path: &Path, root: Dir) -> Result<Self> {
        let blobs = files::subdirectory(&root, "blobs", 0o700)?;
        let ingest = files::subdirectory(&root, INGEST, 0o700)?;
        let layers = files::subdirectory(&files::subdirectory(&root, LAYERS, 0o700)?, "sha256", 0o700)?;
        let path = std::path::absolute(path)?;
        let blobs = Blobs::new(blobs, ingest, 0o700);
        blobs.directory(conex_spec::Algorithm::Sha256)?;
        Ok(Self { path, root, blobs, layers, privileges: OnceLock::new() })
    }

    /// Where the store is, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for a running gc, then keeps the next one away.
    pub fn share(&self) -> Result<Shared> {
        let lock = self.root.reopen()?.into_file();
        lock.lock_shared().wrap(|| format!("lock store {}", self.path.display()))?;
        Ok(Shared { lock })
    }

    /// Nobody else uses the store while the file is open; `Busy` while anybody does.
    pub(crate) fn own(&self) -> Result<File> {
        let lock = self.root.reopen()?.into_file();
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(std::fs::TryLockError::WouldBlock) => {
                let message = format!("store {}: another process is using it", self.path.display());
                Err(Error::new(ErrorKind::Busy, message)
                    .with_hint("try again when pulls and uploads have ended"))
            }
            Err(std::fs::TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Everything that is kept, in the order of index.json.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let entries = index::read(&self.root)?.manifests.into_iter();
        let split = entries.map(|mut descriptor| match index::name_of(&descriptor).map(str::to_owned) {
            None => Entry { name: None, descriptor },
            name => {
                descriptor.annotations.clear();
                Entry { name, descriptor }
            }
        });
        Ok(split.collect())
    }

    /// All names, in the order of index.json.
    pub fn images(&self) -> Result<Vec<Named>> {
        let entries = self.entries()?.into_iter();
        Ok(entries.filter_map(|Entry { name, descriptor }| Some(Named { name: name?, descriptor })).collect())
    }

    /// What `name` (a full canonical reference, or the digest of an image without a name) means: a manifest or an index.
    pub fn resolve(&self, name: &str) -> Result<Descriptor> {
        let found = self.images()?.into_iter().find(|named| named.name == name).map(|named| named.descriptor);
        let nameless =
            || -> Result<_> { Ok(self.nameless()?.into_iter().find(|entry| entry.digest.as_str() == name)) };
        let missing = || Error::new(ErrorKind::NotFound, format!("no image {name} in the store"));
        match found {
            Some(found) => Ok(found),
            None => nameless()?.ok_or_else(missing),
        }
    }

    /// Lets `name` mean `descriptor`, whose blob must be here. Replaces what it meant.
    pub fn tag(&self, name: &str, descriptor: &Descriptor) -> Result<()> {
        if name.is_empty() || name.len() > 4096 || name.chars().any(char::is_control) {
            return Err(Error::new(ErrorKind::Usage, format!("{name:?} cannot be the name of an image")));
        }
        let _shared = self.share()?;
        if self.blob_size(&descriptor.digest)? != Some(descriptor.size) {
            let message = format!("tag {name}: blob {} is not in the store", descriptor.digest);
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        let mut entry = descriptor.clone();
        entry.annotations.insert(REF_NAME.to_owned(), name.to_owned());
        index::update(&self.root, |index| {
            let replaced = |old: &Descriptor| match index::name_of(old) {
                Some(other) => other == name,
                None => old.digest == entry.digest,
            };
            index.manifests.retain(|old| !replaced(old));
            index.manifests.push(entry);
            Ok(())
        })
    }

    /// Keeps an image that has no name, until it gets one or is forgotten.
    pub fn keep(&self, descriptor: &Descriptor) -> Result<()> {
        let _shared = self.share()?;
        self.require(descriptor)?;
        index::update(&self.root, |index| {
            if !index.manifests.iter().any(|old| old.digest == descriptor.digest) {
                index.manifests.push(descriptor.clone());
            }
            Ok(())
        })
    }

    /// The images that have no name.
    pub fn nameless(&self) -> Result<Vec<Descriptor>> {
        let entries = self.entries()?.into_iter();
        Ok(entries.filter(|entry| entry.name.is_none()).map(|entry| entry.descriptor).collect())
    }

    /// Forgets an image that has no name. The content stays until `gc`.
    pub fn forget(&self, digest: &Digest) -> Result<()> {
        let _shared = self.share()?;
        index::update(&self.root, |index| {
            index.manifests.retain(|old| index::name_of(old).is_some() || old.digest != *digest);
            Ok(())
        })
    }

    /// Forgets `name`; says what it meant. The content stays until `gc`.
    pub fn untag(&self, name: &str) -> Result<Descriptor> {
        let _shared = self.share()?;
        index::update(&self.root, |index| {
            let at = index.manifests.iter().position(|old| index::name_of(old) == Some(name));
            let missing = || Error::new(ErrorKind::NotFound, format!("no image {name} in the store"));
            let mut descriptor = index.manifests.remove(at.ok_or_else(missing)?);
            descriptor.annotations.clear();
            Ok(descriptor)
        })
    }

    /// The size of a blob, where it is here whole and verified, or can be made of a layer.
    pub fn blob_size(&self, digest: &Digest) -> Result<Option<u64>> {
        match self.blobs.size(digest)? {
            None => Ok(self.packed(digest)?.map(|packed| packed.size)),
            size => Ok(size),
        }
    }

    /// Whether the blob is here, whole and verified.
    pub fn has_blob(&self, digest: &Digest) -> Result<bool> {
        Ok(self.blob_size(digest)?.is_some())
    }

    /// Opens a blob for reading. A layer that was made here becomes a blob with that.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        if self.blobs.size(digest)?.is_none() && self.packed(digest)?.is_some() {
            self.write_blob(digest)?;
        }
        self.blobs.open(digest)
    }

    /// Reads a small blob (manifest, configuration), verified again against the descriptor.
    pub fn read_blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.blobs.read(descriptor)
    }

    /// Stores what `reader` yields if it has this digest and size; nothing of it otherwise.
    pub fn put_blob(&self, descriptor: &Descriptor, reader: &mut (dyn Read + Send)) -> Result<()> {
        let mut bytes = Vec::new();
        if descriptor.size <= crate::manifest::MAX_MANIFEST {
            reader.take(descriptor.size + 1).read_to_end(&mut bytes)?;
            if bytes.len() as u64 == descriptor.size {
                return self.blobs.put(&descriptor.digest, &bytes);
            }
            let found = crate::verify::sha256(&bytes);
            return crate::verify::check(&descriptor.digest, descriptor.size, &found, bytes.len() as u64);
        }
        let mut upload = self.begin_upload(&Arc::new(self.share()?))?;
        // One byte more than promised is enough to know that there is too much.
        upload.append(&mut reader.take(descriptor.size + 1))?;
        if upload.len() != descriptor.size {
            let len = upload.len();
            upload.cancel()?;
            let message = format!("blob {}: {len} bytes instead of {}", descriptor.digest, descriptor.size);
            return Err(Error::invalid(message));
        }
        upload.finish(&descriptor.digest).map(drop)
    }

    /// A manifest or index that is here, parsed strictly and verified.
    pub fn manifest(&self, descriptor: &Descriptor) -> Result<RawManifest> {
        let raw = RawManifest { descriptor: descriptor.clone(), bytes: self.read_blob(descriptor)? };
        Document::parse(&raw)?;
        Ok(raw)
    }

    /// Stores a manifest or index. Everything it refers to must be here.
    pub fn put_manifest(&self, manifest: &RawManifest) -> Result<()> {
        let _shared = self.share()?;
        for child in Document::parse(manifest)?.children() {
            self.require(child).wrap(|| format!("manifest {}", manifest.descriptor.digest))?;
        }
        self.blobs.put(&manifest.descriptor.digest, &manifest.bytes)
    }

    /// The blob must be here and as large as promised. What is to be had elsewhere by its URLs may be missing.
    fn require(&self, descriptor: &Descriptor) -> Result<()> {
        match self.blob_size(&descriptor.digest)? {
            Some(size) if size == descriptor.size => Ok(()),
            Some(size) => Err(Error::invalid(format!(
                "blob {} has {size} bytes, not {}",
                descriptor.digest, descriptor.size
            ))),
            None if !descriptor.urls.is_empty() => Ok(()),
            None => Err(Error::new(
                ErrorKind::NotFound,
                format!("blob {} is not in the store", descriptor.digest),
            )),
        }
    }

    /// Removes a blob that nothing needs any more (`DELETE` of a registry), and the layer that it could be made of.
    pub fn remove_blob(&self, digest: &Digest) -> Result<()> {
        if self.packed(digest)?.is_none() {
            return self.blobs.remove(digest);
        }
        self.remove_layer(digest.hex().as_ref())?;
        match self.blobs.size(digest)? {
            None => Ok(()),
            Some(_) => self.blobs.remove(digest),
        }
    }

    /// The image below a descriptor of this store.
    pub fn image(&self, descriptor: &Descriptor, platform: &Platform) -> Result<Image> {
        Image::below(&Contents { store: self }, self.manifest(descriptor)?, platform)
    }

    /// Unpacks what layers of the image are not unpacked yet, and says where they are, for overlayfs.
    pub fn snapshot(&self, image: &Image) -> Result<Snapshot> {
        let _shared = self.share()?;
        self.unpacked(image, &Contents { store: self }, &Silent)
    }
}

/// The store's blobs as a source that has no name.
pub(crate) struct Contents<'a> {
    pub(crate) store: &'a Store,
}

impl Source for Contents<'_> {
    fn resolve(&self) -> Result<RawManifest> {
        Err(Error::new(ErrorKind::Usage, "the store as a whole is no image"))
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<RawManifest> {
        self.store.manifest(descriptor)
    }

    fn open_blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobReader> {
        let store = self.store;
        if store.blobs.size(&descriptor.digest)?.is_none() && store.packed(&descriptor.digest)?.is_some() {
            return store.pack_blob(&descriptor.digest);
        }
        crate::layout::open_at(&store.blobs, descriptor, offset)
    }

    fn describe(&self) -> String {
        format!("store {}", self.store.path.display())
    }
}

#[cfg(test)]
mod tests;
