// SPDX-License-Identifier: Apache-2.0
//! image-spec v1.1: layer.md#creating
//!
//! Files into a layer's archive: the inverse of [`super::apply`] in its plain form. Which files is the caller's business
//! (`bundle::changes`, `mutate::insert`); the tree may be one that a hostile container has written, and still runs in:
//!
//! * every file is opened by one name in an open directory, without following links, and never one that blocks;
//! * what changes while it is read is an error, not half a file;
//! * names that a layer could only read as whiteouts are refused.
//!
//! Times are whole seconds, owners are numbers without names, a second name of a file is a link to the first: the
//! same files give the same bytes.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use conex_sys::path::{Dir, FileType, Stat, device_number};
use serde::{Deserialize, Serialize};

use super::apply::{Owner, ROOTLESS_XATTR, read_rootless};
use super::tar::{Entry, Kind, Time, Writer, Xattr};
use super::{unlock, upper};
use crate::{Error, ErrorKind, Result, Wrap};

/// What names of whiteouts begin with.
pub(crate) const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// How files become entries.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How owners on disk came about: they are mapped back.
    pub owner: Owner,
    /// What becomes of times.
    pub times: Times,
}

/// What becomes of files' times; in seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Times {
    /// They stay.
    #[default]
    Kept,
    /// Later ones become this one.
    AtMost(i64),
    /// All become this one.
    All(i64),
}

impl Times {
    fn apply(self, time: i64) -> i64 {
        match self {
            Self::Kept => time,
            Self::AtMost(latest) => time.min(latest),
            Self::All(time) => time,
        }
    }
}

/// A layer under way.
#[derive(Debug)]
pub struct Packer<W> {
    writer: Writer<W>,
    options: Options,
    /// The names of attributes are overlayfs'.
    overlay: bool,
    /// Files with several names, by device and inode: the first name.
    links: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> Packer<W> {
    /// Nothing packed yet.
    pub fn new(output: W, options: Options) -> Self {
        Self { writer: Writer::new(output), options, overlay: false, links: HashMap::new() }
    }

    /// The same, for files that lie there in overlay form.
    pub(crate) fn of_overlay(output: W, options: Options) -> Self {
        Self { overlay: true, ..Self::new(output, options) }
    }

    /// Adds the file `name` of `dir` as `path`. What tar has no word for, a socket, is left out.
    pub fn add(&mut self, dir: &Dir, name: &OsStr, path: &Path) -> Result<()> {
        self.add_name(dir, name, path).wrap(|| format!("{path:?}"))
    }

    fn add_name(&mut self, dir: &Dir, name: &OsStr, path: &Path) -> Result<()> {
        let stat = dir.stat(name)?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => return self.add_file(dir, name, path, &stat),
            FileType::Directory => {
                let (below, _unlocked) = unlock::open_dir(dir, name)?;
                return self.add_described(&below, path, &stat);
            }
            FileType::Socket => return Ok(()),
            FileType::Symlink => Kind::Symlink { target: dir.read_link(name)? },
            FileType::Fifo => Kind::Fifo,
            FileType::CharacterDevice => {
                let (major, minor) = device_number(&stat);
                Kind::Char { major, minor }
            }
            FileType::BlockDevice => {
                let (major, minor) = device_number(&stat);
                Kind::Block { major, minor }
            }
            FileType::Unknown => return Err(Error::invalid("is of no known type")),
        };
        if self.add_link(path, &stat)? {
            return Ok(());
        }
        let value = |key: &[u8]| Ok(dir.get_xattr(name, key)?);
        let xattrs = read_xattrs(dir.list_xattrs(name)?, value)?;
        let entry = self.entry(path, kind, &stat, xattrs)?;
        self.writer.append_empty(&entry)
    }

    /// Adds a directory, without what is in it. An empty path is the root's.
    pub fn add_dir(&mut self, dir: &Dir, path: &Path) -> Result<()> {
        self.add_described(dir, path, &conex_sys::path::stat(dir)?)
    }

    fn add_described(&mut self, dir: &Dir, path: &Path, stat: &Stat) -> Result<()> {
        let value = |key: &[u8]| Ok(conex_sys::path::get_xattr(dir, key)?);
        let xattrs = read_xattrs(conex_sys::path::list_xattrs(dir)?, value)?;
        let entry = self.entry(path, Kind::Directory, stat, xattrs)?;
        self.writer.append_empty(&entry)
    }

    fn add_file(&mut self, dir: &Dir, name: &OsStr, path: &Path, named: &Stat) -> Result<()> {
        let (file, _unlocked) = unlock::open_file(dir, name)?;
        let file = &file;
        let mut before = conex_sys::path::stat(file)?;
        // What was a regular file a moment ago may be something else now.
        if FileType::from_raw_mode(before.st_mode) != FileType::RegularFile {
            return Err(Error::new(ErrorKind::Busy, "was exchanged while it was read"));
        }
        before.st_mode = named.st_mode;
        if self.add_link(path, &before)? {
            return Ok(());
        }
        let value = |key: &[u8]| Ok(conex_sys::path::get_xattr(file, key)?);
        let xattrs = read_xattrs(conex_sys::path::list_xattrs(file)?, value)?;
        let entry = self.entry(path, Kind::file(before.st_size.unsigned_abs()), &before, xattrs)?;
        let mut data = file;
        let written = self.writer.append(&entry, &mut data);
        if state(&conex_sys::path::stat(file)?) != state(&before) {
            return Err(Error::new(ErrorKind::Busy, "changed while it was read")
                .with_hint("stop what writes to the tree, then try again"));
        }
        written
    }

    /// A second name of what is in the layer already.
    fn add_link(&mut self, path: &Path, stat: &Stat) -> Result<bool> {
        if stat.st_nlink < 2 {
            return Ok(false);
        }
        let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) else {
            self.links.insert((stat.st_dev, stat.st_ino), path.to_owned());
            return Ok(false);
        };
        let link = Kind::Link { target: first.clone() };
        let entry = self.entry(path, link, stat, Vec::new())?;
        self.writer.append_empty(&entry)?;
        Ok(true)
    }

    fn entry(&self, path: &Path, kind: Kind, stat: &Stat, mut xattrs: Vec<Xattr>) -> Result<Entry> {
        refuse_whiteout(path)?;
        let (mut uid, mut gid) = self.options.owner.inside(stat.st_uid, stat.st_gid)?;
        if self.options.owner == Owner::Caller {
            let noted = xattrs.iter().find(|xattr| xattr.name == ROOTLESS_XATTR);
            (uid, gid) = noted.and_then(|xattr| read_rootless(&xattr.value)).unwrap_or((uid, gid));
            xattrs.retain(|xattr| xattr.name != ROOTLESS_XATTR);
        }
        if self.overlay {
            xattrs = xattrs.into_iter().filter_map(in_image).collect();
        }
        let mtime = Time { sec: self.options.times.apply(stat.st_mtime), nsec: 0 };
        Ok(Entry {
            path: path.to_owned(),
            kind,
            mode: stat.st_mode & 0o7777,
            uid,
            gid,
            mtime,
            atime: None,
            xattrs,
        })
    }

    /// Adds that `path` of the layers below is gone.
    pub fn whiteout(&mut self, path: &Path) -> Result<()> {
        refuse_whiteout(path)?;
        let name = path.file_name().ok_or_else(|| {
            Error::new(ErrorKind::Usage, format!("{path:?}: the root cannot be taken out of an image"))
        })?;
        let name = [WHITEOUT.as_bytes(), name.as_bytes()].concat();
        self.mark(path.with_file_name(OsStr::from_bytes(&name)))
    }

    /// Adds that of what the layers below have in the directory `path` nothing is to be seen.
    pub fn opaque(&mut self, path: &Path) -> Result<()> {
        refuse_whiteout(path)?;
        self.mark(path.join(OPAQUE))
    }

    fn mark(&mut self, path: PathBuf) -> Result<()> {
        self.writer.append_empty(&Entry::new(path, Kind::file(0), 0))
    }

    /// Ends the archive, and gives back what it was written to.
    pub fn finish(self) -> Result<W> {
        self.writer.finish()
    }
}

/// What changes when somebody writes.
fn state(stat: &Stat) -> (i64, i64, i64, i64, i64) {
    let nanoseconds = |time| i64::try_from(time).unwrap_or(i64::MAX);
    let (mtime, ctime) = (nanoseconds(stat.st_mtime_nsec), nanoseconds(stat.st_ctime_nsec));
    (stat.st_size, stat.st_mtime, mtime, stat.st_ctime, ctime)
}

fn refuse_whiteout(path: &Path) -> Result<()> {
    let is_whiteout = path.file_name().is_some_and(|name| name.as_bytes().starts_with(WHITEOUT.as_bytes()));
    if !is_whiteout {
        return Ok(());
    }
    let message = format!("{path:?}: a layer has no word for a file whose name begins with {WHITEOUT}");
    Err(Error::new(ErrorKind::Unsupported, message).with_hint("rename or remove it, or mask its path"))
}

/// An attribute in overlay form, as the image has it.
fn in_image(Xattr { name, value }: Xattr) -> Option<Xattr> {
    upper::unescaped(&name).map(|name| Xattr { name, value })
}

/// In the order of their names. What belongs to the host is left out, and so is an empty value, which an extended header
/// cannot hold.
fn read_xattrs(mut names: Vec<Vec<u8>>, value: impl Fn(&[u8]) -> Result<Vec<u8>>) -> Result<Vec<Xattr>> {
    names.sort();
    let mut xattrs = Vec::new();
    for name in names.into_iter().filter(|name| !super::apply::is_of_host(name)) {
        let mut value = value(&name)?;
        if name == b"security.capability" {
            value = without_namespace(value);
        }
        if !value.is_empty() {
            xattrs.push(Xattr { name, value });
        }
    }
    Ok(xattrs)
}

/// Capabilities of revision 3 say in which user namespace they count, by the host's number of its root. In an image they
/// count wherever it runs: revision 2 (linux/capability.h, `vfs_ns_cap_data`).
fn without_namespace(mut value: Vec<u8>) -> Vec<u8> {
    const REVISION_2: u8 = 2;
    const REVISION_3: u8 = 3;
    const LEN_2: usize = 20;
    if value.len() == LEN_2 + 4 && value[3] == REVISION_3 {
        value[3] = REVISION_2;
        value.truncate(LEN_2);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_lose_their_namespace() {
        let mut value = vec![1, 0, 0, 3];
        value.extend([7; 16]);
        value.extend(1000_u32.to_le_bytes());
        let bare = without_namespace(value);
        assert_eq!((bare.len(), &bare[..4]), (20, &[1, 0, 0, 2][..]));
        assert_eq!(without_namespace(bare.clone()), bare);
    }

    /// Writes to a file as soon as something is read from it.
    struct Meddler(PathBuf);

    impl Write for Meddler {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let mut file = std::fs::OpenOptions::new().append(true).open(&self.0)?;
            file.write_all(b"more")?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_is_an_error() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("f");
        std::fs::write(&path, "x").unwrap();
        let dir = Dir::open_host(scratch.path()).unwrap();
        let mut packer = Packer::new(Meddler(path.clone()), Options::default());
        let error = packer.add(&dir, OsStr::new("f"), Path::new("f")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
        let mut packer = Packer::new(Vec::new(), Options::default());
        packer.add(&dir, OsStr::new("f"), Path::new("f")).unwrap();
    }

    #[test]
    fn no_file_passes_for_a_whiteout() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join(".wh.x"), "").unwrap();
        let dir = Dir::open_host(scratch.path()).unwrap();
        let mut packer = Packer::new(Vec::new(), Options::default());
        let error = packer.add(&dir, OsStr::new(".wh.x"), Path::new("a/.wh.x")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(packer.whiteout(Path::new("")).is_err());
        packer.whiteout(Path::new("a/b")).unwrap();
        let archive = packer.finish().unwrap();
        let mut reader = crate::layer::tar::Reader::new(&archive[..]);
        assert_eq!(reader.next_entry().unwrap().unwrap().path, Path::new("a/.wh.b"));
    }
}
