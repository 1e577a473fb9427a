// SPDX-License-Identifier: Apache-2.0
//! Places on the host that a user named: a store, a layout, an archive, a bundle. The only place of this crate where a path
//! string reaches the kernel.
#![expect(clippy::disallowed_methods, reason = "the path is the user's own word, not an image's")]

use std::ffi::OsString;
use std::fs::{DirBuilder, File};
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use conex_sys::path::Dir;

use crate::{Error, ErrorKind, Result, Wrap};

/// Opens a directory, and makes it and its parents where they are missing.
pub(crate) fn make_dir(path: &Path, mode: u32) -> Result<Dir> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    made.wrap(|| format!("make directory {}", path.display()))?;
    Ok(Dir::open_host(path)?)
}

/// Opens a file for reading.
pub(crate) fn open_file(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Error::new(ErrorKind::NotFound, format!("{}: {error}", path.display()))
        }
        _ => Error::from(error).wrap(format!("open {}", path.display())),
    })
}

/// Opens what is no file with a place of its own for writing: a pipe, a device, `/dev/stdout` wherever that leads. `None` where
/// there is a regular file, or nothing.
pub(crate) fn open_stream(path: &Path) -> Result<Option<File>> {
    let is_of_process = ["/dev", "/proc"].iter().any(|place| path.starts_with(place));
    let is_stream = path.metadata().is_ok_and(|about| !about.is_dir() && (is_of_process || !about.is_file()));
    match is_stream {
        true => File::options().write(true).open(path).map(Some).wrap(|| format!("open {}", path.display())),
        false => Ok(None),
    }
}

/// The directory that a file is or shall be in, made where it is missing, and the file's name there.
pub(crate) fn parent(path: &Path) -> Result<(Dir, OsString)> {
    let Some(name) = path.file_name() else {
        return Err(Error::new(ErrorKind::Usage, format!("{} is not the name of a file", path.display())));
    };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((make_dir(parent, 0o755)?, name.to_owned()))
}

/// Whether there is something of this name.
pub(crate) fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Removes a directory if it is empty, as a part of cleaning up after a failure that matters more.
pub(crate) fn remove_if_empty(path: &Path) {
    let _ = std::fs::remove_dir(path);
}

/// Bytes that nobody guesses, and that nobody has written before.
pub(crate) fn random(bytes: &mut [u8]) -> Result<()> {
    open_file(Path::new("/dev/urandom"))?.read_exact(bytes).wrap(|| "/dev/urandom")
}
