// SPDX-License-Identifier: Apache-2.0
//! Places to mount on: what a run needs and the tree lacks is made before it and taken away after it, so that it is in no
//! layer. Taken away is only what was made here, by its inode, in the directory that is still held open: whatever the
//! run has put at that name meanwhile stays, wherever it leads.

use std::ffi::OsString;
use std::path::{Component, Path};

use conex_image::layer::tar::Time;
use conex_sys::path::{Dir, FileType, Root, Stat};

use crate::Result;

/// What was made, in this order.
#[derive(Debug, Default)]
pub(super) struct Stubs(Vec<Stub>);

#[derive(Debug)]
struct Stub {
    parent: Dir,
    /// The parent as it was.
    before: Stat,
    name: OsString,
    made: Stat,
}

/// What is mounted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
}

impl Stubs {
    /// Makes what is missing of `target` in `root`. A target that leads through a dangling link is left to the runtime.
    pub(super) fn make(&mut self, root: &Root, target: &Path, kind: Kind) -> Result<()> {
        let mut below = Path::new("").to_path_buf();
        let names: Vec<&std::ffi::OsStr> = target
            .components()
            .filter_map(|component| match component {
                Component::Normal(name) => Some(name),
                _ => None,
            })
            .collect();
        for (at, name) in names.iter().enumerate() {
            let parent = root.open_dir(&below)?;
            below.push(name);
            if parent.find(name)?.is_some() {
                continue;
            }
            let before = conex_sys::path::stat(&parent)?;
            match kind {
                Kind::File if at + 1 == names.len() => drop(parent.create_file(name, 0o644)?),
                _ => parent.make_dir(name, 0o755)?,
            }
            let made = parent.stat(name)?;
            self.0.push(Stub { parent, before, name: (*name).to_owned(), made });
        }
        Ok(())
    }

    /// Takes away what is still as it was made.
    pub(super) fn remove(self) -> Result<()> {
        for stub in self.0.into_iter().rev() {
            let Some(found) = stub.parent.find(&stub.name)? else { continue };
            if (found.st_dev, found.st_ino) != (stub.made.st_dev, stub.made.st_ino) {
                continue;
            }
            match FileType::from_raw_mode(found.st_mode) {
                FileType::RegularFile if found.st_size == 0 => stub.parent.remove_file(&stub.name)?,
                FileType::Directory if stub.parent.open_dir(&stub.name)?.entries()?.is_empty() => {
                    stub.parent.remove_dir(&stub.name)?;
                }
                _ => continue,
            }
            let time = |sec, nsec: u64| Time { sec, nsec: u32::try_from(nsec).unwrap_or(0) };
            let before = stub.before;
            let accessed = time(before.st_atime, before.st_atime_nsec);
            conex_sys::path::set_times(&stub.parent, accessed, time(before.st_mtime, before.st_mtime_nsec))?;
        }
        Ok(())
    }
}
