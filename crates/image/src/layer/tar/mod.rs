// SPDX-License-Identifier: Apache-2.0
//! image-spec v1.1: layer.md#distributable-format (POSIX.1-2001 `pax`, `ustar`, GNU's and V7's tar)
//!
//! ```text
//!  [x: extended header][header][data, padded to 512] … [512 × 0][512 × 0]
//! ```
//! A reader for bytes that may be hostile: whatever two tar programs might read differently is an error here. And a
//! writer whose output depends on nothing but its input.

mod header;
mod pax;
mod reader;
mod sparse;
pub(crate) mod split;
mod writer;

pub use reader::Reader;
pub use writer::Writer;

use std::ffi::OsString;
use std::path::PathBuf;

pub use conex_sys::path::Time;

/// Headers and data come in multiples of this.
const BLOCK: usize = 512;

/// One member of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Relative, without `.` and `..`; empty for the root.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// The twelve mode bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of last change.
    pub mtime: Time,
    /// Time of last access, where the archive says one.
    pub atime: Option<Time>,
    /// Extended attributes in the order of the archive.
    pub xattrs: Vec<Xattr>,
}

impl Entry {
    /// An entry of root's with no time and no extended attributes.
    pub fn new(path: impl Into<PathBuf>, kind: Kind, mode: u32) -> Self {
        let (path, xattrs) = (path.into(), Vec::new());
        Self { path, kind, mode, uid: 0, gid: 0, mtime: Time::default(), atime: None, xattrs }
    }
}

/// What a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File {
        /// Its length when unpacked.
        size: u64,
        /// Where the stored bytes lie in it, if not everywhere.
        holes: Option<Vec<Segment>>,
    },
    /// A directory.
    Directory,
    /// A symlink.
    Symlink {
        /// What it says, unchanged.
        target: OsString,
    },
    /// Another name for a member or for a file of a lower layer.
    Link {
        /// Cleaned like [`Entry::path`].
        target: PathBuf,
    },
    /// A character device.
    Char {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    Block {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

impl Kind {
    /// A regular file without holes.
    pub fn file(size: u64) -> Self {
        Self::File { size, holes: None }
    }
}

/// A stretch of a sparse file that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub len: u64,
}

/// An extended attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Xattr {
    /// `user.x`, `security.capability`, …
    pub name: Vec<u8>,
    /// Any bytes.
    pub value: Vec<u8>,
}

#[cfg(test)]
mod tests;
