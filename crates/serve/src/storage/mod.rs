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

mod facts;
mod names;
mod uploads;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use conex_image::Wrap;
use conex_image::store::{Shared, Store, Upload};
use conex_image::transfer::RawManifest;
use conex_spec::Digest;
use conex_spec::image::Descriptor;

use crate::{ErrorKind, Result};
use facts::FactsCache;
use names::{Names, NamesCache};

pub(crate) use facts::{Facts, facts_of};
pub(crate) use names::Entry;
pub(crate) use uploads::Uploads;

/// How deep indexes nest below a tag.
const DEPTH: u8 = 4;

/// The directory. All methods block.
pub(crate) struct Storage {
    store: Arc<Store>,
    links: PathBuf,
    names: NamesCache,
    facts: FactsCache,
    pub(crate) uploads: Uploads,
    /// Keeps `gc` of other processes away while this one may hold blobs that no name leads to yet.
    _shared: Shared,
}

impl Storage {
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let store = Arc::new(Store::open(root)?);
        let shared = store.share()?;
        let names = NamesCache::open(store.clone())?;
        let links = store.path().join("repositories");
        Ok(Self {
            links,
            names,
            facts: FactsCache::default(),
            uploads: Uploads::of(store.clone()),
            store,
            _shared: shared,
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
        upload.finish(digest)?;
        self.link_blob(name, digest)
    }

    fn link_path(&self, name: &str, digest: &Digest) -> PathBuf {
        self.links.join(name).join("_blobs").join(digest.algorithm().name()).join(digest.hex())
    }

    /// Lets repository `name` see a blob.
    pub(crate) fn link_blob(&self, name: &str, digest: &Digest) -> Result<()> {
        let path = self.link_path(name, digest);
        if path.exists() {
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
        let found = names.unpushed(name).any(|entry| self.leads_to(entry, digest, DEPTH));
        Ok(found)
    }

    /// Whether `digest` is among what `entry` refers to.
    fn leads_to(&self, entry: &Descriptor, digest: &Digest, depth: u8) -> bool {
        let Ok(facts) = self.facts(entry) else { return false };
        facts.blobs.contains(digest)
            || (depth > 0 && facts.manifests.iter().any(|child| self.leads_to(child, digest, depth - 1)))
    }

    /// The manifest `digest` as repository `name` knows it.
    pub(crate) fn find_manifest(&self, name: &str, digest: &Digest) -> Result<Option<Descriptor>> {
        let names = self.names()?;
        if let Some(found) = names.manifest(name, digest) {
            return Ok(Some(found.clone()));
        }
        Ok(names.unpushed(name).find_map(|entry| self.below(entry, digest, DEPTH)))
    }

    /// The descriptor of `digest` among `entry` and the indexes below it.
    fn below(&self, entry: &Descriptor, digest: &Digest, depth: u8) -> Option<Descriptor> {
        if entry.digest == *digest {
            return Some(entry.clone());
        }
        let facts = (depth > 0).then(|| self.facts(entry).ok())??;
        facts.manifests.iter().find_map(|child| self.below(child, digest, depth - 1))
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

    /// What a stored manifest says. Its bytes never change, so it is read once.
    fn facts(&self, manifest: &Descriptor) -> Result<Arc<Facts>> {
        self.facts.get(&manifest.digest, || self.store.read_blob(manifest))
    }
}
