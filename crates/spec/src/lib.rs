// SPDX-License-Identifier: Apache-2.0
//! The three OCI specifications as plain data: structs with public fields, one file per chapter.
//!
//! Nothing here opens a file, reads a clock or knows a host. Reading is lenient where Go's readers are
//! (unknown keys are ignored, `null` is an absent list), writing is strict.
#![forbid(unsafe_code)]

pub mod digest;
pub mod distribution;
pub mod image;
pub mod json;
pub mod runtime;
pub mod time;

pub use digest::{Algorithm, ChainId, DiffId, Digest, DigestError};
pub use time::Timestamp;

/// Reads an absent or `null` value as the type's default, as Go's `encoding/json` does for lists and maps.
pub(crate) fn null_is_default<'de, D, T>(reader: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + serde::Deserialize<'de>,
{
    Ok(<Option<T> as serde::Deserialize>::deserialize(reader)?.unwrap_or_default())
}
