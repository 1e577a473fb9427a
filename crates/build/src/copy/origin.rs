// SPDX-License-Identifier: Apache-2.0
//! Where files are taken from.

use conex_sys::path::{Root, Stat};

use crate::ignore::Ignore;

/// A tree that files are taken from.
#[derive(Debug)]
pub struct Origin {
    /// Where it is.
    pub root: Root,
    /// What of it does not count.
    pub ignore: Ignore,
    /// Whose its files are.
    pub owners: Owners,
}

/// Whose files of an origin are, if nobody says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owners {
    /// Their own owners', as in an image.
    Kept,
    /// All root's, as in a context.
    Root,
}

impl Origin {
    /// A directory of the host with all that is in it.
    pub fn context(root: Root) -> Self {
        Self { root, ignore: Ignore::default(), owners: Owners::Root }
    }

    /// The files of an image, or of an archive.
    pub(crate) fn image(root: Root) -> Self {
        Self { root, ignore: Ignore::default(), owners: Owners::Kept }
    }
}

impl Owners {
    pub(crate) fn of(self, stat: &Stat) -> (u32, u32) {
        match self {
            Self::Root => (0, 0),
            Self::Kept => (stat.st_uid, stat.st_gid),
        }
    }
}
