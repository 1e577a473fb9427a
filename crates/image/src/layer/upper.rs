// SPDX-License-Identifier: Apache-2.0
//! image-spec v1.1: layer.md#whiteouts; Documentation/filesystems/overlayfs.rst
//!
//! An overlay's upper directory as an archive: the inverse of [`super::apply`] in overlay form. The same directory always
//! gives the same bytes: names are walked in their byte order, parents before children.
//!
//! | in the directory | in the archive |
//! |---|---|
//! | character device 0/0 called `NAME` | `.wh.NAME` |
//! | `trusted.overlay.opaque=y` or `user.overlay.opaque=y` of a directory | `.wh..wh..opq` in it, first |
//! | other `*.overlay.X` | nothing: overlayfs' notes to itself |
//! | `*.overlay.overlay.X` | `*.overlay.X` |
//!
//! The root is only written where it is not what an archive without an entry for it gives: root's, mode 755.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;

use conex_sys::Errno;
use conex_sys::path::{Dir, FileType};

use super::pack::{Options, Packer};
use super::unlock;
use crate::{Error, Result, Wrap};

/// Directories in directories; each holds two open.
const MAX_DEPTH: usize = 256;

/// The attribute's value that hides what lies below a directory.
const OPAQUE: &[u8] = b"y";

/// What was packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// Names, whiteouts among them.
    pub(crate) entries: u64,
    /// Bytes of regular files.
    pub(crate) bytes: u64,
}

/// Writes the archive of `upper`, whose attributes are called `user.overlay.*` where `userxattr` says so.
pub(crate) fn pack(upper: &Dir, output: impl Write, options: Options, userxattr: bool) -> Result<Contents> {
    let attribute: &[u8] = if userxattr { b"user.overlay.opaque" } else { b"trusted.overlay.opaque" };
    let packer = Packer::of_overlay(output, options);
    let mut walk = Walk { packer, attribute, contents: Contents::default() };
    let stat = conex_sys::path::stat(upper)?;
    if (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid) != (0o755, 0, 0) {
        walk.packer.add_dir(upper, Path::new(""))?;
    }
    walk.directory(upper, Path::new(""), 0)?;
    walk.packer.finish()?;
    Ok(walk.contents)
}

struct Walk<W> {
    packer: Packer<W>,
    attribute: &'static [u8],
    contents: Contents,
}

impl<W: Write> Walk<W> {
    fn directory(&mut self, dir: &Dir, path: &Path, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::invalid(format!("{path:?}: directories nested deeper than {MAX_DEPTH}")));
        }
        if self.is_opaque(dir)? {
            self.packer.opaque(path)?;
        }
        let mut entries = dir.entries()?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        for entry in entries {
            let path = path.join(&entry.name);
            self.name(dir, &entry.name, &path, depth).wrap(|| format!("{path:?}"))?;
        }
        Ok(())
    }

    fn name(&mut self, dir: &Dir, name: &OsStr, path: &Path, depth: usize) -> Result<()> {
        let stat = dir.stat(name)?;
        self.contents.entries += 1;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::CharacterDevice if stat.st_rdev == 0 => self.packer.whiteout(path),
            FileType::Directory => {
                self.packer.add(dir, name, path)?;
                let (below, _unlocked) = unlock::open_dir(dir, name)?;
                self.directory(&below, path, depth + 1)
            }
            FileType::RegularFile => {
                self.contents.bytes += stat.st_size.unsigned_abs();
                self.packer.add(dir, name, path)
            }
            _ => self.packer.add(dir, name, path),
        }
    }

    fn is_opaque(&self, dir: &Dir) -> Result<bool> {
        match conex_sys::path::get_xattr(dir, self.attribute) {
            Ok(value) => Ok(value == OPAQUE),
            Err(error) if matches!(error.errno(), Errno::NODATA | Errno::NOTSUP | Errno::PERM) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// The name in an image of an attribute in overlay form; `None` where it is overlayfs' own.
pub(crate) fn unescaped(name: &[u8]) -> Option<Vec<u8>> {
    for prefix in [&b"trusted.overlay."[..], b"user.overlay."] {
        if let Some(rest) = name.strip_prefix(prefix) {
            return rest.strip_prefix(b"overlay.").map(|rest| [prefix, rest].concat());
        }
    }
    Some(name.to_vec())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::layer::tar::Reader;

    fn names(archive: &[u8]) -> Vec<PathBuf> {
        let mut reader = Reader::new(archive);
        std::iter::from_fn(|| reader.next_entry().unwrap().map(|entry| entry.path)).collect()
    }

    #[test]
    fn attributes_of_overlayfs_stay_behind() {
        assert_eq!(unescaped(b"trusted.overlay.origin"), None);
        assert_eq!(unescaped(b"user.overlay.overlay.x"), Some(b"user.overlay.x".to_vec()));
        assert_eq!(unescaped(b"user.x"), Some(b"user.x".to_vec()));
    }

    #[test]
    fn names_come_in_order_and_the_root_where_it_says_something() {
        let scratch = tempfile::tempdir().unwrap();
        for name in ["b", "a"] {
            std::fs::create_dir(scratch.path().join(name)).unwrap();
            std::fs::write(scratch.path().join(name).join("f"), name).unwrap();
        }
        let dir = Dir::open_host(scratch.path()).unwrap();
        conex_sys::path::chmod(&dir, 0o700).unwrap();
        let packed = |dir: &Dir| {
            let mut archive = Vec::new();
            let contents = pack(dir, &mut archive, Options::default(), true).unwrap();
            assert_eq!(contents, Contents { entries: 4, bytes: 2 });
            archive
        };
        let first = packed(&dir);
        assert_eq!(names(&first), ["", "a", "a/f", "b", "b/f"].map(PathBuf::from));
        assert_eq!(packed(&dir), first);
    }

    #[test]
    fn an_opaque_directory_says_so_first() {
        let scratch = tempfile::tempdir().unwrap();
        let at = scratch.path().join("d");
        std::fs::create_dir(&at).unwrap();
        std::fs::write(at.join("!"), "").unwrap();
        let below = Dir::open_host(&at).unwrap();
        conex_sys::path::set_xattr(&below, b"user.overlay.opaque", b"y").unwrap();
        let mut archive = Vec::new();
        let dir = Dir::open_host(scratch.path()).unwrap();
        pack(&dir, &mut archive, Options::default(), true).unwrap();
        let names = names(&archive);
        assert_eq!(&names[names.len() - 3..], ["d", "d/.wh..wh..opq", "d/!"].map(PathBuf::from));
    }
}
