// SPDX-License-Identifier: Apache-2.0
//! `index.json`: which repository has which tags and manifests.
//!
//! ```text
//!  repository "app"                     index.json   localhost/app:1      localhost/app@sha256:…
//!  repository "docker.io/library/x"     index.json   docker.io/library/x:1
//! ```
//! The names are a conex store's full references: a repository whose first component is a host keeps it, any other
//! is on `localhost`. Changes hold the lock on `oci-layout`; readers need none, as the file is only ever replaced.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use conex_image::Wrap;
use conex_spec::Digest;
use conex_spec::image::{Descriptor, Index, annotation, media_type};

use super::write_atomically;
use crate::{Error, ErrorKind, Result};

/// What a name of `index.json` stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Repository and tag.
    Tag(String, String),
    /// Repository and digest: pushed here.
    Manifest(String, Digest),
}

impl Entry {
    fn parse(name: &str) -> Option<Self> {
        if let Some((repository, digest)) = name.split_once('@') {
            return Some(Self::Manifest(repository_of(repository).to_owned(), digest.parse().ok()?));
        }
        let (repository, tag) = name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'))?;
        Some(Self::Tag(repository_of(repository).to_owned(), tag.to_owned()))
    }

    fn name(&self) -> String {
        match self {
            Self::Tag(repository, tag) => format!("{}:{tag}", stored(repository)),
            Self::Manifest(repository, digest) => format!("{}@{digest}", stored(repository)),
        }
    }

    fn repository(&self) -> &str {
        match self {
            Self::Tag(repository, _) | Self::Manifest(repository, _) => repository,
        }
    }
}

fn stored(repository: &str) -> String {
    let first = repository.split('/').next().unwrap_or_default();
    if first.contains('.') && repository.contains('/') {
        repository.to_owned()
    } else {
        format!("localhost/{repository}")
    }
}

fn repository_of(stored: &str) -> &str {
    stored.strip_prefix("localhost/").unwrap_or(stored)
}

/// One repository.
#[derive(Debug, Default)]
struct Repository {
    tags: BTreeMap<String, Descriptor>,
    manifests: BTreeMap<Digest, Descriptor>,
}

/// One state of `index.json`.
#[derive(Debug)]
pub(crate) struct Names {
    repositories: BTreeMap<String, Repository>,
}

impl Names {
    fn of(index: &Index) -> Self {
        let mut repositories: BTreeMap<String, Repository> = BTreeMap::new();
        for descriptor in &index.manifests {
            let name = descriptor.annotations.get(annotation::REF_NAME);
            match name.and_then(|name| Entry::parse(name)) {
                Some(Entry::Tag(repository, tag)) => {
                    repositories.entry(repository).or_default().tags.insert(tag, descriptor.clone());
                }
                Some(Entry::Manifest(repository, digest)) => {
                    repositories.entry(repository).or_default().manifests.insert(digest, descriptor.clone());
                }
                None => {}
            }
        }
        Self { repositories }
    }

    pub(crate) fn repositories(&self) -> impl Iterator<Item = &str> {
        self.repositories.keys().map(String::as_str)
    }

    pub(crate) fn has_repository(&self, name: &str) -> bool {
        self.repositories.contains_key(name)
    }

    /// In byte order.
    pub(crate) fn tags(&self, name: &str) -> impl Iterator<Item = &str> {
        self.repositories.get(name).into_iter().flat_map(|found| found.tags.keys()).map(String::as_str)
    }

    pub(crate) fn tag(&self, name: &str, tag: &str) -> Option<&Descriptor> {
        self.repositories.get(name)?.tags.get(tag)
    }

    /// A manifest that was pushed.
    pub(crate) fn manifest(&self, name: &str, digest: &Digest) -> Option<&Descriptor> {
        self.repositories.get(name)?.manifests.get(digest)
    }

    /// All manifests that have a name or were pushed.
    pub(crate) fn manifests(&self, name: &str) -> impl Iterator<Item = &Descriptor> {
        self.repositories
            .get(name)
            .into_iter()
            .flat_map(|found| found.manifests.values().chain(found.tags.values()))
    }

    /// Tagged images that came by another way than a push: all below them belongs to the repository.
    pub(crate) fn unpushed(&self, name: &str) -> impl Iterator<Item = &Descriptor> {
        self.repositories.get(name).into_iter().flat_map(|found| {
            found.tags.values().filter(|descriptor| !found.manifests.contains_key(&descriptor.digest))
        })
    }
}

/// A state of `index.json` about to be written.
pub(crate) struct Draft {
    index: Index,
}

impl Draft {
    pub(super) fn set(&mut self, entry: &Entry, descriptor: &Descriptor) {
        let name = entry.name();
        let mut named = descriptor.clone();
        named.annotations.insert(annotation::REF_NAME.to_owned(), name.clone());
        match self.index.manifests.iter_mut().find(|known| ref_name(known) == Some(&name)) {
            Some(known) => *known = named,
            None => self.index.manifests.push(named),
        }
    }

    pub(super) fn remove(&mut self, repository: &str, doomed: impl Fn(&Entry, &Descriptor) -> bool) -> bool {
        let before = self.index.manifests.len();
        self.index.manifests.retain(|descriptor| {
            let entry = ref_name(descriptor).and_then(|name| Entry::parse(name));
            entry.is_none_or(|entry| entry.repository() != repository || !doomed(&entry, descriptor))
        });
        before != self.index.manifests.len()
    }
}

fn ref_name(descriptor: &Descriptor) -> Option<&String> {
    descriptor.annotations.get(annotation::REF_NAME)
}

/// Tells one state of the file from another.
type Stamp = (u64, i64, i64, u64);

/// The file and its last read state.
pub(crate) struct NamesFile {
    path: PathBuf,
    lock: PathBuf,
    read: Mutex<Option<(Stamp, Arc<Names>)>>,
}

impl NamesFile {
    pub(super) fn open(root: &Path) -> Result<Self> {
        let file =
            Self { path: root.join("index.json"), lock: root.join("oci-layout"), read: Mutex::default() };
        if !file.path.exists() {
            file.change(|_| ())?;
        }
        file.read()?;
        Ok(file)
    }

    /// The current state; parsed again only where the file was replaced.
    pub(super) fn read(&self) -> Result<Arc<Names>> {
        let metadata = fs::metadata(&self.path).wrap(|| "index.json")?;
        let stamp = (metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len());
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, names)) = &*read
            && *known == stamp
        {
            return Ok(names.clone());
        }
        let names = Arc::new(Names::of(&self.parse()?));
        *read = Some((stamp, names.clone()));
        Ok(names)
    }

    fn parse(&self) -> Result<Index> {
        match fs::read(&self.path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|error| Error::new(ErrorKind::Invalid, format!("{}: {error}", self.path.display()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(empty()),
            Err(error) => Err(Error::from(error).wrap(format_args!("read {}", self.path.display()))),
        }
    }

    /// Changes the file, alone among all processes.
    pub(super) fn change(&self, change: impl FnOnce(&mut Draft)) -> Result<()> {
        let lock = File::open(&self.lock).wrap(|| format!("open {}", self.lock.display()))?;
        lock.lock().wrap(|| format!("lock {}", self.lock.display()))?;
        let mut draft = Draft { index: self.parse()? };
        change(&mut draft);
        let text =
            serde_json::to_vec(&draft.index).map_err(|error| Error::new(ErrorKind::Os, error.to_string()))?;
        write_atomically(&self.path, &text)
    }
}

fn empty() -> Index {
    Index {
        schema_version: 2,
        media_type: Some(media_type::OCI_INDEX.to_owned()),
        artifact_type: None,
        manifests: Vec::new(),
        subject: None,
        annotations: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_a_stores_references() {
        let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
        for (entry, name) in [
            (Entry::Tag("app".to_owned(), "1".to_owned()), "localhost/app:1".to_owned()),
            (
                Entry::Tag("docker.io/library/x".to_owned(), "1".to_owned()),
                "docker.io/library/x:1".to_owned(),
            ),
            (Entry::Tag("a.b".to_owned(), "1".to_owned()), "localhost/a.b:1".to_owned()),
            (Entry::Manifest("a/b".to_owned(), digest.clone()), format!("localhost/a/b@{digest}")),
        ] {
            assert_eq!(entry.name(), name);
            assert_eq!(Entry::parse(&name), Some(entry));
        }
        assert_eq!(Entry::parse("latest"), None);
        assert_eq!(Entry::parse("localhost:5000/app"), None);
    }
}
