// SPDX-License-Identifier: Apache-2.0
//! What the registry keeps on disk: an OCI image layout, so that every tool that reads one reads this, and a conex
//! store can be served as it is. Format: docs/formats/registry.md.
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
mod upload;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use conex_image::Wrap;
use conex_spec::Digest;
use conex_spec::image::{Descriptor, LAYOUT_VERSION, LayoutMarker};

use crate::{Error, ErrorKind, Result};
use facts::FactsCache;
use names::{Names, NamesFile};

pub(crate) use facts::{Facts, MANIFEST_CAP, facts_of};
pub(crate) use names::Entry;
pub(crate) use upload::{Hasher, Taken, Upload, Uploads};

/// The directory. All methods block.
pub(crate) struct Storage {
    root: PathBuf,
    names: NamesFile,
    facts: FactsCache,
    pub(crate) uploads: Uploads,
    /// Keeps `gc` of other processes away while this one may hold blobs that no name leads to yet.
    _shared: File,
}

impl Storage {
    pub(crate) fn open(root: &Path) -> Result<Self> {
        for directory in ["", "blobs/sha256", "ingest", "repositories"] {
            let path = root.join(directory);
            fs::create_dir_all(&path).wrap(|| format!("make {}", path.display()))?;
        }
        let marker = root.join("oci-layout");
        if !marker.exists() {
            let text = serde_json::to_vec(&LayoutMarker { image_layout_version: LAYOUT_VERSION.to_owned() });
            write_atomically(&marker, &text.map_err(|error| internal(&error.to_string()))?)?;
        }
        let shared = File::open(root).wrap(|| format!("open {}", root.display()))?;
        shared.lock_shared().wrap(|| format!("lock {}", root.display()))?;
        Ok(Self {
            root: root.to_owned(),
            names: NamesFile::open(root)?,
            facts: FactsCache::default(),
            uploads: Uploads::open(root.join("ingest"))?,
            _shared: shared,
        })
    }

    /// The names as they are now.
    pub(crate) fn names(&self) -> Result<Arc<Names>> {
        self.names.read()
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.algorithm().name()).join(digest.hex())
    }

    /// Opens a blob, whoever it belongs to.
    pub(crate) fn open_blob(&self, digest: &Digest) -> Result<Option<(File, u64)>> {
        let file = match File::open(self.blob_path(digest)) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::from(error).wrap(format_args!("open blob {digest}"))),
        };
        let size = file.metadata()?.len();
        Ok(Some((file, size)))
    }

    fn has_blob(&self, digest: &Digest) -> bool {
        self.blob_path(digest).exists()
    }

    /// Publishes a finished upload as a blob of repository `name`.
    pub(crate) fn publish(&self, upload: Upload, digest: &Digest, name: &str) -> Result<()> {
        let path = self.blob_path(digest);
        upload.finish(digest, &path)?;
        self.link_blob(name, digest)
    }

    /// Stores bytes that are in memory as a blob. Their digest has been computed from them.
    fn put_bytes(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        let path = self.blob_path(digest);
        if path.exists() { Ok(()) } else { write_atomically(&path, bytes) }
    }

    fn link_path(&self, name: &str, digest: &Digest) -> PathBuf {
        self.root
            .join("repositories")
            .join(name)
            .join("_blobs")
            .join(digest.algorithm().name())
            .join(digest.hex())
    }

    /// Lets repository `name` see a blob.
    pub(crate) fn link_blob(&self, name: &str, digest: &Digest) -> Result<()> {
        let path = self.link_path(name, digest);
        if path.exists() {
            return Ok(());
        }
        let directory = path.parent().expect("a link lies in a directory");
        fs::create_dir_all(directory).wrap(|| format!("make {}", directory.display()))?;
        File::create(&path).wrap(|| format!("make {}", path.display()))?;
        sync_directory(directory)
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
        if !self.has_blob(digest) {
            return Ok(false);
        }
        if self.link_path(name, digest).exists() {
            return Ok(true);
        }
        let names = self.names()?;
        let found = names.unpushed(name).any(|entry| self.leads_to(entry, digest, 4));
        Ok(found)
    }

    /// Whether `digest` is among what `entry` refers to.
    fn leads_to(&self, entry: &Descriptor, digest: &Digest, depth: u8) -> bool {
        let Ok(facts) = self.facts(&entry.digest) else { return false };
        facts.blobs.contains(digest)
            || (depth > 0 && facts.manifests.iter().any(|child| self.leads_to(child, digest, depth - 1)))
    }

    /// The manifest `digest` as repository `name` knows it.
    pub(crate) fn find_manifest(&self, name: &str, digest: &Digest) -> Result<Option<Descriptor>> {
        let names = self.names()?;
        if let Some(found) = names.manifest(name, digest) {
            return Ok(Some(found.clone()));
        }
        Ok(names.unpushed(name).find_map(|entry| self.below(entry, digest, 4)))
    }

    /// The descriptor of `digest` among `entry` and the indexes below it.
    fn below(&self, entry: &Descriptor, digest: &Digest, depth: u8) -> Option<Descriptor> {
        if entry.digest == *digest {
            return Some(entry.clone());
        }
        let facts = (depth > 0).then(|| self.facts(&entry.digest).ok())??;
        facts.manifests.iter().find_map(|child| self.below(child, digest, depth - 1))
    }

    /// Stores a manifest and lets `tags` of repository `name` mean it.
    pub(crate) fn put_manifest(
        &self,
        name: &str,
        descriptor: &Descriptor,
        bytes: &[u8],
        tags: &[String],
    ) -> Result<()> {
        self.put_bytes(&descriptor.digest, bytes)?;
        self.names.change(|names| {
            names.set(&Entry::Manifest(name.to_owned(), descriptor.digest.clone()), descriptor);
            for tag in tags {
                names.set(&Entry::Tag(name.to_owned(), tag.clone()), descriptor);
            }
        })
    }

    /// Removes what `doomed` chooses from repository `name`. False where there was nothing.
    pub(crate) fn forget(&self, name: &str, doomed: impl Fn(&Entry, &Descriptor) -> bool) -> Result<bool> {
        let mut found = false;
        self.names.change(|names| found = names.remove(name, &doomed))?;
        Ok(found)
    }

    /// All manifests of repository `name` whose subject is `digest`, as the referrers API lists them.
    pub(crate) fn referrers(&self, name: &str, digest: &Digest) -> Result<Vec<Descriptor>> {
        let names = self.names()?;
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for descriptor in names.manifests(name) {
            let Ok(facts) = self.facts(&descriptor.digest) else { continue };
            if facts.subject.as_ref() != Some(digest) || !seen.insert(descriptor.digest.clone()) {
                continue;
            }
            let mut entry =
                Descriptor::new(descriptor.media_type.clone(), descriptor.digest.clone(), descriptor.size);
            entry.artifact_type.clone_from(&facts.artifact_type);
            entry.annotations.clone_from(&facts.annotations);
            found.push(entry);
        }
        Ok(found)
    }

    /// What a stored manifest says. Its bytes never change, so it is read once.
    fn facts(&self, digest: &Digest) -> Result<Arc<Facts>> {
        self.facts.get(digest, || {
            let (mut file, size) =
                self.open_blob(digest)?.ok_or_else(|| internal("a manifest is missing"))?;
            if size > MANIFEST_CAP {
                return Err(internal("a manifest is too large"));
            }
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut file, &mut bytes)?;
            Ok(bytes)
        })
    }
}

fn internal(what: &str) -> Error {
    Error::new(ErrorKind::Os, what)
}

/// Temporary file in the same directory → fsync → rename → fsync of the directory.
fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let directory = path.parent().expect("a file lies in a directory");
    fs::create_dir_all(directory).wrap(|| format!("make {}", directory.display()))?;
    let temporary = directory.join(format!(".{}", upload::random_id()?));
    let written = (|| {
        let mut file = File::create_new(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if let Err(error) = written {
        let _gone = fs::remove_file(&temporary);
        return Err(Error::from(error).wrap(format_args!("write {}", path.display())));
    }
    sync_directory(directory)
}

fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .wrap(|| format!("sync {}", directory.display()))
}
