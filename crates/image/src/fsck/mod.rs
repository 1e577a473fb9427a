// SPDX-License-Identifier: Apache-2.0
//! Checks every invariant of a store, collects all violations, mends on request. Every test of a store ends in it.
//!
//! Blobs are hashed. Unpacked layers are unpacked again beside themselves and compared, file by file; layers that were made
//! here are packed again and hashed. Names are followed down to the last blob.

mod check;

use std::collections::HashSet;

use conex_spec::Digest;
use serde::Serialize;

use crate::layout::index;
use crate::store::Store;
use crate::store::gc::Reachable;
use crate::{Error, Result};

/// What to do beside looking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FsckOptions {
    /// Remove what is damaged, so that it can be pulled again; names that lead to nothing go too.
    pub repair: bool,
}

/// What was looked at and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Names in index.json.
    pub names: usize,
    /// Blobs hashed.
    pub blobs: usize,
    /// Bytes hashed.
    pub bytes: u64,
    /// Unpacked layers checked.
    pub layers: usize,
    /// Everything that is wrong.
    pub violations: Vec<Violation>,
    /// Not wrong, only of no use: content that no name leads to, leftovers of killed processes. `gc` removes them.
    pub garbage: Vec<String>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which invariant.
    pub class: Class,
    /// Path inside the store, or name.
    pub at: String,
    /// What is wrong there.
    pub what: String,
    /// Whether `repair` mended it.
    pub repaired: bool,
}

/// The invariants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The layout's own files or directories: missing, unreadable, of a wrong mode.
    Layout,
    /// A blob's bytes do not have the digest it is named by.
    WrongDigest,
    /// A blob is not of the size its descriptor says.
    WrongSize,
    /// Something that a manifest or name refers to is not there.
    Missing,
    /// A manifest or configuration that does not parse or contradicts itself.
    Malformed,
    /// An unpacked layer without its record.
    IncompleteLayer,
    /// An unpacked layer that is not what its record says.
    LayerContent,
    /// A name twice, or one that leads to something that is not an image.
    Name,
    /// A file that does not belong into a store.
    Foreign,
}

/// A check under way.
struct Fsck<'a> {
    store: &'a Store,
    repair: bool,
    report: Report,
    /// Blobs that are here and are what they are called.
    good: HashSet<Digest>,
    reachable: Reachable,
}

/// Checks the whole store. Others may go on bringing content in meanwhile; with `repair` it must be unused, or the answer
/// is an error of kind `Busy`.
pub fn fsck(store: &Store, options: FsckOptions) -> Result<Report> {
    let _lock = if options.repair { store.own()? } else { store.share()?.into_file() };
    let mut fsck = Fsck {
        store,
        repair: options.repair,
        report: Report::default(),
        good: HashSet::new(),
        reachable: Reachable::default(),
    };
    fsck.layout()?;
    fsck.blobs()?;
    fsck.made_layers()?;
    fsck.names()?;
    fsck.layers()?;
    fsck.garbage()?;
    Ok(fsck.report)
}

impl Fsck<'_> {
    /// Notes a violation; `mend` is run if repair is wanted.
    fn wrong(
        &mut self,
        class: Class,
        at: impl Into<String>,
        what: impl Into<String>,
        mend: impl FnOnce(&Store) -> Result<()>,
    ) -> Result<()> {
        let mended = if self.repair { mend(self.store).map(|()| true)? } else { false };
        self.report.violations.push(Violation { class, at: at.into(), what: what.into(), repaired: mended });
        Ok(())
    }

    /// The store's own files.
    fn layout(&mut self) -> Result<()> {
        let store = self.store;
        let mode = conex_sys::path::stat(&store.root)?.st_mode & 0o777;
        if mode & 0o077 != 0 {
            let what = format!("mode {mode:o} lets others in");
            self.wrong(Class::Layout, ".", what, |store| Ok(conex_sys::path::chmod(&store.root, 0o700)?))?;
        }
        if let Err(error) = index::check_marker(&store.root) {
            self.wrong(Class::Layout, index::MARKER, error.to_string(), |_| Ok(()))?;
        }
        Ok(())
    }

    /// Each name, and everything below it.
    fn names(&mut self) -> Result<()> {
        let entries = match index::read(&self.store.root) {
            Ok(index) => index.manifests,
            Err(error) => {
                return self.wrong(Class::Layout, index::INDEX, error.to_string(), |_| Ok(()));
            }
        };
        self.report.names = entries.len();
        let mut seen = HashSet::new();
        for entry in &entries {
            let name = index::name_of(entry).unwrap_or("(no name)").to_owned();
            if index::name_of(entry).is_some() && !seen.insert(name.clone()) {
                let keep = |store: &Store| keep_first(store, &name);
                self.wrong(Class::Name, &name, "is there twice", keep)?;
            }
            let closed = self.closure(entry, 0);
            // What is left of a damaged image is no garbage as long as it has its name.
            let marked = self.store.mark(entry, &mut self.reachable, 0);
            if let Err((class, error)) = closed {
                let digest = entry.digest.clone();
                let forget = |store: &Store| forget(store, &digest);
                self.wrong(class, &name, error.to_string(), forget)?;
            } else {
                marked?;
            }
        }
        for digest in self.store.pinned()? {
            self.store.mark_pinned(&digest, &mut self.reachable)?;
        }
        Ok(())
    }
}

/// Drops all entries of index.json that mean `digest`.
fn forget(store: &Store, digest: &Digest) -> Result<()> {
    index::update(&store.root, |index| {
        index.manifests.retain(|entry| entry.digest != *digest);
        Ok(())
    })
}

/// Drops all but the first entry called `name`.
fn keep_first(store: &Store, name: &str) -> Result<()> {
    index::update(&store.root, |index| {
        let mut seen = false;
        index.manifests.retain(|entry| {
            let named = index::name_of(entry) == Some(name);
            let again = named && seen;
            seen |= named;
            !again
        });
        Ok(())
    })
}

/// What a step of the closure may fail with.
type Wrong<T> = std::result::Result<T, (Class, Error)>;

#[cfg(test)]
mod tests;
