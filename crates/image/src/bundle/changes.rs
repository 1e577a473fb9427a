// SPDX-License-Identifier: Apache-2.0
//! image-spec v1.1: layer.md#determining-the-changes
//!
//! What of a tree is otherwise than its description says. Reads names and metadata, and content only where nothing
//! else tells: a file whose inode has not changed since the description was written (`ctime`, which nobody can set) has
//! the content that it says.
//!
//! Names of one file stay together: a layer can say of a name that it is one of a file's only if it has the file, so where
//! one of them has changed, all have.
//!
//! ```text
//!  ln a b │ mv b c   ──►   absent b, present a, present c      and not: absent b, present c
//! ```
//! The tree may be one that a container still changes. What comes out is then true of some moment of each file; what is
//! packed is looked at again.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use conex_sys::path::{Dir, FileType, Stat, Time};

use super::links::Links;
use super::mtree::{Facts, MAX_DEPTH, Node, base64, hash, type_word};
use crate::layer::apply::is_of_host;
use crate::layer::unlock;
use crate::{Error, ErrorKind, Result, Wrap};

/// A layer that is larger is refused by those who unpack it.
const MAX_BYTES: u64 = 1 << 40;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// New, or otherwise than it was.
    Present(PathBuf),
    /// Gone, with all that was in it.
    Absent(PathBuf),
}

/// Device and inode of a file with several names.
type Inode = (u64, u64);

/// How a tree is looked at.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// Nothing at or below these paths counts.
    pub masks: Vec<PathBuf>,
    /// All files belong to the caller; their owners are in an attribute.
    pub rootless: bool,
    /// When the description was whole.
    pub described: Time,
}

/// Compares what is below `root` with `was`. In each directory what is gone comes first, then what is there in the
/// order of the names: layer.md wants whiteouts before their siblings.
pub(super) fn changes(root: &Dir, was: &Node, view: &View) -> Result<Vec<Change>> {
    let mut walk =
        Walk { view, links: Links::of(was), changes: Vec::new(), changed: HashSet::new(), bytes: 0 };
    let stat = conex_sys::path::stat(root)?;
    if walk.counts(Path::new("")) && (walk.facts_differ(&was.facts, &stat) || xattrs_differ(was, root)?) {
        walk.changes.push(Found::Sure(Change::Present(PathBuf::new())));
    }
    walk.directory(root, Path::new(""), Some(was), 0)?;
    Ok(walk.together())
}

/// What the walk has found.
enum Found {
    Sure(Change),
    /// Unchanged by itself: a name of a file that has others.
    NameOf(Inode, PathBuf),
}

struct Walk<'a> {
    view: &'a View,
    links: Links<'a>,
    changes: Vec<Found>,
    /// Files with several names of which one has changed.
    changed: HashSet<Inode>,
    /// Of the files that are to be packed.
    bytes: u64,
}

impl Walk<'_> {
    /// Where one name of a file has changed, all have.
    fn together(self) -> Vec<Change> {
        let changed = self.changed;
        let sure = |found| match found {
            Found::Sure(change) => Some(change),
            Found::NameOf(inode, path) => changed.contains(&inode).then_some(Change::Present(path)),
        };
        self.changes.into_iter().filter_map(sure).collect()
    }

    fn counts(&self, path: &Path) -> bool {
        !self.view.masks.iter().any(|mask| path.starts_with(mask))
    }

    fn directory(&mut self, dir: &Dir, path: &Path, was: Option<&Node>, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::invalid(format!("{path:?}: directories nested deeper than {MAX_DEPTH}")));
        }
        let now = present(dir)?;
        let none = BTreeMap::new();
        let before = was.map_or(&none, |was| &was.children);
        for name in before.keys().filter(|name| !now.contains_key(*name)) {
            let path = path.join(name);
            if self.counts(&path) {
                self.changes.push(Found::Sure(Change::Absent(path)));
            }
        }
        for (name, stat) in now {
            let here = path.join(&name);
            if self.counts(&here) {
                self.name(dir, &name, &stat, &here, before.get(&name), depth)?;
            }
        }
        Ok(())
    }

    fn name(
        &mut self,
        dir: &Dir,
        name: &OsStr,
        stat: &Stat,
        path: &Path,
        was: Option<&Node>,
        depth: usize,
    ) -> Result<()> {
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let below = match is_dir {
            true => Some(unlock::open_dir(dir, name).wrap(|| format!("{path:?}"))?),
            false => None,
        };
        let below = below.as_ref().map(|(below, _unlocked)| below);
        let differs = match was {
            None => true,
            Some(was) => self.differs(dir, name, stat, below, was).wrap(|| format!("{path:?}"))?,
        };
        let linked = (!is_dir && stat.st_nlink > 1).then_some((stat.st_dev, stat.st_ino));
        if differs {
            self.changed.extend(linked);
            self.count(stat, path)?;
            self.changes.push(Found::Sure(Change::Present(path.to_owned())));
        } else if let Some(inode) = linked {
            self.changes.push(Found::NameOf(inode, path.to_owned()));
        }
        match below {
            Some(below) => self.directory(below, path, was.filter(|was| was.facts.kind == "dir"), depth + 1),
            None => Ok(()),
        }
    }

    /// Before anything is read: a file with holes costs whoever made it nothing.
    fn count(&mut self, stat: &Stat, path: &Path) -> Result<()> {
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            self.bytes = self.bytes.saturating_add(stat.st_size.unsigned_abs());
        }
        if self.bytes <= MAX_BYTES {
            return Ok(());
        }
        let message = format!("{path:?}: the layer would hold more than {MAX_BYTES} bytes");
        Err(Error::new(ErrorKind::Hostile, message)
            .with_hint("remove the file, or leave it out: --mask-path"))
    }

    fn differs(&self, dir: &Dir, name: &OsStr, stat: &Stat, below: Option<&Dir>, was: &Node) -> Result<bool> {
        if self.facts_differ(&was.facts, stat) {
            return Ok(true);
        }
        let linked = below.is_none() && stat.st_nlink > 1;
        if linked && !self.untouched(stat) && !self.links.are_told_apart(&was.facts) {
            return Ok(true);
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => below.map_or(Ok(true), |below| xattrs_differ(was, below)),
            FileType::Symlink => Ok(was.facts.link != Some(dir.read_link(name)?)),
            FileType::RegularFile if self.untouched(stat) => Ok(false),
            FileType::RegularFile => {
                let (file, _unlocked) = unlock::open_file(dir, name)?;
                if FileType::from_raw_mode(conex_sys::path::stat(&file)?.st_mode) != FileType::RegularFile {
                    return Ok(true);
                }
                Ok(xattrs_differ(was, &file)? || was.facts.sha256.as_deref() != Some(hash(&file)?.hex()))
            }
            _ => Ok(false),
        }
    }

    /// The kernel counts time in ticks: what happened in the tick of the description may have come after it.
    fn untouched(&self, stat: &Stat) -> bool {
        let nsec = u32::try_from(stat.st_ctime_nsec).unwrap_or(u32::MAX);
        Time { sec: stat.st_ctime, nsec } < self.view.described
    }

    /// All that stat(2) tells.
    fn facts_differ(&self, was: &Facts, stat: &Stat) -> bool {
        let kind = type_word(stat);
        let is_dir = kind == "dir";
        was.kind != kind
            || was.mode != stat.st_mode & 0o7777
            || was.time != stat.st_mtime
            || !self.view.rootless && (was.uid, was.gid) != (stat.st_uid, stat.st_gid)
            // What a directory has in it is compared by itself.
            || !is_dir && (was.size != stat.st_size || was.nlink != stat.st_nlink)
    }
}

/// What is in a directory, in the order of the names; but for sockets, which a layer has no word for.
fn present(dir: &Dir) -> Result<BTreeMap<OsString, Stat>> {
    let mut present = BTreeMap::new();
    for entry in dir.entries()? {
        if let Some(stat) = dir.find(&entry.name)?
            && FileType::from_raw_mode(stat.st_mode) != FileType::Socket
        {
            present.insert(entry.name, stat);
        }
    }
    Ok(present)
}

fn xattrs_differ(was: &Node, fd: impl std::os::fd::AsFd) -> Result<bool> {
    let mut now = BTreeMap::new();
    for name in conex_sys::path::list_xattrs(&fd)? {
        let value = conex_sys::path::get_xattr(&fd, &name)?;
        now.insert(name, base64(&value));
    }
    let differs = |a: &BTreeMap<Vec<u8>, String>, b: &BTreeMap<Vec<u8>, String>| {
        a.iter().any(|(name, value)| !is_of_host(name) && b.get(name) != Some(value))
    };
    Ok(differs(&was.facts.xattrs, &now) || differs(&now, &was.facts.xattrs))
}
