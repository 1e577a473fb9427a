// SPDX-License-Identifier: Apache-2.0
//! `tmpcopyup`: a tmpfs that begins with a copy of what it hides. Modes, owners, links and times are kept.

use std::os::fd::AsFd;

use conex_sys::path::{self, Dir, Entry, FileType, Time};

use crate::Result;

/// Copies everything in `from` into `to`, and `from`'s own mode and owner.
pub(super) fn copy(from: &Dir, to: &Dir) -> Result<()> {
    for Entry { name, .. } in from.entries()? {
        let stat = from.stat(&name)?;
        let mode = stat.st_mode & 0o7777;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                to.make_dir(&name, mode)?;
                copy(&from.open_dir(&name)?, &to.open_dir(&name)?)?;
                continue;
            }
            FileType::Symlink => to.make_symlink(&from.read_link(&name)?, &name)?,
            FileType::RegularFile => {
                let mut copy = to.create_file(&name, mode)?;
                std::io::copy(&mut from.open_file(&name)?, &mut copy)?;
            }
            other => {
                let (major, minor) = path::device_number(&stat);
                to.make_node(&name, other, mode, major, minor)?;
            }
        }
        to.chown(&name, stat.st_uid, stat.st_gid)?;
        let modified =
            Time { sec: stat.st_mtime, nsec: u32::try_from(stat.st_mtime_nsec).unwrap_or_default() };
        to.set_times(&name, modified, modified)?;
    }
    let own = path::stat(from.as_fd())?;
    path::chown(to, own.st_uid, own.st_gid)?;
    path::chmod(to, own.st_mode & 0o7777)?;
    Ok(())
}
