// SPDX-License-Identifier: Apache-2.0
//! JSON (RFC 8259) for a program that lives for milliseconds: one reader that knows where in the text everything
//! stands, and one writer, each compiled once per type.
//!
//! ```text
//!  text ─► Document: one Node per value, in the order of the text ─► Value: the structs (serde)
//!                                 └► pointer, offset of a node: for those who tell of mistakes
//! ```
//!
//! Go's leniency where it has one: of a repeated key the last counts, a lone surrogate is U+FFFD. What the fields mean
//! is the structs' business, and telling of all mistakes at once that of [`crate::runtime::read`].

mod document;
mod syntax;
mod value;
mod write;

pub use document::{Document, NodeId};
pub use syntax::Syntax;
pub use value::{Misfit, Unfit, Value};
pub use write::{write, write_indented};

use std::fmt;

use serde::de::DeserializeOwned;

/// Reads a document that this project wrote itself: its first mistake is enough.
pub fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, Mistaken> {
    let document = Document::parse(text)
        .map_err(|Syntax { offset, message }| Mistaken { offset, message: message.to_owned() })?;
    T::deserialize(document.root()).map_err(|error| {
        let Misfit { at, message } = error.into_inner();
        Mistaken { offset: at.map_or(0, |node| document.offset(node)), message }
    })
}

/// Why a document could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistaken {
    /// In bytes, of the value.
    pub offset: usize,
    pub message: String,
}

impl fmt::Display for Mistaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.message, self.offset)
    }
}

#[cfg(test)]
mod tests;
