// SPDX-License-Identifier: Apache-2.0
//! Where layers are unpacked before they belong to the storage: a directory of this process in `<graph root>/tmp`. One whose
//! lock is free was left by a process that was killed; the next one removes it.

use std::fs::File;

use conex_sys::Errno;
use conex_sys::path::Dir;

use crate::layout::files;
use crate::{Result, Wrap};

const PREFIX: &str = "conex-";
const LOCK: &str = "lock";

/// Gone when it is dropped.
#[derive(Debug)]
pub(super) struct Staging {
    tmp: Dir,
    name: String,
    pub(super) dir: Dir,
    _lock: File,
}

impl Staging {
    /// A new one, and away with those of the dead.
    pub(super) fn new(root: &Dir) -> Result<Self> {
        let tmp = files::subdirectory(root, "tmp", 0o700)?;
        sweep(&tmp).wrap(|| "tmp")?;
        let name = format!("{PREFIX}{}", files::temporary_name().trim_start_matches('.'));
        tmp.remove_all(&name)?;
        tmp.make_dir(&name, 0o700)?;
        let dir = tmp.open_dir(&name)?;
        let lock = dir.create_file(LOCK, 0o600)?;
        lock.lock().wrap(|| "lock")?;
        Ok(Self { tmp, name, dir, _lock: lock })
    }

    /// A file without a name.
    pub(super) fn file(&self) -> Result<File> {
        let name = files::temporary_name();
        self.dir.create_file(&name, 0o600)?;
        let file = self.dir.open_or_create_file(&name, 0o600)?;
        self.dir.remove_file(&name)?;
        Ok(file)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What stays, the next one sweeps.
        let _ = self.tmp.remove_all(&self.name);
    }
}

fn sweep(tmp: &Dir) -> Result<()> {
    for entry in tmp.entries()? {
        let is_ours = entry.name.to_str().is_some_and(|name| name.starts_with(PREFIX));
        if !is_ours {
            continue;
        }
        let lock = tmp.open_dir(&entry.name).and_then(|dir| dir.open_file(LOCK));
        match lock {
            Ok(lock) if lock.try_lock().is_ok() => tmp.remove_all(&entry.name)?,
            // Somebody is just making it, or removing it.
            Ok(_) => {}
            Err(error) if error.errno() == Errno::NOENT => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
