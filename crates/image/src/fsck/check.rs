// SPDX-License-Identifier: Apache-2.0
//! The single checks: blobs, what names lead to, unpacked layers, garbage.

use std::ffi::OsStr;

use conex_spec::image::{Descriptor, ImageConfig};
use conex_spec::{Algorithm, Digest};
use conex_sys::path::FileType;

use super::{Class, Fsck, Wrong};
use crate::image::MAX_DEPTH;
use crate::layer::compare::compare;
use crate::layer::pass::stream;
use crate::layout::files;
use crate::manifest::Document;
use crate::store::layers::{DIFF, RECORD, Record, STAGING, Staging};
use crate::store::{Contents, Store};
use crate::transfer::{RawManifest, Silent};
use crate::verify::Hasher;
use crate::{Error, Result};

impl Fsck<'_> {
    /// Every blob has the digest it is called by.
    pub(super) fn blobs(&mut self) -> Result<()> {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let dir = self.store.blobs.directory(algorithm)?;
            for entry in dir.entries()? {
                let at = format!("blobs/{}/{}", algorithm.name(), entry.name.to_string_lossy());
                if entry.name.to_string_lossy().starts_with(files::TEMPORARY) {
                    self.report.garbage.push(at);
                    continue;
                }
                let digest = parse(algorithm, &entry.name);
                let regular = dir.find(&entry.name)?.map(|stat| FileType::from_raw_mode(stat.st_mode));
                let (Some(digest), Some(FileType::RegularFile)) = (digest, regular) else {
                    let name = entry.name.clone();
                    let remove =
                        move |store: &Store| Ok(store.blobs.directory(algorithm)?.remove_all(&name)?);
                    self.wrong(Class::Foreign, at, "is not a blob", remove)?;
                    continue;
                };
                let (found, bytes) = self.hash(&digest)?;
                self.report.blobs += 1;
                self.report.bytes += bytes;
                if found == digest {
                    self.good.insert(digest);
                } else {
                    let what = format!("the content has the digest {found}");
                    self.wrong(Class::WrongDigest, at, what, |store| store.blobs.remove(&digest))?;
                }
            }
        }
        Ok(())
    }

    fn hash(&self, digest: &Digest) -> Result<(Digest, u64)> {
        let mut file = self.store.blobs.open(digest)?;
        let mut hasher = Hasher::new(digest.algorithm());
        let bytes = hasher.read(&mut file)?;
        Ok((hasher.finish(), bytes))
    }

    /// Every layer that was made here still gives the blob that it stands for.
    pub(super) fn made_layers(&mut self) -> Result<()> {
        for entry in self.store.layers.entries()? {
            let Some(key) = parse(Algorithm::Sha256, &entry.name) else { continue };
            // A record that cannot be read is told of with the layers.
            let Ok(Some(record)) = self.store.layer_record(&key) else { continue };
            let same_privileges = record.userxattr != self.store.privileges()?.trusted;
            let Some(packed) = record.packed else { continue };
            if !same_privileges {
                // What it would give cannot be told from here.
                self.good.insert(key);
                continue;
            }
            match self.store.check_packed(&key, &packed) {
                Ok(None) => drop(self.good.insert(key)),
                Ok(Some(what)) => self.wrong_layer(&key, Class::LayerContent, what)?,
                Err(error) => self.wrong_layer(&key, Class::LayerContent, error.to_string())?,
            }
        }
        Ok(())
    }

    fn wrong_layer(&mut self, key: &Digest, class: Class, what: String) -> Result<()> {
        let at = format!("layers/sha256/{}", key.hex());
        self.wrong(class, at, what, |store| store.remove_layer(OsStr::new(key.hex())))
    }

    /// Everything below a descriptor is here and makes sense.
    pub(super) fn closure(&self, descriptor: &Descriptor, depth: usize) -> Wrong<()> {
        let malformed = |error: Error| (Class::Malformed, error.wrap(&descriptor.digest));
        if depth > MAX_DEPTH {
            return Err(malformed(Error::invalid("indexes nested too deep")));
        }
        self.is_here(descriptor)?;
        let bytes = self.store.blobs.read(descriptor).map_err(malformed)?;
        let raw = RawManifest { descriptor: descriptor.clone(), bytes };
        match Document::parse(&raw).map_err(malformed)? {
            Document::Index(index) => {
                index.manifests.iter().try_for_each(|child| self.closure(child, depth + 1))
            }
            Document::Manifest(image) => {
                self.is_here(&image.config)?;
                image
                    .layers
                    .iter()
                    .filter(|layer| layer.urls.is_empty())
                    .try_for_each(|l| self.is_here(l))?;
                let config = self.store.config(&image.config).map_err(malformed)?;
                self.agree(image.layers.len(), config.as_ref()).map_err(malformed)
            }
        }
    }

    fn agree(&self, layers: usize, config: Option<&ImageConfig>) -> Result<()> {
        match config.map(|config| config.rootfs.diff_ids.len()) {
            Some(diff_ids) if diff_ids != layers => {
                Err(Error::invalid(format!("{layers} layers, but {diff_ids} diff_ids")))
            }
            _ => Ok(()),
        }
    }

    fn is_here(&self, descriptor: &Descriptor) -> Wrong<()> {
        let digest = &descriptor.digest;
        if !self.good.contains(digest) {
            return Err((Class::Missing, Error::invalid(format!("blob {digest} is not in the store"))));
        }
        let size = self.store.blob_size(digest).map_err(|e| (Class::Missing, e))?;
        if size != Some(descriptor.size) {
            let message = format!("blob {digest} does not have the {} bytes it should", descriptor.size);
            return Err((Class::WrongSize, Error::invalid(message)));
        }
        Ok(())
    }

    /// Every unpacked layer is what its blob unpacks to.
    pub(super) fn layers(&mut self) -> Result<()> {
        for entry in self.store.layers.entries()? {
            let at = format!("layers/sha256/{}", entry.name.to_string_lossy());
            let Some(key) = parse(Algorithm::Sha256, &entry.name) else {
                let name = entry.name.clone();
                let remove = move |store: &Store| store.remove_layer(&name);
                self.wrong(Class::Foreign, at, "is not a layer", remove)?;
                continue;
            };
            self.report.layers += 1;
            let found = match self.store.layer_record(&key) {
                Ok(Some(record)) => self.layer(&key, &record)?,
                Ok(None) => None,
                Err(error) => Some((Class::IncompleteLayer, error.to_string())),
            };
            if let Some((class, what)) = found {
                self.wrong_layer(&key, class, what)?;
            }
        }
        Ok(())
    }

    /// Unpacks a layer again and compares.
    fn layer(&self, key: &Digest, record: &Record) -> Result<Option<(Class, String)>> {
        let store = self.store;
        let Ok(diff) = store.layers.open_dir(key.hex()).and_then(|dir| dir.open_dir(DIFF)) else {
            return Ok(Some((Class::IncompleteLayer, format!("{DIFF} is not there"))));
        };
        if record.below.is_empty() && record.diff_id.0 != *key {
            let what = format!("{RECORD} says that it is {}", record.diff_id);
            return Ok(Some((Class::LayerContent, what)));
        }
        if record.packed.is_some() {
            return Ok(None);
        }
        // Without the blob there is nothing to compare with; whether it must be here, the names say.
        let comparable = self.good.contains(&record.blob) && record.userxattr != store.privileges()?.trusted;
        let Some(size) = store.blob_size(&record.blob)?.filter(|_| comparable) else { return Ok(None) };
        if let Err(error) = store.stack(&record.below, record.userxattr) {
            return Ok(Some((Class::Missing, format!("what it lies on: {error}"))));
        }
        let below = (!record.below.is_empty()).then_some(record.below.as_slice());
        let blob = Descriptor::new("", record.blob.clone(), size);
        let lock = store.blobs.lock(&blob.digest)?;
        let compared = Staging::new(store, &lock, below).and_then(|staging| {
            let again = staging.fill(&blob, |take| stream(&blob, &Contents { store }, &Silent, take))?;
            if again.diff_id != record.diff_id {
                return Ok(Some(format!("the blob unpacks to {}", again.diff_id)));
            }
            let difference = compare(&diff, &again.diff()?)?;
            Ok(difference.map(|found| format!("{:?}: {}", found.path, found.what)))
        });
        lock.discard()?;
        Ok(match compared {
            Ok(what) => what.map(|what| (Class::LayerContent, what)),
            Err(error) => Some((Class::LayerContent, error.to_string())),
        })
    }

    /// What no name leads to, and what dead processes have left.
    pub(super) fn garbage(&mut self) -> Result<()> {
        for digest in &self.good {
            if !self.reachable.blobs.contains(digest) && self.store.blobs.size(digest)?.is_some() {
                self.report.garbage.push(format!("blobs/{}/{}", digest.algorithm().name(), digest.hex()));
            }
        }
        for entry in self.store.layers.entries()? {
            let key = parse(Algorithm::Sha256, &entry.name);
            if key.is_some_and(|key| !self.reachable.layers.contains(&key)) {
                self.report.garbage.push(format!("layers/sha256/{}", entry.name.to_string_lossy()));
            }
        }
        let ingest = self.store.blobs.ingest_dir();
        for entry in ingest.entries()? {
            let name = entry.name.to_string_lossy().into_owned();
            let owner = name.strip_suffix(STAGING).unwrap_or(&name);
            // Somebody alive holds the lock of what he works on.
            let busy = ingest.open_file(owner).is_ok_and(|file| file.try_lock().is_err());
            if !busy {
                self.report.garbage.push(format!("ingest/{name}"));
            }
        }
        self.report.garbage.sort();
        Ok(())
    }
}

fn parse(algorithm: Algorithm, name: &OsStr) -> Option<Digest> {
    format!("{}:{}", algorithm.name(), name.to_str()?).parse().ok()
}
