// SPDX-License-Identifier: Apache-2.0
//! image-spec v1.1: layer.md#applying-changesets
//!
//! Applies layers inside one directory, in one of two forms:
//!
//! * [`Form::Plain`]: all layers into one tree, as umoci does; a whiteout removes what lower layers brought, wherever
//!   in the archive it stands, and never what its own layer brings.
//! * [`Form::Overlay`]: one layer into its own directory, as overlayfs reads it: a whiteout is a character device 0/0, an
//!   opaque directory has an extended attribute.
//!
//! Every step is one name relative to an open directory ([`conex_sys::path::Dir`]) and follows no symlink; a symlink in
//! the parents of an entry is read and walked inside the tree. Directories get their mode, owner, attributes and
//! times only when all is done: until then they are the caller's and writable, so nothing is inherited from them
//! and adding files does not disturb their times.
//!
//! In overlay form a layer may need to know what lies below it: for the attributes of a directory that it only implies,
//! or for a hard link to a lower file. [`Below::Unknown`] then makes a note of it, [`Below::Layers`] looks.

mod create;
mod finish;
mod owner;
mod resolve;
mod whiteout;
mod xattr;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::io::BufRead;
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use conex_spec::Digest;
use conex_sys::path::{Dir, Root};
use serde::{Deserialize, Serialize};

use super::tar::{Entry, Kind, Reader, Time, Xattr};
use crate::snapshot::Stack;
use crate::{Error, ErrorKind, Result};

pub use owner::{Owner, ROOTLESS_XATTR, read_rootless};
pub(crate) use xattr::is_of_host;

/// How a tree lies on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// Merged; whiteouts are carried out.
    Plain {
        /// Write through a symlink to a directory where a layer has a directory of that name.
        keep_dirlinks: bool,
    },
    /// One layer, for overlayfs; whiteouts are kept.
    Overlay {
        /// Attributes are called `user.overlay.*`, as a mount in a user namespace reads them.
        userxattr: bool,
    },
}

/// What lies below the layer that is applied. Matters to [`Form::Overlay`] only.
#[derive(Debug)]
pub enum Below {
    /// Not known yet: what would depend on it is noted in [`Applied`].
    Unknown,
    /// These layers, perhaps none.
    Layers(Stack),
}

/// How much a layer may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Members of the archive.
    pub entries: u64,
    /// Bytes of all regular files, with their holes.
    pub bytes: u64,
    /// Bytes of what has to be remembered until the end: names and attributes of directories, whiteouts.
    pub memory: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 10_000_000, bytes: 1 << 40, memory: 256 << 20 }
    }
}

/// How to apply.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Options {
    /// How the tree lies on disk.
    pub form: Form,
    /// Who owns it.
    pub owner: Owner,
    /// Without the rights of the host's root: devices become empty files, attributes that are refused are left out.
    pub unprivileged: bool,
    /// How much it may hold.
    pub limits: Limits,
    /// Remember what is known of every regular file, for [`Tree::finish`].
    pub digests: bool,
}

/// What one layer did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Members of the archive.
    pub entries: u64,
    /// Bytes of all regular files.
    pub bytes: u64,
    /// The layer lies in directories that it does not describe: their attributes are those of the layer below.
    pub implicit_parents: bool,
    /// The layer has hard links to files of lower layers, which could not be made.
    pub lower_links: bool,
}

/// What a directory gets at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Attributes {
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: Time,
    atime: Option<Time>,
    xattrs: Vec<Xattr>,
}

impl Attributes {
    fn default_dir() -> Self {
        Self { mode: 0o755, ..Self::default() }
    }

    fn of(entry: Entry) -> Self {
        let Entry { mode, uid, gid, mtime, atime, xattrs, .. } = entry;
        Self { mode, uid, gid, mtime, atime, xattrs }
    }

    /// How much memory it takes beyond its own size.
    fn weight(&self) -> usize {
        self.xattrs.iter().map(|xattr| xattr.name.len() + xattr.value.len()).sum()
    }
}

/// What is known of a regular file without opening it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Of its content.
    pub digest: Digest,
    /// It has no extended attributes.
    pub bare: bool,
}

/// An open directory of the tree and its path there, which has no symlink in it.
#[derive(Debug)]
struct Parent {
    dir: Dir,
    path: PathBuf,
}

impl Parent {
    fn path_of(&self, name: &OsStr) -> PathBuf {
        self.path.join(name)
    }
}

/// A tree under construction. Only [`Tree::finish`] makes it whole.
#[derive(Debug)]
pub struct Tree {
    root: Root,
    options: Options,
    below: Below,
    /// Who owns what we create: the owner of the root directory, which we have made.
    creator: (u32, u32),
    /// Open directories by path, as archives write it and as it really is.
    cache: HashMap<PathBuf, Arc<Parent>>,
    /// All directories and what they get at the end, by real path.
    directories: BTreeMap<PathBuf, Attributes>,
    /// Plain form: real paths that the current layer has brought, and all their parents.
    touched: HashSet<PathBuf>,
    /// Directories that hide what is below them, in the current layer.
    opaque: BTreeSet<PathBuf>,
    /// Overlay form: whiteouts made so far.
    whiteouts: BTreeSet<PathBuf>,
    /// Bytes remembered, as far as [`Limits::memory`] is concerned.
    remembered: u64,
    known: HashMap<PathBuf, Known>,
    /// The process's umask is 0: new files have the mode that they are made with.
    exact_modes: bool,
    /// Whether the host gives new files extended attributes of its own; not known before the first file.
    labels: Option<bool>,
    applied: Applied,
}

impl Tree {
    /// A tree in `dir`, which must be empty and made by the caller.
    pub fn new(dir: Dir, options: Options, below: Below) -> Result<Self> {
        let stat = conex_sys::path::stat(&dir)?;
        // Inherited from where the store happens to be; it would change every mode below.
        let _ = conex_sys::path::remove_xattr(&dir, b"system.posix_acl_default");
        conex_sys::path::chmod(&dir, 0o700)?;
        let root = Parent { dir: dir.try_clone()?, path: PathBuf::new() };
        Ok(Self {
            root: Root::new(dir),
            options,
            below,
            creator: (stat.st_uid, stat.st_gid),
            cache: HashMap::from([(PathBuf::new(), Arc::new(root))]),
            directories: BTreeMap::from([(PathBuf::new(), Attributes::default_dir())]),
            touched: HashSet::new(),
            opaque: BTreeSet::new(),
            whiteouts: BTreeSet::new(),
            remembered: 0,
            known: HashMap::new(),
            exact_modes: false,
            labels: None,
            applied: Applied::default(),
        })
    }

    /// Says that the process's umask is 0, which spares a call for each file.
    #[must_use]
    pub(crate) fn with_exact_modes(self) -> Self {
        Self { exact_modes: true, ..self }
    }

    /// Applies one layer's archive, and says what it did. What is behind the archive's end is not read.
    pub fn apply(&mut self, archive: impl BufRead) -> Result<Applied> {
        self.touched.clear();
        self.opaque.clear();
        self.applied = Applied::default();
        let weight = |(path, attributes): (&PathBuf, &Attributes)| weight_of(path) + attributes.weight();
        self.remembered = self.directories.iter().map(weight).sum::<usize>() as u64;
        let mut reader = Reader::new(archive);
        while let Some(entry) = reader.next_entry()? {
            self.count(&entry)?;
            let path = entry.path.clone();
            self.entry(entry, &mut reader.data())
                .map_err(|error| error.wrap(format!("entry {} {path:?}", self.applied.entries)))?;
        }
        Ok(self.applied.clone())
    }

    /// See [`Options::digests`].
    pub(crate) fn wants_digests(&self) -> bool {
        self.options.digests
    }

    fn count(&mut self, entry: &Entry) -> Result<()> {
        self.applied.entries += 1;
        if let Kind::File { size, .. } = entry.kind {
            self.applied.bytes = self.applied.bytes.saturating_add(size);
        }
        let limits = &self.options.limits;
        if self.applied.entries > limits.entries || self.applied.bytes > limits.bytes {
            return Err(Error::new(
                ErrorKind::Hostile,
                format!(
                    "the layer unpacks to more than {} bytes or {} entries",
                    limits.bytes, limits.entries
                ),
            ));
        }
        Ok(())
    }

    /// Before something is kept in memory.
    fn remember_bytes(&mut self, weight: usize) -> Result<()> {
        self.remembered = self.remembered.saturating_add(weight as u64);
        let limit = self.options.limits.memory;
        if self.remembered > limit {
            let message =
                format!("the layer's directories and whiteouts take more than {limit} bytes of memory");
            return Err(Error::new(ErrorKind::Hostile, message));
        }
        Ok(())
    }

    /// What a directory gets at the end.
    fn describe_later(&mut self, path: PathBuf, attributes: Attributes) -> Result<()> {
        self.remember_bytes(weight_of(&path) + attributes.weight())?;
        self.directories.insert(path, attributes);
        Ok(())
    }

    fn entry(&mut self, entry: Entry, data: &mut impl BufRead) -> Result<()> {
        let Some(name) = entry.path.file_name() else {
            return self.root_entry(entry);
        };
        let parent_path = entry.path.parent().unwrap_or(Path::new(""));
        if let Some(hidden) = name.as_bytes().strip_prefix(b".wh.") {
            return self.whiteout(parent_path, OsStr::from_bytes(hidden));
        }
        let parent = self.directory(parent_path)?;
        let name = name.to_owned();
        if let Form::Plain { .. } = self.options.form {
            self.touch(parent.path_of(&name))?;
        }
        self.create(&parent, &name, entry, data)
    }

    /// The entry for the root itself may only set a directory's attributes.
    fn root_entry(&mut self, entry: Entry) -> Result<()> {
        if entry.kind != Kind::Directory {
            return Err(Error::new(ErrorKind::Hostile, "the root of a layer can only be a directory"));
        }
        self.describe_later(PathBuf::new(), Attributes::of(entry))
    }

    fn touch(&mut self, path: PathBuf) -> Result<()> {
        let mut next = Some(path);
        while let Some(path) = next {
            next = path.parent().map(Path::to_owned);
            if self.touched.contains(&path) {
                break;
            }
            self.remember_bytes(weight_of(&path))?;
            self.touched.insert(path);
        }
        Ok(())
    }

    /// Forgets what is known of `path` and everything below it, because it is being removed.
    fn forget(&mut self, path: &Path) {
        self.cache.retain(|as_written, parent| {
            as_written.as_os_str().is_empty() || {
                !parent.path.starts_with(path) && !as_written.starts_with(path)
            }
        });
        let directories = self.directories.range::<Path, _>(at_or_behind(path)).map(|(dir, _)| dir);
        for dir in at_or_below(path, directories) {
            self.directories.remove(&dir);
        }
        for set in [&mut self.opaque, &mut self.whiteouts] {
            for dir in at_or_below(path, set.range::<Path, _>(at_or_behind(path))) {
                set.remove(&dir);
            }
        }
    }
}

/// A path and what holds it.
fn weight_of(path: &Path) -> usize {
    path.as_os_str().len() + 128
}

fn at_or_behind(path: &Path) -> (Bound<&Path>, Bound<&Path>) {
    (Bound::Included(path), Bound::Unbounded)
}

/// Paths sort by their components, so what lies below one follows it at once: nothing else is looked at.
fn at_or_below<'a>(path: &Path, sorted: impl Iterator<Item = &'a PathBuf>) -> Vec<PathBuf> {
    sorted.take_while(|one| one.starts_with(path)).cloned().collect()
}

#[cfg(test)]
mod tests;
