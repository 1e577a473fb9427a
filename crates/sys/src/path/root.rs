// SPDX-License-Identifier: Apache-2.0
//! A directory that paths are resolved inside of.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{Dir, shown, walk};
use crate::error::Call;
use crate::{Error, Result};

/// A directory that paths are resolved inside of, as chroot(2) would.
#[derive(Debug)]
pub struct Root {
    dir: Dir,
    walks: bool,
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// Set once openat2 turned out to be missing (before 5.6) or filtered.
static NO_OPENAT2: AtomicBool = AtomicBool::new(false);

const READ_FILE: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// How often openat2 is asked again after a rename somewhere below disturbed it.
const TRIES: usize = 128;

impl Root {
    /// Paths shall be resolved inside `dir`.
    pub fn new(dir: Dir) -> Self {
        Self { dir, walks: NO_OPENAT2.load(Ordering::Relaxed) }
    }

    /// Opens a directory of the host by path, following symlinks.
    pub fn open_host(path: &Path) -> Result<Self> {
        Dir::open_host(path).map(Self::new)
    }

    /// As [`Root::new`], but without openat2: what an old kernel gets.
    pub fn without_openat2(dir: Dir) -> Self {
        Self { dir, walks: true }
    }

    /// The directory itself.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// A handle (`O_PATH`) on what `path` leads to, all symlinks followed.
    pub fn resolve(&self, path: impl AsRef<Path>) -> Result<OwnedFd> {
        self.open(path.as_ref(), OFlags::PATH)
    }

    /// [`Self::resolve`], or `None` where there is nothing, or the way leads through what is no directory. Costs a
    /// single call either way: an error's text would need a look into /proc.
    pub fn find(&self, path: impl AsRef<Path>) -> Result<Option<OwnedFd>> {
        let path = path.as_ref();
        match self.answer(path, OFlags::PATH) {
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            answer => self.told(answer, path, OFlags::PATH).map(Some),
        }
    }

    /// [`Self::open_dir`], or `None` where there is nothing.
    pub fn find_dir(&self, path: impl AsRef<Path>) -> Result<Option<Dir>> {
        let path = path.as_ref();
        match self.answer(path, OFlags::DIRECTORY) {
            Err(Errno::NOENT) => Ok(None),
            answer => self.told(answer, path, OFlags::DIRECTORY).map(|fd| Some(Dir::from(fd))),
        }
    }

    /// Opens a directory, all symlinks followed.
    pub fn open_dir(&self, path: impl AsRef<Path>) -> Result<Dir> {
        self.open(path.as_ref(), OFlags::DIRECTORY).map(Dir::from)
    }

    /// Opens a file for reading, all symlinks followed. Does not wait for the other end of a FIFO.
    pub fn open_file(&self, path: impl AsRef<Path>) -> Result<File> {
        self.open(path.as_ref(), READ_FILE).map(File::from)
    }

    /// Opens a file for reading, if it is a regular one: `None` for anything else and where there is nothing.
    pub fn open_regular(&self, path: impl AsRef<Path>) -> Result<Option<File>> {
        let path = path.as_ref();
        let absent = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::NXIO];
        let file = match self.answer(path, READ_FILE) {
            Err(errno) if absent.contains(&errno) => return Ok(None),
            answer => File::from(self.told(answer, path, READ_FILE)?),
        };
        let kind = rustix::fs::FileType::from_raw_mode(super::stat(&file)?.st_mode);
        Ok((kind == rustix::fs::FileType::RegularFile).then_some(file))
    }

    /// The directory that the last component of `path` lies in, and that component, which is not looked at.
    /// `EINVAL` where the path ends in `..` or means the root itself.
    pub fn parent(&self, path: impl AsRef<Path>) -> Result<(Dir, OsString)> {
        let path = path.as_ref();
        let name = path.file_name().ok_or_else(|| Error::new(format!("parent of {path:?}"), Errno::INVAL))?;
        let parent = path.parent().unwrap_or(Path::new(""));
        Ok((self.open_dir(parent)?, name.to_owned()))
    }

    /// Opens a directory, and makes what is missing on the way. The umask applies to `mode`.
    pub fn make_dir_all(&self, path: impl AsRef<Path>, mode: u32) -> Result<Dir> {
        let path = path.as_ref();
        if path.components().any(|component| component == Component::ParentDir) {
            return Err(Error::new(format!("mkdir -p {path:?}: has \"..\""), Errno::INVAL));
        }
        let mut missing: Vec<&OsStr> = Vec::new();
        let mut rest = path;
        let mut here = loop {
            match self.find_dir(rest)? {
                Some(found) => break found,
                None if rest.file_name().is_some() => {
                    missing.extend(rest.file_name());
                    rest = rest.parent().unwrap_or(Path::new(""));
                }
                None => break self.open_dir(rest)?,
            }
        };
        for name in missing.into_iter().rev() {
            match here.make_dir(name, mode) {
                Err(error) if error.errno() == Errno::EXIST => {}
                other => other?,
            }
            here = here.open_dir(name)?;
        }
        Ok(here)
    }

    fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd> {
        self.told(self.answer(path, flags), path, flags)
    }

    fn answer(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        let path = not_empty(path);
        if self.walks {
            return walk::open(&self.dir, path, flags);
        }
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let mut answer = Err(Errno::AGAIN);
        for _ in 0..TRIES {
            answer = rustix::fs::openat2(&self.dir, path, flags, Mode::empty(), how);
            if !matches!(answer, Err(Errno::AGAIN | Errno::INTR)) {
                break;
            }
        }
        if matches!(answer, Err(Errno::NOSYS | Errno::PERM)) {
            answer = walk::open(&self.dir, path, flags);
            if answer.is_ok() {
                NO_OPENAT2.store(true, Ordering::Relaxed);
            }
        }
        answer
    }

    fn told(&self, answer: rustix::io::Result<OwnedFd>, path: &Path, flags: OFlags) -> Result<OwnedFd> {
        let path = not_empty(path);
        answer.call(|| match self.walks {
            true => format!("walk({}, {path:?}, {flags:?})", shown(&self.dir)),
            false => format!("openat2({}, {path:?}, {{{flags:?}, RESOLVE_IN_ROOT}})", shown(&self.dir)),
        })
    }
}

/// The kernel knows no empty path.
fn not_empty(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}
