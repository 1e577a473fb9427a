// SPDX-License-Identifier: Apache-2.0
//! Directories of a tree, made where they are missing. Links that lead to nothing yet are followed too, inside the tree.

use std::path::{Path, PathBuf};

use conex_sys::Errno;
use conex_sys::path::{self, Dir, FileType, Root};

use super::inside;
use super::select::MAX_LINKS;
use crate::{Error, ErrorKind, Result};

/// Makes a directory and those above it that are missing, with mode 0755 whatever the umask is.
pub(crate) fn make_directory(root: &Root, path: &Path, owner: (u32, u32)) -> Result<Dir> {
    let mut missing = Vec::new();
    let mut at = path.to_owned();
    let mut links = 0;
    let mut here = loop {
        if let Some(found) = find_directory(root, &at)? {
            break found;
        }
        match dangling(root, &at)? {
            Some(_) if links == MAX_LINKS => {
                return Err(Error::new(ErrorKind::Invalid, format!("/{}: links in a circle", at.display())));
            }
            Some(target) => {
                links += 1;
                at = target;
            }
            None => {
                missing.push(at.file_name().unwrap_or_default().to_owned());
                at = at.parent().unwrap_or(Path::new("")).to_owned();
            }
        }
    };
    for name in missing.into_iter().rev() {
        if here.find(&name)?.is_some() {
            let message = format!("{} is there, and no directory", name.display());
            return Err(Error::new(ErrorKind::Usage, message));
        }
        here = make(&here, &name)?;
        path::chown(&here, owner.0, owner.1)?;
        path::chmod(&here, 0o755)?;
    }
    Ok(here)
}

/// The directory at a path; `None` where there is nothing, or something else.
pub(super) fn find_directory(root: &Root, path: &Path) -> Result<Option<Dir>> {
    match root.find_dir(path) {
        Err(error) if error.errno() == Errno::NOTDIR => Ok(None),
        found => Ok(found?),
    }
}

/// A new directory, open.
pub(super) fn make(above: &Dir, name: &std::ffi::OsStr) -> Result<Dir> {
    above.make_dir(name, 0o700)?;
    Ok(above.open_dir(name)?)
}

/// Where a link leads that leads to nothing yet: a path of the tree, like all that its links say.
fn dangling(root: &Root, path: &Path) -> Result<Option<PathBuf>> {
    let above = path.parent().unwrap_or(Path::new(""));
    let (Some(dir), Some(name)) = (find_directory(root, above)?, path.file_name()) else { return Ok(None) };
    match dir.find(name)? {
        Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
            Ok(Some(inside(&above.join(dir.read_link(name)?))))
        }
        _ => Ok(None),
    }
}
