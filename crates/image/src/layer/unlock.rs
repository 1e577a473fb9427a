// SPDX-License-Identifier: Apache-2.0
//! Reading files of one's own whose mode locks even their owner out, as an ordinary user meets them in a tree that was
//! root's: `/etc/shadow` with mode 0, say. The mode is changed for as long as it takes and then put back. A process
//! that is killed in between leaves the owner's permissions; nobody else ever gets any.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Component, Path};

use conex_sys::Errno;
use conex_sys::path::Dir;

use crate::{Error, Result};

/// Puts a mode back when it is dropped.
#[derive(Debug)]
pub(crate) struct Unlocked(Option<(Dir, OsString, u32)>);

impl Drop for Unlocked {
    fn drop(&mut self) {
        if let Some((dir, name, mode)) = &self.0 {
            // There is nobody to tell; the next comparison shows it.
            let _ = dir.chmod(name, *mode);
        }
    }
}

/// Opens a file for reading.
pub(crate) fn open_file(dir: &Dir, name: &OsStr) -> Result<(File, Unlocked)> {
    opened(dir, name, 0o400, || dir.open_file(name))
}

/// Opens a directory, to read and to go further.
pub(crate) fn open_dir(dir: &Dir, name: &OsStr) -> Result<(Dir, Unlocked)> {
    const NEEDED: u32 = 0o500;
    let (below, unlocked) = opened(dir, name, NEEDED, || dir.open_dir(name))?;
    // Readable, and yet nobody can look at what is in it.
    let is_closed =
        unlocked.0.is_none() && below.find("x").is_err_and(|error| error.errno() == Errno::ACCESS);
    let unlocked = if is_closed { unlock(dir, name, NEEDED)? } else { unlocked };
    Ok((below, unlocked))
}

/// Opens the directory at `path` below `root`, by one name after the other and through no link.
pub(crate) fn open_path(root: &Dir, path: &Path) -> Result<(Dir, Vec<Unlocked>)> {
    let (mut dir, mut unlocked) = (root.try_clone()?, Vec::new());
    for component in path.components() {
        let Component::Normal(name) = component else {
            return Err(Error::invalid(format!("{path:?} is not a path below a root")));
        };
        let (below, lock) = open_dir(&dir, name)?;
        unlocked.push(lock);
        dir = below;
    }
    Ok((dir, unlocked))
}

fn opened<T>(
    dir: &Dir,
    name: &OsStr,
    needed: u32,
    open: impl Fn() -> conex_sys::Result<T>,
) -> Result<(T, Unlocked)> {
    match open() {
        Err(error) if error.errno() == Errno::ACCESS => {
            let unlocked = unlock(dir, name, needed)?;
            Ok((open()?, unlocked))
        }
        other => Ok((other?, Unlocked(None))),
    }
}

fn unlock(dir: &Dir, name: &OsStr, needed: u32) -> Result<Unlocked> {
    let mode = dir.stat(name)?.st_mode & 0o7777;
    dir.chmod(name, mode | needed)?;
    Ok(Unlocked(Some((dir.try_clone()?, name.to_owned(), mode))))
}
