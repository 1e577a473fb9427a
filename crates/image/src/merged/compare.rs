// SPDX-License-Identifier: Apache-2.0
//! What of one tree is otherwise in another. Pure.

use std::path::PathBuf;

use super::{Inode, Merged};
use crate::layer::tar::{Entry, Kind, Xattr};

/// How a path differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Only in the second tree.
    Added,
    /// Only in the first.
    Removed,
    /// In both, but these are not the same: `type`, `mode`, `owner`, `size`, `content`, `target`, `device`, `time`,
    /// `xattrs`, `links`.
    Changed(Vec<&'static str>),
}

/// One path that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// From the root.
    pub path: PathBuf,
    /// How.
    pub change: Change,
}

impl Merged {
    /// All that differs, in the order of the paths. Both must have been read with [`super::Hash::Files`].
    pub fn compare(&self, other: &Self) -> Vec<Difference> {
        let mut differences = Vec::new();
        let (ours, theirs) = (self.link_names(), other.link_names());
        let (mut left, mut right) = (self.names.iter().peekable(), other.names.iter().peekable());
        loop {
            let order = match (left.peek(), right.peek()) {
                (None, None) => return differences,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some((one, _)), Some((another, _))) => one.cmp(another),
            };
            let one = if order.is_le() { left.next() } else { None };
            let another = if order.is_ge() { right.next() } else { None };
            let (path, change) = match (one, another) {
                (Some((path, one)), Some((_, another))) => {
                    let mut what = facts_differ(&self.inodes[*one], &other.inodes[*another]);
                    what.extend((ours[*one] != theirs[*another]).then_some("links"));
                    if what.is_empty() {
                        continue;
                    }
                    (path, Change::Changed(what))
                }
                (Some((path, _)), None) => (path, Change::Removed),
                (None, Some((path, _))) => (path, Change::Added),
                (None, None) => return differences,
            };
            differences.push(Difference { path: path.clone(), change });
        }
    }

    /// The names of each file that has several.
    fn link_names(&self) -> Vec<Vec<&PathBuf>> {
        let mut names = vec![Vec::new(); self.inodes.len()];
        for (path, inode) in &self.names {
            names[*inode].push(path);
        }
        names.into_iter().map(|names| if names.len() > 1 { names } else { Vec::new() }).collect()
    }
}

fn facts_differ(one: &Inode, another: &Inode) -> Vec<&'static str> {
    let (a, b) = (&one.entry, &another.entry);
    let mut what = kinds_differ(&a.kind, &b.kind);
    let is_link = matches!((&a.kind, &b.kind), (Kind::Symlink { .. }, Kind::Symlink { .. }));
    let facts = [
        ("mode", a.mode != b.mode && !is_link),
        ("owner", (a.uid, a.gid) != (b.uid, b.gid)),
        ("time", a.mtime != b.mtime),
        ("xattrs", xattrs(a) != xattrs(b)),
        ("content", what.is_empty() && one.digest != another.digest),
    ];
    what.extend(facts.into_iter().filter_map(|(name, differs)| differs.then_some(name)));
    what
}

fn kinds_differ(a: &Kind, b: &Kind) -> Vec<&'static str> {
    let differs = match (a, b) {
        (Kind::File { size: a, .. }, Kind::File { size: b, .. }) => (a != b).then_some("size"),
        (Kind::Symlink { target: a }, Kind::Symlink { target: b }) => (a != b).then_some("target"),
        (Kind::Char { .. }, Kind::Char { .. }) | (Kind::Block { .. }, Kind::Block { .. }) => {
            (a != b).then_some("device")
        }
        _ => (std::mem::discriminant(a) != std::mem::discriminant(b)).then_some("type"),
    };
    differs.into_iter().collect()
}

fn xattrs(entry: &Entry) -> Vec<&Xattr> {
    let mut xattrs: Vec<_> = entry.xattrs.iter().collect();
    xattrs.sort_by(|a, b| a.name.cmp(&b.name));
    xattrs
}
