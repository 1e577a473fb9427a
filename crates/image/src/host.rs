// SPDX-License-Identifier: Apache-2.0
//! Directories of the host that a user named: a store, a layout, a bundle. The only place of this crate where a path
//! string reaches the kernel.
#![expect(clippy::disallowed_methods, reason = "the path is the user's own word, not an image's")]

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use conex_sys::path::Dir;

use crate::{Result, Wrap};

/// Opens a directory, and makes it and its parents where they are missing.
pub(crate) fn make_dir(path: &Path, mode: u32) -> Result<Dir> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    made.wrap(|| format!("make directory {}", path.display()))?;
    Ok(Dir::open_host(path)?)
}

/// Whether there is something of this name.
pub(crate) fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Removes a directory if it is empty, as a part of cleaning up after a failure that matters more.
pub(crate) fn remove_if_empty(path: &Path) {
    let _ = std::fs::remove_dir(path);
}
