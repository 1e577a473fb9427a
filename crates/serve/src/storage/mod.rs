// SPDX-License-Identifier: Apache-2.0
//! What the registry keeps on disk: a conex store, which is an OCI image layout, so that what a store holds can be
//! served and what is pushed can be run. Format: docs/formats/registry.md.
//!
//! ```text
//!  index.json     localhost/app:1          a tag
//!                 localhost/app@sha256:…   a manifest that was pushed here, tagged or not
//!  blobs/         shared by all repositories
//!  repositories/app/_blobs/sha256/<hex>    "app may see this blob": empty files
//!  ingest/        uploads under way
//! ```
//! A repository sees a blob that was uploaded or mounted to it, and all that an image which came into the store by
//! another way than a push refers to.

mod collect;
mod facts;
mod names;
mod uploads;

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::SystemTime;

use conex_image::Wrap;
use conex_image::store::{Shared, Store, StoreSink, Upload};
use conex_image::transfer::{RawManifest, Silent, Sink, Source};
use conex_spec::Digest;
use conex_spec::image::Descriptor;

use crate::{ErrorKind, Result};
use facts::FactsCache;
use names::{Names, NamesCache};

pub(crate) use facts::{Facts, facts_of};
pub(crate) use names::Entry;
pub(crate) use uploads::Uploads;

/// The directory. All methods block.
pub(crate) struct Storage {
    store: Arc<Store>,
    links: PathBuf,
    names: NamesCache,
    facts: FactsCache,
    pub(crate) uploads: Uploads,
    /// Keeps `gc` of other processes away while this one may hold blobs that no name leads to yet.
    held: Arc<Shared>,
    /// Held by whoever lets a repository see something, against this process' own `gc`.
    changes: RwLock<()>,
}

impl Storage {
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let store = Arc::new(Store::open(root)?);
        let held = Arc::new(store.share()?);
        let names = NamesCache::open(store.clone())?;
        let links = store.path().join("repositories");
        Ok(Self {
            links,
            names,
            facts: FactsCache::default(),
            uploads: Uploads::of(store.clone(), held.clone()),
            store,
            held,
            changes: RwLock::default(),
        })
    }

    /// The names as they are now.
    pub(crate) fn names(&self) -> Result<Arc<Names>> {
        self.names.read()
    }

    /// Opens a blob, whoever it belongs to.
    pub(crate) fn open_blob(&self, digest: &Digest) -> Result<Option<(File, u64)>> {
        let Some(size) = self.store.blob_size(digest)? else { return Ok(None) };
        Ok(Some((self.store.open_blob(digest)?, size)))
    }

    /// Publishes a finished upload as a blob of repository `name`.
    pub(crate) fn publish(&self, upload: Upload, digest: &Digest, name: &str) -> Result<()> {
        let _no_gc = self.changing();
        upload.finish(digest)?;
        self.link_blob(name, digest)
    }

    /// No gc of this process runs while it lives.
    pub(crate) fn changing(&self) -> RwLockReadGuard<'_, ()> {
        self.changes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn link_path(&self, name: &str, digest: &Digest) -> PathBuf {
        self.links.join(name).join("_blobs").join(digest.algorithm().name()).join(digest.hex())
    }

    /// Lets repository `name` see a blob, and notes that somebody reckons with it.
    pub(crate) fn link_blob(&self, name: &str, digest: &Digest) -> Result<()> {
        let path = self.link_path(name, digest);
        if renew(&path)? {
            return Ok(());
        }
        let directory = path.parent().expect("a link lies in a directory");
        let link = || {
            fs::create_dir_all(directory)?;
            File::create(&path)?;
            File::open(directory)?.sync_all()
        };
        link().wrap(|| format!("make {}", path.display()))
    }

    /// Notes that somebody reckons with a blob that repository `name` sees, if it has a link.
    pub(crate) fn reckon_with(&self, name: &str, digest: &Digest) -> Result<()> {
        let _no_gc = self.changing();
        renew(&self.link_path(name, digest)).map(drop)
    }

    /// Hides a blob from repository `name`. False where it did not see it. The bytes stay until `gc`.
    pub(crate) fn unlink_blob(&self, name: &str, digest: &Digest) -> Result<bool> {
        match fs::remove_file(self.link_path(name, digest)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether repository `name` may see a blob.
    pub(crate) fn sees_blob(&self, name: &str, digest: &Digest) -> Result<bool> {
        if !self.store.has_blob(digest)? {
            return Ok(false);
        }
        if self.link_path(name, digest).exists() {
            return Ok(true);
        }
        let names = self.names()?;
        let needed = |manifest: &Descriptor| self.needs(manifest, digest).then_some(());
        let found = names.unpushed(name).any(|entry| self.search(entry, needed).is_some());
        Ok(found)
    }

    /// The first answer of `ask` about `entry` and the manifests below it. Each is asked once: an index may list the
    /// same one a thousand times, and that one the next.
    fn search<T>(&self, entry: &Descriptor, mut ask: impl FnMut(&Descriptor) -> Option<T>) -> Option<T> {
        let mut seen = HashSet::new();
        let mut open = vec![entry.clone()];
        while let Some(next) = open.pop() {
            if !seen.insert(next.digest.clone()) {
                continue;
            }
            if let Some(answer) = ask(&next) {
                return Some(answer);
            }
            let Ok(facts) = self.facts(&next) else { continue };
            open.extend(facts.manifests.iter().filter(|child| !seen.contains(&child.digest)).cloned());
        }
        None
    }

    /// A blob that a manifest of repository `name` names, be it here or not; and that manifest.
    pub(crate) fn find_needed(
        &self,
        name: &str,
        digest: &Digest,
    ) -> Result<Option<(Descriptor, Descriptor)>> {
        let names = self.names()?;
        let needed = |manifest: &Descriptor| {
            let facts = self.facts(manifest).ok()?;
            let blob = facts.blobs.iter().find(|blob| blob.digest == *digest)?;
            Some((manifest.clone(), blob.clone()))
        };
        Ok(names.entries(name).find_map(|(_, manifest)| needed(&manifest)))
    }

    /// Brings a blob from elsewhere to repository `name`, verified; goes on where an earlier attempt broke off.
    pub(crate) fn bring_blob(&self, name: &str, blob: &Descriptor, from: &dyn Source) -> Result<()> {
        StoreSink::new(self.store.clone(), name)?.without_unpacking().put_blob(blob, from, &Silent)?;
        let _no_gc = self.changing();
        self.link_blob(name, &blob.digest)
    }

    /// A small blob of repository `name`.
    pub(crate) fn read_small(&self, blob: &Descriptor) -> Result<Vec<u8>> {
        self.store.read_blob(blob)
    }

    /// Whether a manifest names `digest` as one of its blobs.
    fn needs(&self, manifest: &Descriptor, digest: &Digest) -> bool {
        self.facts(manifest).is_ok_and(|facts| facts.blobs.iter().any(|blob| blob.digest == *digest))
    }

    /// The manifest `digest` as repository `name` knows it.
    pub(crate) fn find_manifest(&self, name: &str, digest: &Digest) -> Result<Option<Descriptor>> {
        let names = self.names()?;
        if let Some(found) = names.manifest(name, digest) {
            return Ok(Some(found.clone()));
        }
        let wanted = |manifest: &Descriptor| (manifest.digest == *digest).then(|| manifest.clone());
        Ok(names.unpushed(name).find_map(|entry| self.search(entry, wanted)))
    }

    /// Stores a manifest, whose references have been checked, and lets `tags` of repository `name` mean it.
    pub(crate) fn put_manifest(&self, name: &str, manifest: &RawManifest, tags: &[String]) -> Result<()> {
        let descriptor = &manifest.descriptor;
        self.store.put_blob(descriptor, &mut manifest.bytes.as_slice())?;
        let pushed = Entry::Manifest(name.to_owned(), descriptor.digest.clone());
        self.store.tag(&pushed.name(), descriptor)?;
        for tag in tags {
            self.store.tag(&Entry::Tag(name.to_owned(), tag.clone()).name(), descriptor)?;
        }
        Ok(())
    }

    /// Removes what `doomed` chooses from repository `name`. False where there was nothing.
    pub(crate) fn forget(&self, name: &str, doomed: impl Fn(&Entry, &Descriptor) -> bool) -> Result<bool> {
        // Not beside a push: a tag without the manifest's own entry would make all below it visible.
        let _alone = self.changes.write().unwrap_or_else(PoisonError::into_inner);
        let mut found = false;
        for (entry, _) in self.names()?.entries(name).filter(|(entry, descriptor)| doomed(entry, descriptor))
        {
            match self.store.untag(&entry.name()) {
                Ok(_) => found = true,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// All manifests of repository `name` whose subject is `digest`, as the referrers API lists them.
    pub(crate) fn referrers(&self, name: &str, digest: &Digest) -> Result<Vec<Descriptor>> {
        let names = self.names()?;
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for (_, descriptor) in names.entries(name) {
            let Ok(facts) = self.facts(&descriptor) else { continue };
            if facts.subject.as_ref() != Some(digest) || !seen.insert(descriptor.digest.clone()) {
                continue;
            }
            let mut referrer = Descriptor::new(descriptor.media_type, descriptor.digest, descriptor.size);
            referrer.artifact_type.clone_from(&facts.artifact_type);
            referrer.annotations.clone_from(&facts.annotations);
            found.push(referrer);
        }
        Ok(found)
    }

    /// What kind of artifact a manifest is.
    pub(crate) fn artifact_type(&self, manifest: &Descriptor) -> Option<String> {
        self.facts(manifest).ok()?.artifact_type.clone()
    }

    /// What a stored manifest says. Its bytes never change, so it is read once.
    fn facts(&self, manifest: &Descriptor) -> Result<Arc<Facts>> {
        self.facts.get(&manifest.digest, || self.store.read_blob(manifest))
    }
}

/// Makes a link as young as a new one. False where there is none.
fn renew(link: &Path) -> Result<bool> {
    match File::options().write(true).open(link) {
        Ok(file) => file.set_modified(SystemTime::now()).wrap(|| link.display()).map(|()| true),
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use conex_image::verify::sha256;

    use super::*;

    #[test]
    fn a_ladder_of_indexes_is_climbed_once() {
        const INDEX: &str = "application/vnd.oci.image.index.v1+json";
        let directory = tempfile::tempdir().unwrap();
        let storage = Storage::open(directory.path()).unwrap();
        let put = |media_type: &str, bytes: Vec<u8>| {
            let descriptor = Descriptor::new(media_type, sha256(&bytes), bytes.len() as u64);
            storage.store.put_blob(&descriptor, &mut bytes.as_slice()).unwrap();
            descriptor
        };
        let mut top = put("application/octet-stream", b"not even a manifest".to_vec());
        let (blob, deepest) = (sha256(b"nobody's"), top.clone());
        put("application/octet-stream", b"nobody's".to_vec());
        for _ in 0..10 {
            let one = format!(r#"{{"mediaType":"{INDEX}","digest":"{}","size":{}}}"#, top.digest, top.size);
            let many = vec![one; 1000].join(",");
            top = put(INDEX, format!(r#"{{"schemaVersion":2,"manifests":[{many}]}}"#).into_bytes());
        }
        storage.store.tag("localhost/app:1", &top).unwrap();
        assert!(!storage.sees_blob("app", &blob).unwrap());
        assert_eq!(storage.find_manifest("app", &deepest.digest).unwrap().unwrap().digest, deepest.digest);
    }
}
