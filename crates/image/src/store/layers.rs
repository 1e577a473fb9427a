// SPDX-License-Identifier: Apache-2.0
//! Unpacked layers, each in its own directory, shared by all images that have it.
//!
//! ```text
//!  ingest/sha256-<blob>.layer/{diff/, layer.json}     under the lock of ingest/sha256-<blob>
//!       │  diff_id right, syncfs
//!       ▼  rename
//!  layers/sha256/<diff_id>/{diff/, layer.json}
//! ```
//! A layer that lies in directories which it does not describe, or that has hard links to lower files, means
//! different things on different layers. It says so in layer.json, and then gets a twin per place, unpacked with a view
//! of what lies below and named by the *chain id*. (The bottom layer's chain id is its diff_id, as is right: there
//! is nothing below.)

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;

use conex_spec::image::{Descriptor, media_type};
use conex_spec::{ChainId, DiffId, Digest};
use conex_sys::Errno;
use conex_sys::path::Dir;
use serde::{Deserialize, Serialize};

use super::made::Packed;
use super::{INGEST, LAYERS, Store};
use crate::layer::apply::{Applied, Form, Limits, Options, Owner};
use crate::layer::pass::stream;
use crate::layout::blob::Ingest;
use crate::layout::files::{self, Existing};
use crate::snapshot::{Snapshot, Stack};
use crate::transfer::{Progress, Source};
use crate::worker::{Site, Take, Unpacking};
use crate::{Error, ErrorKind, Image, Result, Wrap, manifest};

/// The record beside an unpacked layer.
pub(crate) const RECORD: &str = "layer.json";
/// The unpacked layer.
pub(crate) const DIFF: &str = "diff";
/// Behind the name of a blob's partial file: the layer that is unpacked from it.
pub(crate) const STAGING: &str = ".layer";

/// What layer.json says. Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) version: u32,
    pub(crate) diff_id: DiffId,
    /// The blob that it was unpacked from.
    pub(crate) blob: Digest,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) implicit_parents: bool,
    pub(crate) lower_links: bool,
    pub(crate) userxattr: bool,
    /// For a twin: what it lies on, top first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) below: Vec<Digest>,
    /// For a layer that was made here, and whose blob is not stored: how to get it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) packed: Option<Packed>,
}

/// What we may do to files, found out by trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Privileges {
    /// `trusted.*` attributes are the host root's.
    pub(crate) trusted: bool,
    /// Files can be given away: as root, or in a user namespace with a range of ids.
    pub(crate) chown: bool,
}

impl Privileges {
    pub(crate) fn probe(dir: &Dir) -> Result<Self> {
        let name = files::temporary_name();
        let file = dir.create_file(&name, 0o600)?;
        let trusted = match conex_sys::path::set_xattr(&file, b"trusted.conex.probe", b"1") {
            Ok(()) => true,
            Err(error) if matches!(error.errno(), Errno::PERM | Errno::NOTSUP) => false,
            Err(error) => return Err(error.into()),
        };
        let chown = conex_sys::path::chown(&file, 1, 1).is_ok();
        dir.remove_file(&name)?;
        Ok(Self { trusted, chown })
    }

    /// How to unpack a layer for overlayfs.
    pub(crate) fn options(self) -> Options {
        Options {
            form: Form::Overlay { userxattr: !self.trusted },
            owner: if self.chown { Owner::Keep } else { Owner::Caller },
            unprivileged: !self.trusted,
            limits: Limits::default(),
            digests: false,
        }
    }
}

/// A layer's place in an image.
struct Place<'a> {
    blob: &'a Descriptor,
    diff_id: &'a DiffId,
    chain_id: &'a ChainId,
    /// The keys of the layers below, top first.
    below: &'a [Digest],
}

impl Store {
    pub(crate) fn privileges(&self) -> Result<Privileges> {
        if let Some(known) = self.privileges.get() {
            return Ok(*known);
        }
        let found = Privileges::probe(self.blobs.ingest_dir())?;
        Ok(*self.privileges.get_or_init(|| found))
    }

    /// The record of an unpacked layer; `None` where it is not here.
    pub(crate) fn layer_record(&self, key: &Digest) -> Result<Option<Record>> {
        let dir = match self.layers.open_dir(key.hex()) {
            Ok(dir) => dir,
            Err(error) if error.errno() == Errno::NOENT => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let read = || {
            let bytes = files::read(&dir.open_file(RECORD)?, manifest::MAX_MANIFEST)?;
            serde_json::from_slice::<Record>(&bytes).map_err(|e| Error::invalid(e.to_string()))
        };
        let damaged = |error: Error| error.with_hint("mend the store: conex system fsck --repair");
        let record = read().wrap(|| format!("layer {key}: {RECORD}")).map_err(damaged)?;
        if record.version != 1 {
            let message = format!("layer {key}: {RECORD} has version {}, not 1", record.version);
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        Ok(Some(record))
    }

    /// Removes an unpacked layer: at once by its name, then file by file where nobody takes it for a layer.
    pub(crate) fn remove_layer(&self, name: &OsStr) -> Result<()> {
        let ingest = self.blobs.ingest_dir();
        let temporary = files::temporary_name();
        ingest.remove_all(&temporary)?;
        self.layers.rename(name, ingest, &temporary)?;
        Ok(ingest.remove_all(&temporary)?)
    }

    /// All layers of an image, unpacked. `source` has the blobs.
    pub(crate) fn unpacked(
        &self,
        image: &Image,
        source: &dyn Source,
        progress: &dyn Progress,
    ) -> Result<Snapshot> {
        let userxattr = !self.privileges()?.trusted;
        let chain_ids = image.chain_ids();
        let mut keys: Vec<Digest> = Vec::new();
        for ((blob, diff_id), chain_id) in image.layers().zip(&chain_ids) {
            let place = Place { blob, diff_id, chain_id, below: &keys };
            let key = self.place(&place, source, progress).wrap(|| format!("layer {}", blob.digest))?;
            let record = self.layer_record(&key)?;
            if record.is_some_and(|record| record.userxattr != userxattr) {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("layer {key} was unpacked with other privileges"),
                )
                .with_hint("use the store as the user who pulled the image, or remove it and pull again"));
            }
            keys.insert(0, key);
        }
        let lower = keys.iter().map(|key| self.layer_path(key)).collect();
        Ok(Snapshot { lower, userxattr })
    }

    pub(crate) fn layer_path(&self, key: &Digest) -> PathBuf {
        self.path().join(relative_path(key))
    }

    /// Makes sure that the layer is unpacked as it has to be in this place, and says under which key.
    fn place(&self, place: &Place<'_>, source: &dyn Source, progress: &dyn Progress) -> Result<Digest> {
        let media_type = &place.blob.media_type;
        if !matches!(media_type::kind(media_type), media_type::Kind::Layer(_)) {
            return Err(Error::new(ErrorKind::Unsupported, format!("{media_type} is no layer of files")));
        }
        let own = &place.diff_id.0;
        let record = match self.layer_record(own)? {
            Some(record) => record,
            None => self.unpack(place, own, None, source, progress)?,
        };
        let bottom = place.below.is_empty();
        if !(record.lower_links || record.implicit_parents && !bottom) {
            return Ok(own.clone());
        }
        if bottom {
            return Err(Error::new(ErrorKind::Hostile, "a hard link to a lower layer, but there is none"));
        }
        let key = &place.chain_id.0;
        if self.layer_record(key)?.is_none() {
            self.unpack(place, key, Some(place.below), source, progress)?;
        }
        Ok(key.clone())
    }

    pub(crate) fn stack(&self, keys: &[Digest], userxattr: bool) -> Result<Stack> {
        let open = |key: &Digest| Ok(Arc::new(self.layers.open_dir(key.hex())?.open_dir(DIFF)?));
        let layers: Result<Vec<_>> = keys.iter().map(open).collect();
        Ok(Stack::new(layers?, userxattr))
    }

    /// Unpacks a layer whose blob the store (or `source`) has.
    fn unpack(
        &self,
        place: &Place<'_>,
        key: &Digest,
        below: Option<&[Digest]>,
        source: &dyn Source,
        progress: &dyn Progress,
    ) -> Result<Record> {
        let lock = self.blobs.lock(&place.blob.digest)?;
        if let Some(record) = self.layer_record(key)? {
            lock.discard()?;
            return Ok(record);
        }
        let unpacked = Staging::new(self, &lock, below).and_then(|staging| {
            let staged = staging.fill(place.blob, |take| stream(place.blob, source, progress, take))?;
            let found = &staged.diff_id;
            if found != place.diff_id {
                let message =
                    format!("the layer's content is {found}, but the configuration says {}", place.diff_id);
                return Err(Error::invalid(message));
            }
            staged.publish(key, below.unwrap_or_default().to_vec())
        });
        lock.discard()?;
        unpacked
    }
}

/// Where an unpacked layer is in a store.
fn relative_path(key: &Digest) -> PathBuf {
    [LAYERS, "sha256", key.hex(), DIFF].iter().collect()
}

/// A layer that is being unpacked.
pub(crate) struct Staging<'a> {
    // Ends before its directory goes.
    tree: Unpacking,
    place: Unpublished<'a>,
    userxattr: bool,
}

/// A layer that is unpacked and not published yet.
pub(crate) struct Staged<'a> {
    place: Unpublished<'a>,
    userxattr: bool,
    pub(crate) diff_id: DiffId,
    applied: Applied,
    blob: Digest,
}

/// The directory of such a layer. Dropped before it is published, it is removed.
struct Unpublished<'a> {
    store: &'a Store,
    name: String,
}

impl<'a> Staging<'a> {
    /// Begins under the lock of the blob. What a killed process has left is removed. `below` are the keys of the layers that it lies on, top first, where they are to be looked at.
    pub(crate) fn new(store: &'a Store, lock: &Ingest<'_>, below: Option<&[Digest]>) -> Result<Self> {
        let ingest = store.blobs.ingest_dir();
        let name = format!("{}{STAGING}", lock.name());
        ingest.remove_all(&name)?;
        ingest.make_dir(&name, 0o700)?;
        let place = Unpublished { store, name };
        let staging = ingest.open_dir(&place.name)?;
        staging.make_dir(DIFF, 0o700)?;
        let options = store.privileges()?.options();
        let userxattr = options.form == Form::Overlay { userxattr: true };
        let site = match below {
            None => Site { base: staging.open_dir(DIFF)?, tree: PathBuf::new(), below: None },
            Some(keys) => Site {
                base: store.root.try_clone()?,
                tree: [INGEST, &place.name, DIFF].iter().collect(),
                below: Some(keys.iter().map(relative_path).collect()),
            },
        };
        Ok(Self { tree: Unpacking::begin(&site, options)?, place, userxattr })
    }

    /// Unpacks what `fetch` feeds.
    pub(crate) fn fill(
        self,
        blob: &Descriptor,
        fetch: impl FnOnce(Take<'_>) -> Result<()>,
    ) -> Result<Staged<'a>> {
        let Self { place, mut tree, userxattr } = self;
        let (diff_id, applied) = tree.layer(blob.size, fetch)?;
        tree.finish(&mut std::io::sink())?;
        Ok(Staged { place, userxattr, diff_id, applied, blob: blob.digest.clone() })
    }
}

impl Drop for Unpublished<'_> {
    fn drop(&mut self) {
        // After publishing there is nothing of that name. A failure leaves garbage that the next one removes.
        let _ = self.store.blobs.ingest_dir().remove_all(&self.name);
    }
}

impl Staged<'_> {
    /// The unpacked tree.
    pub(crate) fn diff(&self) -> Result<Dir> {
        let ingest = self.place.store.blobs.ingest_dir();
        Ok(ingest.open_dir(&self.place.name)?.open_dir(DIFF)?)
    }

    /// Writes everything to its device: the layer, and the blob beside it.
    pub(crate) fn sync(&self) -> Result<()> {
        Ok(conex_sys::path::sync_filesystem(&self.place.store.root)?)
    }

    /// Writes the record, syncs, and makes it a layer of the store under `key`.
    pub(crate) fn publish(self, key: &Digest, below: Vec<Digest>) -> Result<Record> {
        let record = Record {
            version: 1,
            diff_id: self.diff_id.clone(),
            blob: self.blob.clone(),
            entries: self.applied.entries,
            bytes: self.applied.bytes,
            implicit_parents: self.applied.implicit_parents,
            lower_links: self.applied.lower_links,
            userxattr: self.userxattr,
            below,
            packed: None,
        };
        let store = self.place.store;
        let ingest = store.blobs.ingest_dir();
        let bytes = serde_json::to_vec(&record).map_err(|e| Error::invalid(e.to_string()))?;
        files::write(&ingest.open_dir(&self.place.name)?, RECORD, &bytes, 0o600, Existing::Replace)?;
        self.sync()?;
        match ingest.rename_new(&self.place.name, &store.layers, key.hex()) {
            // Another blob with the same content has been faster.
            Err(error) if error.errno() == Errno::EXIST => {}
            other => other?,
        }
        store.layers.sync()?;
        Ok(record)
    }
}
