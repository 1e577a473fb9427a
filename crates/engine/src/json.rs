// SPDX-License-Identifier: Apache-2.0
//! Small JSON documents in files of their own, replaced whole or not at all.

use std::fs;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Result, Wrap as _};

/// Replaces the document durably. Writers of one path are serialised by a lock of their own.
pub fn write<T: Serialize>(path: &Path, document: &T) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(document)?;
    bytes.push(b'\n');
    Ok(conex_sys::file::replace(path, &bytes, 0o600)?)
}

/// Reads a document; `None` where there is no such file.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).wrap(|| format!("read {}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).wrap(|| format!("read {}", path.display())),
    }
}
