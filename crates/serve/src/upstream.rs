// SPDX-License-Identifier: Apache-2.0
//! A pull-through cache: what is missing here is brought from another registry, verified, and kept.
//!
//! ```text
//!  GET manifest by tag     asked for upstream when last seen a minute ago or more; what is here where nobody answers
//!  GET manifest by digest  brought where it is missing
//!  GET blob                brought where it is missing, if a manifest of the repository names it; the client waits
//! ```
//! Nothing is served before its digest is known to be right. A transfer that broke off goes on where it stopped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use conex_image::transfer::Source;
use conex_spec::Digest;
use conex_spec::image::Descriptor;

use crate::answer::Refusal;
use crate::route::Target;
use crate::storage::Storage;
use crate::{Error, ErrorKind, Result};

/// How long a tag is believed.
const FRESH: Duration = Duration::from_secs(60);

/// Another registry. All methods block; errors of kind `NotFound` mean that it has no such thing.
pub trait Upstream: Send + Sync {
    /// Where the image `reference` (a tag or a digest) of `repository` is read from.
    fn source(&self, repository: &str, reference: &str) -> Result<Box<dyn Source>>;
    /// What a tag means there.
    fn head(&self, repository: &str, tag: &str) -> Result<Descriptor>;
    /// What refers to a manifest.
    fn referrers(&self, repository: &str, digest: &Digest) -> Result<Vec<Descriptor>>;
    /// All tags of a repository.
    fn tags(&self, repository: &str) -> Result<Vec<String>>;
}

/// The other registry, and when it was last asked for what.
pub(crate) struct Behind {
    upstream: Arc<dyn Upstream>,
    asked: Mutex<HashMap<(String, String), Instant>>,
}

impl Behind {
    pub(crate) fn of(upstream: Arc<dyn Upstream>) -> Self {
        Self { upstream, asked: Mutex::default() }
    }

    /// Sees to it that a manifest is here, as it is there.
    pub(crate) fn bring_manifest(
        &self,
        storage: &Storage,
        name: &str,
        target: &Target,
    ) -> Result<(), Refusal> {
        let here = match target {
            Target::Tag(tag) => storage.names()?.tag(name, tag).cloned(),
            Target::Digest(digest) => storage.find_manifest(name, digest)?,
        };
        let brought = match target {
            Target::Digest(_) if here.is_some() => Ok(()),
            Target::Digest(digest) => self.fetch(storage, name, digest.as_str(), &[]),
            Target::Tag(tag) if here.is_some() && self.is_fresh(name, tag) => Ok(()),
            Target::Tag(tag) => self.follow(storage, name, tag, here.as_ref()),
        };
        match brought {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(not_there(&error)),
            Err(_) if here.is_some() => Ok(()),
            other => other.map_err(|error| unreachable(&error)),
        }
    }

    /// Asks what the tag means now, and brings that where it is another than here.
    fn follow(&self, storage: &Storage, name: &str, tag: &str, here: Option<&Descriptor>) -> Result<()> {
        let is_same = match here {
            Some(here) => self.upstream.head(name, tag)?.digest == here.digest,
            None => false,
        };
        if !is_same {
            self.fetch(storage, name, tag, &[tag.to_owned()])?;
        }
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.retain(|_, when| when.elapsed() < FRESH);
        asked.insert((name.to_owned(), tag.to_owned()), Instant::now());
        Ok(())
    }

    fn fetch(&self, storage: &Storage, name: &str, reference: &str, tags: &[String]) -> Result<()> {
        let manifest = self.upstream.source(name, reference)?.resolve()?;
        let _no_gc = storage.changing();
        storage.put_manifest(name, &manifest, tags)
    }

    /// Sees to it that a blob is here, if a manifest of the repository names it.
    pub(crate) fn bring_blob(&self, storage: &Storage, name: &str, digest: &Digest) -> Result<(), Refusal> {
        if storage.sees_blob(name, digest)? {
            return Ok(());
        }
        let Some((manifest, blob)) = storage.find_needed(name, digest)? else { return Ok(()) };
        let fetch = || {
            let source = self.upstream.source(name, manifest.digest.as_str())?;
            storage.bring_blob(name, &blob, source.as_ref())
        };
        fetch().map_err(|error| match error.kind() {
            ErrorKind::NotFound => not_there(&error),
            _ => unreachable(&error),
        })
    }

    /// What refers to a manifest there; what is known here where nobody answers.
    pub(crate) fn referrers(
        &self,
        storage: &Storage,
        name: &str,
        digest: &Digest,
    ) -> Result<Vec<Descriptor>> {
        self.upstream.referrers(name, digest).or_else(|_| storage.referrers(name, digest))
    }

    /// The tags there; `None` where nobody answers.
    pub(crate) fn tags(&self, name: &str) -> Result<Option<Vec<String>>, Refusal> {
        match self.upstream.tags(name) {
            Ok(mut tags) => {
                tags.sort();
                tags.dedup();
                Ok(Some(tags))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Err(not_there(&error)),
            Err(_) => Ok(None),
        }
    }

    fn is_fresh(&self, name: &str, tag: &str) -> bool {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.get(&(name.to_owned(), tag.to_owned())).is_some_and(|when| when.elapsed() < FRESH)
    }
}

fn not_there(error: &Error) -> Refusal {
    Refusal::new(404, "MANIFEST_UNKNOWN", "not known here nor upstream").because(error)
}

fn unreachable(error: &Error) -> Refusal {
    Refusal::new(502, "UNKNOWN", "the registry behind this one gave no good answer; the log says which")
        .because(error)
}
