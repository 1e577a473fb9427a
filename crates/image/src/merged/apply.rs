// SPDX-License-Identifier: Apache-2.0
//! One entry after the other into the tree of names.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use conex_spec::Digest;

use super::{Inode, Merged};
use crate::layer::apply::Limits;
use crate::layer::tar::{Entry, Kind};
use crate::{Error, ErrorKind, Result};

/// As many symlinks on one way as the kernel follows.
const MAX_SYMLINKS: usize = 40;

/// A tree that layers are still put into.
pub(super) struct Merging {
    tree: Merged,
    limits: Limits,
    entries: u64,
    memory: u64,
    /// Real paths that the current layer has brought, and all their parents.
    touched: HashSet<PathBuf>,
    /// Directories whose lower content the current layer has hidden.
    opaque: HashSet<PathBuf>,
}

fn hostile(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Hostile, message)
}

impl Merging {
    pub(super) fn new(limits: Limits) -> Self {
        let root = Inode { entry: Entry::new("", Kind::Directory, 0o755), place: None, digest: None };
        let tree = Merged { names: BTreeMap::from([(PathBuf::new(), 0)]), inodes: vec![root] };
        Self { tree, limits, entries: 0, memory: 0, touched: HashSet::new(), opaque: HashSet::new() }
    }

    pub(super) fn begin_layer(&mut self) {
        self.entries = 0;
        self.touched.clear();
        self.opaque.clear();
    }

    pub(super) fn finish(self) -> Merged {
        self.tree
    }

    /// `place` is where the entry is, `digest` what it holds.
    pub(super) fn entry(&mut self, entry: Entry, place: (usize, u64), digest: Option<Digest>) -> Result<()> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(hostile(format!("the layer has more than {} entries", self.limits.entries)));
        }
        let Some(name) = entry.path.file_name().map(OsStr::to_owned) else {
            if entry.kind != Kind::Directory {
                return Err(hostile("the root of a layer can only be a directory"));
            }
            self.tree.inodes[0] = Inode { entry, place: Some(place), digest: None };
            return Ok(());
        };
        let parent = entry.path.parent().unwrap_or(Path::new("")).to_owned();
        if let Some(hidden) = name.as_bytes().strip_prefix(b".wh.") {
            return self.whiteout(&parent, OsStr::from_bytes(hidden));
        }
        let path = self.directory(&parent)?.join(&name);
        self.touch(&path)?;
        let inode = match &entry.kind {
            Kind::Link { target } => return self.link(&path, target),
            Kind::Directory if self.is_directory(&path) => {
                let inode = self.tree.names[&path];
                self.tree.inodes[inode] = Inode { entry: bare(entry), place: Some(place), digest };
                return Ok(());
            }
            _ => Inode { entry: bare(entry), place: Some(place), digest },
        };
        self.remove(&path);
        self.insert(path, inode)
    }

    fn insert(&mut self, path: PathBuf, inode: Inode) -> Result<()> {
        let xattrs =
            inode.entry.xattrs.iter().map(|xattr| xattr.name.len() + xattr.value.len()).sum::<usize>();
        self.remember(path.as_os_str().len() + xattrs + size_of::<Inode>())?;
        self.tree.inodes.push(inode);
        self.tree.names.insert(path, self.tree.inodes.len() - 1);
        Ok(())
    }

    /// Before something is kept in memory.
    fn remember(&mut self, bytes: usize) -> Result<()> {
        self.memory = self.memory.saturating_add(bytes as u64 + 128);
        // Names are all that is kept of a file, so there may be more of them than where only directories are.
        let limit = self.limits.memory.saturating_mul(4);
        if self.memory > limit {
            return Err(hostile(format!("the image's names take more than {limit} bytes of memory")));
        }
        Ok(())
    }

    fn touch(&mut self, path: &Path) -> Result<()> {
        for path in path.ancestors() {
            if !self.touched.insert(path.to_owned()) {
                break;
            }
            self.remember(path.as_os_str().len())?;
        }
        Ok(())
    }

    /// A second name of what `target` names.
    fn link(&mut self, path: &Path, target: &Path) -> Result<()> {
        let Some(name) = target.file_name() else { return Err(hostile("a hard link to the root")) };
        let target = self.directory(target.parent().unwrap_or(Path::new("")))?.join(name);
        if target == path {
            return Err(hostile("a hard link to itself"));
        }
        let missing = || hostile(format!("a hard link to {target:?}, which is not there"));
        let inode = *self.tree.names.get(&target).ok_or_else(missing)?;
        if self.is_directory(&target) {
            return Err(hostile(format!("a hard link to the directory {target:?}")));
        }
        self.remove(path);
        if !self.tree.names.contains_key(&target) {
            return Err(missing());
        }
        self.remember(path.as_os_str().len())?;
        self.tree.names.insert(path.to_owned(), inode);
        Ok(())
    }

    /// `hidden` is the name behind `.wh.`.
    fn whiteout(&mut self, parent: &Path, hidden: &OsStr) -> Result<()> {
        match hidden.as_bytes() {
            b"" | b"." | b".." => return Err(hostile(format!("a whiteout of {hidden:?}"))),
            b".wh..opq" => {}
            // Bookkeeping of AUFS in old images.
            name if name.starts_with(b".wh.") => return Ok(()),
            _ => {}
        }
        let Some(parent) = self.tree.existing_directory(parent) else { return Ok(()) };
        if hidden.as_bytes() != b".wh..opq" {
            self.prune(&parent.join(hidden));
        } else if self.opaque.insert(parent.clone()) {
            for child in self.tree.children(&parent) {
                self.prune(&child);
            }
        }
        Ok(())
    }

    /// Removes what lower layers have brought at and below a path.
    fn prune(&mut self, path: &Path) {
        if !self.touched.contains(path) {
            return self.remove(path);
        }
        let below: Vec<PathBuf> =
            self.tree.below(path).filter(|path| !self.touched.contains(*path)).cloned().collect();
        for path in below {
            self.tree.names.remove(&path);
        }
    }

    fn remove(&mut self, path: &Path) {
        let gone: Vec<PathBuf> = self.tree.below(path).cloned().collect();
        for path in gone {
            self.opaque.remove(&path);
            self.tree.names.remove(&path);
        }
    }

    fn is_directory(&self, path: &Path) -> bool {
        self.tree.at(path).is_some_and(|inode| inode.entry.kind == Kind::Directory)
    }

    /// The real path of a directory: symlinks are walked inside the tree, what is missing is made, what is in the way and
    /// no directory is replaced by one.
    fn directory(&mut self, path: &Path) -> Result<PathBuf> {
        if self.is_directory(path) {
            return Ok(path.to_owned());
        }
        let (mut here, mut symlinks) = (PathBuf::new(), 0);
        let mut steps = steps(path);
        while let Some(step) = steps.pop() {
            let there = match step {
                Step::Root => PathBuf::new(),
                Step::Up => here.parent().unwrap_or(Path::new("")).to_owned(),
                Step::Down(name) => here.join(name),
            };
            match self.tree.at(&there).map(|inode| &inode.entry.kind) {
                Some(Kind::Directory) => here = there,
                Some(Kind::Symlink { target }) => {
                    symlinks += 1;
                    if symlinks > MAX_SYMLINKS {
                        return Err(hostile(format!("{path:?}: symlinks in a circle")));
                    }
                    steps.extend(self::steps(Path::new(target)));
                }
                _ => {
                    self.remove(&there);
                    let implied =
                        Inode { entry: Entry::new("", Kind::Directory, 0o755), place: None, digest: None };
                    self.insert(there.clone(), implied)?;
                    here = there;
                }
            }
        }
        Ok(here)
    }
}

/// One step on the way.
pub(super) enum Step {
    Root,
    Up,
    Down(OsString),
}

/// The steps of a path, the last one first.
pub(super) fn steps(path: &Path) -> Vec<Step> {
    let step = |component| match component {
        Component::RootDir => Some(Step::Root),
        Component::ParentDir => Some(Step::Up),
        Component::Normal(name) => Some(Step::Down(OsStr::to_owned(name))),
        Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(step).collect()
}

fn bare(entry: Entry) -> Entry {
    Entry { path: PathBuf::new(), ..entry }
}
