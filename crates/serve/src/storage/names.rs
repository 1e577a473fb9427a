// SPDX-License-Identifier: Apache-2.0
//! The store's names as repositories, tags and pushed manifests.
//!
//! ```text
//!  repository "app"                     localhost/app:1      localhost/app@sha256:…
//!  repository "docker.io/library/x"     docker.io/library/x:1
//! ```
//! A repository whose first component is a host keeps it, any other is on `localhost`.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use conex_image::Wrap;
use conex_image::store::{Named, Store};
use conex_spec::Digest;
use conex_spec::image::Descriptor;

use crate::Result;

/// What a name of the store stands for.
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

    /// The name in the store.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Tag(repository, tag) => format!("{}:{tag}", stored(repository)),
            Self::Manifest(repository, digest) => format!("{}@{digest}", stored(repository)),
        }
    }
}

fn stored(repository: &str) -> String {
    let has_host = repository.split_once('/').is_some_and(|(first, _)| first.contains('.'));
    if has_host { repository.to_owned() } else { format!("localhost/{repository}") }
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

/// One state of the names.
#[derive(Debug)]
pub(crate) struct Names {
    repositories: BTreeMap<String, Repository>,
}

impl Names {
    fn of(images: Vec<Named>) -> Self {
        let mut repositories: BTreeMap<String, Repository> = BTreeMap::new();
        for Named { name, descriptor } in images {
            match Entry::parse(&name) {
                Some(Entry::Tag(name, tag)) => {
                    repositories.entry(name).or_default().tags.insert(tag, descriptor);
                }
                Some(Entry::Manifest(name, digest)) => {
                    repositories.entry(name).or_default().manifests.insert(digest, descriptor);
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

    /// Everything in a repository: tags first, so that a deletion that is cut short leaves the manifest.
    pub(crate) fn entries(&self, name: &str) -> impl Iterator<Item = (Entry, Descriptor)> {
        self.repositories.get_key_value(name).into_iter().flat_map(|(name, found)| {
            let tags =
                found.tags.iter().map(|(tag, means)| (Entry::Tag(name.clone(), tag.clone()), means.clone()));
            let pushed = found.manifests.iter();
            tags.chain(
                pushed.map(|(digest, means)| (Entry::Manifest(name.clone(), digest.clone()), means.clone())),
            )
        })
    }

    /// Tagged images that came by another way than a push: all below them belongs to the repository.
    pub(crate) fn unpushed(&self, name: &str) -> impl Iterator<Item = &Descriptor> {
        self.repositories.get(name).into_iter().flat_map(|found| {
            found.tags.values().filter(|descriptor| !found.manifests.contains_key(&descriptor.digest))
        })
    }
}

/// Tells one state of `index.json` from another.
type Stamp = (u64, i64, i64, u64);

/// The names as last read; read again only where the file was replaced.
pub(crate) struct NamesCache {
    store: Arc<Store>,
    index: PathBuf,
    read: Mutex<Option<(Stamp, Arc<Names>)>>,
}

impl NamesCache {
    pub(super) fn open(store: Arc<Store>) -> Result<Self> {
        let cache = Self { index: store.path().join("index.json"), store, read: Mutex::default() };
        cache.read()?;
        Ok(cache)
    }

    pub(super) fn read(&self) -> Result<Arc<Names>> {
        let metadata = std::fs::metadata(&self.index).wrap(|| self.index.display())?;
        let stamp = (metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len());
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, names)) = &*read
            && *known == stamp
        {
            return Ok(names.clone());
        }
        let names = Arc::new(Names::of(self.store.images()?));
        *read = Some((stamp, names.clone()));
        Ok(names)
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
