// SPDX-License-Identifier: Apache-2.0
//! Checks every invariant of a store, collects all violations, mends on request. Every test of a store ends in it.

use serde::Serialize;

use crate::store::Store;
use crate::{Error, ErrorKind, Result};

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

/// Checks the whole store. Waits until nobody is bringing content in; with `repair`, until nobody uses it.
pub fn fsck(store: &Store, options: FsckOptions) -> Result<Report> {
    let _ = (store, options);
    Err(Error::new(ErrorKind::Unsupported, "fsck: not built yet"))
}
