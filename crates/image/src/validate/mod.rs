// SPDX-License-Identifier: Apache-2.0
//! Whether an image is what image-spec says it must be: every violation, not the first.
//!
//! ```text
//!  index.json ─► index, manifest ─► config, layers      document.rs: the rules of one document, on its JSON
//!                      └─ sizes and digests of all, diff_ids of layers, history            walk.rs
//! ```
//! The readers of this crate are stricter about what could hurt and laxer about what could not; this is neither, it is
//! the specification's own measure (image-spec v1.1, with its JSON schemas).

mod document;
mod walk;

use std::fmt;

pub use document::{Kind, document};
pub use walk::layout;

/// One thing that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which document or blob: `index.json`, `sha256:…`.
    pub place: String,
    /// RFC 6901, into the document; empty for the whole.
    pub pointer: String,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pointer.as_str() {
            "" => write!(f, "{}: {}", self.place, self.message),
            pointer => write!(f, "{}: {pointer}: {}", self.place, self.message),
        }
    }
}

#[cfg(test)]
mod tests;
