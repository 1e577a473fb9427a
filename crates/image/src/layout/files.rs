// SPDX-License-Identifier: Apache-2.0
//! Small files that are replaced as a whole.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU32, Ordering};

use conex_sys::Errno;
use conex_sys::path::Dir;

use crate::{Error, Result, Wrap};

/// What temporary names begin with. Whatever is called so belongs to a running process or is garbage.
pub(crate) const TEMPORARY: &str = ".tmp-";

/// A name that nothing else has.
pub(crate) fn temporary_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{TEMPORARY}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Reads a whole file of at most `limit` bytes.
pub(crate) fn read(file: &File, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(Error::invalid(format!("larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// What to do where there is a file of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    Replace,
    Keep,
}

/// Writes a file that is there whole or not at all, also after a power cut.
pub(crate) fn write(dir: &Dir, name: &str, bytes: &[u8], mode: u32, existing: Existing) -> Result<()> {
    let temporary = temporary_name();
    // A process of our number that died in the middle may have left one.
    dir.remove_all(&temporary)?;
    let attempt = || -> Result<()> {
        let mut file = dir.create_file(&temporary, mode)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        match existing {
            Existing::Replace => dir.rename(&temporary, dir, name)?,
            Existing::Keep => keep(dir.rename_new(&temporary, dir, name))?,
        }
        Ok(dir.sync()?)
    };
    let result = attempt().wrap(|| format!("write {name}"));
    if result.is_err() || existing == Existing::Keep {
        // After a failure there is nothing better to do than to try.
        let _ = dir.remove_file(&temporary);
    }
    result
}

fn keep(renamed: conex_sys::Result<()>) -> conex_sys::Result<()> {
    match renamed {
        Err(error) if error.errno() == Errno::EXIST => Ok(()),
        other => other,
    }
}

/// Opens a subdirectory, and makes it where it is missing.
pub(crate) fn subdirectory(dir: &Dir, name: impl AsRef<OsStr>, mode: u32) -> Result<Dir> {
    let name = name.as_ref();
    match dir.open_dir(name) {
        Err(error) if error.errno() == Errno::NOENT => {}
        other => return Ok(other?),
    }
    keep(dir.make_dir(name, mode))?;
    dir.sync()?;
    Ok(dir.open_dir(name)?)
}
