// SPDX-License-Identifier: Apache-2.0
//! Ways through the tree of names.

use std::ops::Bound;
use std::path::{Path, PathBuf};

use super::Merged;
use super::apply::{Step, steps};
use crate::layer::tar::Kind;
use crate::{Error, ErrorKind, Result};

const MAX_SYMLINKS: usize = 40;

impl Merged {
    /// The path itself, if it is there, and all below it.
    pub(super) fn below<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a PathBuf> {
        let from = (Bound::Included(path), Bound::Unbounded);
        self.names.range::<Path, _>(from).map(|(name, _)| name).take_while(move |name| name.starts_with(path))
    }

    /// What is directly in a directory.
    pub(super) fn children(&self, path: &Path) -> Vec<PathBuf> {
        self.below(path).filter(|name| name.parent() == Some(path)).cloned().collect()
    }

    /// The real path of the directory that a path leads to, if it leads to one.
    pub(super) fn existing_directory(&self, path: &Path) -> Option<PathBuf> {
        let found = self.resolve(path).ok()??;
        self.at(&found).is_some_and(|inode| inode.entry.kind == Kind::Directory).then_some(found)
    }

    /// The real path of what a path leads to, through all symlinks, also a last one.
    pub(super) fn resolve(&self, path: &Path) -> Result<Option<PathBuf>> {
        let (mut here, mut symlinks) = (PathBuf::new(), 0);
        let mut ahead = steps(path);
        while let Some(step) = ahead.pop() {
            let there = match step {
                Step::Root => PathBuf::new(),
                Step::Up => here.parent().unwrap_or(Path::new("")).to_owned(),
                Step::Down(name) => here.join(name),
            };
            match self.at(&there).map(|inode| &inode.entry.kind) {
                None => return Ok(None),
                Some(Kind::Symlink { target }) => {
                    symlinks += 1;
                    if symlinks > MAX_SYMLINKS {
                        return Err(Error::new(
                            ErrorKind::Hostile,
                            format!("{path:?}: symlinks in a circle"),
                        ));
                    }
                    ahead.extend(steps(Path::new(target)));
                }
                Some(Kind::Directory) => here = there,
                // A file, which nothing is below of.
                Some(_) => return Ok(ahead.is_empty().then_some(there)),
            }
        }
        Ok(Some(here))
    }
}
