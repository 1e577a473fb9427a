// SPDX-License-Identifier: Apache-2.0
//! image-spec v1.1: layer.md#whiteouts
//!
//! A whiteout speaks of *lower* layers only, wherever it stands in its own: an entry of the same layer with the same
//! name stays. Plain form carries it out, overlay form writes it down.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use conex_sys::path::{Dir, FileType};

use super::resolve::file_type;
use super::{Form, Parent, Time, Tree, at_or_behind, at_or_below, weight_of, xattr};
use crate::{Error, ErrorKind, Result};

/// Directories in directories that a whiteout may empty by halves.
const MAX_DEPTH: usize = 256;

impl Tree {
    /// `hidden` is the name behind `.wh.`.
    pub(super) fn whiteout(&mut self, parent: &Path, hidden: &OsStr) -> Result<()> {
        match hidden.as_bytes() {
            b"" | b"." | b".." => {
                return Err(Error::new(ErrorKind::Hostile, format!("a whiteout of {hidden:?}")));
            }
            b".wh..opq" => {}
            // Bookkeeping of AUFS in old images (.wh..wh.plnk, .wh..wh.aufs).
            name if name.starts_with(b".wh.") => return Ok(()),
            _ => {}
        }
        let opaque = hidden.as_bytes() == b".wh..opq";
        match self.options.form {
            Form::Plain { .. } => {
                // Nothing to hide where there is nothing.
                let Ok(_) = self.root.open_dir(parent) else { return Ok(()) };
                let parent = self.directory(parent)?;
                if opaque { self.empty(&parent) } else { self.prune(&parent.dir, &parent.path, hidden, 0) }
            }
            Form::Overlay { .. } => {
                let parent = self.directory(parent)?;
                if opaque { self.make_opaque(&parent) } else { self.hide(&parent, hidden) }
            }
        }
    }

    /// Plain form: removes all lower children of a directory, once.
    fn empty(&mut self, parent: &Parent) -> Result<()> {
        if !self.opaque.insert(parent.path.clone()) {
            return Ok(());
        }
        for entry in parent.dir.entries()? {
            self.prune(&parent.dir, &parent.path, &entry.name, 0)?;
        }
        Ok(())
    }

    /// Plain form: removes `name` as far as the current layer has not brought it.
    fn prune(&mut self, dir: &Dir, dir_path: &Path, name: &OsStr, depth: usize) -> Result<()> {
        let path = dir_path.join(name);
        if !self.touched.contains(&path) {
            dir.remove_all(name)?;
            self.forget(&path);
            return Ok(());
        }
        let is_dir = dir.find(name)?.is_some_and(|stat| file_type(&stat) == FileType::Directory);
        if !is_dir {
            return Ok(());
        }
        if depth >= MAX_DEPTH {
            return Err(Error::new(ErrorKind::Hostile, "a whiteout of directories nested too deep"));
        }
        let below = dir.open_dir(name)?;
        for entry in below.entries()? {
            self.prune(&below, &path, &entry.name, depth + 1)?;
        }
        Ok(())
    }

    /// Overlay form: writes down that `name` of the layers below is hidden.
    fn hide(&mut self, parent: &Arc<Parent>, name: &OsStr) -> Result<()> {
        if self.is_hidden(&parent.path) {
            return Ok(());
        }
        let path = parent.path_of(name);
        match parent.dir.find(name)?.map(|stat| file_type(&stat)) {
            Some(FileType::Directory) => {
                let dir = self.directory(&path)?;
                return self.make_opaque(&dir);
            }
            // It hides what is below already.
            Some(_) => return Ok(()),
            None => {}
        }
        self.remember_bytes(weight_of(&path))?;
        parent.dir.make_node(name, FileType::CharacterDevice, 0, 0, 0)?;
        // So that the same layer always gives the same tree.
        parent.dir.set_times(name, Time::default(), Time::default())?;
        self.whiteouts.insert(path);
        Ok(())
    }

    /// Hides everything below a directory. In overlay form whiteouts in it go: overlayfs would list them.
    pub(super) fn make_opaque(&mut self, dir: &Arc<Parent>) -> Result<()> {
        let Form::Overlay { userxattr } = self.options.form else { return Ok(()) };
        if !self.opaque.insert(dir.path.clone()) {
            return Ok(());
        }
        let name = [xattr::overlay_prefix(userxattr), b"opaque"].concat();
        conex_sys::path::set_xattr(&dir.dir, &name, b"y")?;
        let behind = self.whiteouts.range::<Path, _>(at_or_behind(&dir.path));
        for file in at_or_below(&dir.path, behind) {
            let (parent, name) = self.root.parent(&file)?;
            parent.remove_file(name)?;
            self.whiteouts.remove(&file);
        }
        Ok(())
    }
}
