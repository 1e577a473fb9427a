// SPDX-License-Identifier: Apache-2.0
//! The layers of an image as an overlay mount: where they are and what options they need. The mount itself is made
//! by whoever runs the container.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::{Error, ErrorKind, Result};

/// A stack of unpacked layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The layers' directories, absolute, **top first**, as overlayfs wants its `lowerdir`s. May be hundreds: give
    /// them to the kernel one by one (`lowerdir+`) or by short relative paths.
    pub lower: Vec<PathBuf>,
    /// Whether the mount needs the option `userxattr`: the layers were unpacked in a user namespace.
    pub userxattr: bool,
}

impl Snapshot {
    /// Opens a regular file of the merged tree without mounting it: `etc/passwd`. Symlinks are resolved inside the
    /// tree; whiteouts are honoured. `None` where there is no such file or it is not a regular one.
    pub fn open(&self, path: &Path) -> Result<Option<File>> {
        let _ = path;
        Err(Error::new(ErrorKind::Unsupported, "read through layers: not built yet"))
    }
}
