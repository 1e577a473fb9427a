// SPDX-License-Identifier: Apache-2.0
//! The last step: directories get what their entries said, deepest first, so that a directory without permissions does
//! not lock us out of what is in it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use conex_sys::path::Dir;

use super::{Attributes, Known, Tree, xattr};
use crate::{Result, Wrap};

impl Tree {
    /// Gives all directories their attributes, and back what is known of regular files by path, as far as that was asked
    /// for ([`super::Options::digests`]). Nothing can be applied afterwards.
    pub fn finish(mut self) -> Result<HashMap<PathBuf, Known>> {
        self.cache.clear();
        let mut directories: Vec<(PathBuf, Attributes)> =
            std::mem::take(&mut self.directories).into_iter().collect();
        directories.sort_by_cached_key(|(path, _)| std::cmp::Reverse(path.components().count()));
        for (path, attributes) in &directories {
            self.describe_directory(path, attributes).wrap(|| format!("directory {path:?}"))?;
        }
        Ok(std::mem::take(&mut self.known))
    }

    fn describe_directory(&self, path: &Path, attributes: &Attributes) -> Result<()> {
        let dir: Dir = self.root.open_dir(path)?;
        let Attributes { mode, uid, gid, mtime, atime, xattrs } = attributes;
        if let Some(owner) = self.options.owner.on_disk(*uid, *gid)?.filter(|owner| *owner != self.creator) {
            conex_sys::path::chown(&dir, owner.0, owner.1)?;
        }
        for xattr in xattr::to_disk(xattrs, &self.options, *uid, *gid) {
            let result = conex_sys::path::set_xattr(&dir, &xattr.name, &xattr.value);
            xattr::tolerate(result, &self.options)?;
        }
        // After the attributes: an ACL would change the mode.
        conex_sys::path::chmod(&dir, *mode)?;
        Ok(conex_sys::path::set_times(&dir, atime.unwrap_or(*mtime), *mtime)?)
    }
}
