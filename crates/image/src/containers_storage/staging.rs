// SPDX-License-Identifier: Apache-2.0
//! Where layers are unpacked before they belong to the storage: a directory of this process in `<graph root>/tmp`, with a
//! lock on the directory itself. One whose lock is free was left by a process that was killed; the next one removes it.

use std::fs::File;

use conex_sys::Errno;
use conex_sys::path::Dir;

use crate::layout::files;
use crate::{Result, Wrap};

const PREFIX: &str = "conex-";

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
        loop {
            let name = format!("{PREFIX}{}", files::temporary_name().trim_start_matches('.'));
            tmp.remove_all(&name)?;
            tmp.make_dir(&name, 0o700)?;
            let dir = tmp.open_dir(&name)?;
            let lock = dir.reopen()?.into_file();
            lock.lock().wrap(|| "lock")?;
            // Until it was locked, another one's sweep may have taken it for a dead one's.
            let own = conex_sys::path::stat(&dir)?.st_ino;
            if tmp.stat(&name).is_ok_and(|stat| stat.st_ino == own) {
                return Ok(Self { tmp, name, dir, _lock: lock });
            }
        }
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
        match tmp.open_dir(&entry.name) {
            Ok(dir) if dir.reopen()?.into_file().try_lock().is_ok() => tmp.remove_all(&entry.name)?,
            // Its owner lives, or has just removed it.
            Ok(_) => {}
            Err(error) if error.errno() == Errno::NOENT => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
