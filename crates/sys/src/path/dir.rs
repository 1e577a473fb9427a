// SPDX-License-Identifier: Apache-2.0
//! An open directory, and what can be done to one name in it. Nothing here follows a symlink.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RawDir, RenameFlags, Stat, Uid, XattrFlags};
use rustix::io::Errno;

use super::metadata::{Time, read_whole, show, split_names, timestamps};
use super::shown;
use crate::error::Call;
use crate::{Error, Result};

/// An open directory.
#[derive(Debug)]
pub struct Dir(OwnedFd);

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Never `.` or `..`.
    pub name: OsString,
    /// What it is; [`FileType::Unknown`] where the filesystem does not say.
    pub kind: FileType,
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Dir {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl From<Dir> for OwnedFd {
    fn from(dir: Dir) -> Self {
        dir.0
    }
}

/// A single name, neither empty nor `.` nor `..`.
fn single(name: &OsStr) -> rustix::io::Result<&OsStr> {
    let bytes = name.as_bytes();
    let good = !matches!(bytes, b"" | b"." | b"..") && !bytes.contains(&b'/');
    if good { Ok(name) } else { Err(Errno::INVAL) }
}

const READ_DIR: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

impl Dir {
    /// Opens a directory of the host by path, following symlinks. For directories that the caller was told by its
    /// user, never for one whose path came out of an image.
    pub fn open_host(path: &Path) -> Result<Self> {
        rustix::fs::open(path, READ_DIR, Mode::empty())
            .map(Self)
            .call(|| format!("open({path:?}, O_DIRECTORY)"))
    }

    /// Another file descriptor on the same open directory.
    pub fn try_clone(&self) -> Result<Self> {
        rustix::io::fcntl_dupfd_cloexec(&self.0, 3)
            .map(Self)
            .call(|| format!("fcntl({}, F_DUPFD_CLOEXEC)", shown(self)))
    }

    /// Opens the same directory anew: an own lock, an own reading position.
    pub fn reopen(&self) -> Result<Self> {
        rustix::fs::openat(&self.0, ".", READ_DIR, Mode::empty())
            .map(Self)
            .call(|| format!("openat({}, \".\", O_DIRECTORY)", shown(self)))
    }

    /// The directory as a file: for locks and `sync_all`.
    pub fn into_file(self) -> File {
        File::from(self.0)
    }

    /// Writes the directory's own entries to its device.
    pub fn sync(&self) -> Result<()> {
        rustix::fs::fsync(&self.0).call(|| format!("fsync({})", shown(self)))
    }

    pub(super) fn openat(&self, name: &OsStr, flags: OFlags, mode: u32) -> Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        single(name)
            .and_then(|name| rustix::fs::openat(&self.0, name, flags, Mode::from_raw_mode(mode)))
            .call(|| format!("openat({}, {name:?}, {flags:?}, {mode:#o})", shown(self)))
    }

    /// Opens a subdirectory.
    pub fn open_dir(&self, name: impl AsRef<OsStr>) -> Result<Self> {
        self.openat(name.as_ref(), READ_DIR, 0).map(Self)
    }

    /// Opens a file for reading. Does not wait for the other end of a FIFO.
    pub fn open_file(&self, name: impl AsRef<OsStr>) -> Result<File> {
        self.openat(name.as_ref(), OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY, 0).map(File::from)
    }

    /// Opens a file for reading and writing, and makes it where there is none.
    pub fn open_or_create_file(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<File> {
        self.openat(name.as_ref(), OFlags::RDWR | OFlags::CREATE | OFlags::NOCTTY, mode).map(File::from)
    }

    /// Makes a file that was not there, and opens it for writing. The umask applies.
    pub fn create_file(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<File> {
        self.openat(name.as_ref(), OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, mode).map(File::from)
    }

    /// A handle (`O_PATH`) on whatever has this name, be it a symlink.
    pub fn open_path(&self, name: impl AsRef<OsStr>) -> Result<OwnedFd> {
        self.openat(name.as_ref(), OFlags::PATH, 0)
    }

    /// Makes a directory. The umask applies.
    pub fn make_dir(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<()> {
        let name = name.as_ref();
        single(name)
            .and_then(|name| rustix::fs::mkdirat(&self.0, name, Mode::from_raw_mode(mode)))
            .call(|| format!("mkdirat({}, {name:?}, {mode:#o})", shown(self)))
    }

    /// Makes a symlink; `target` is kept as it is.
    pub fn make_symlink(&self, target: &OsStr, name: impl AsRef<OsStr>) -> Result<()> {
        let name = name.as_ref();
        single(name)
            .and_then(|name| rustix::fs::symlinkat(target, &self.0, name))
            .call(|| format!("symlinkat({target:?}, {}, {name:?})", shown(self)))
    }

    /// Makes a second name for `old` of `from`; a symlink is linked, not followed.
    pub fn make_link(&self, from: &Self, old: impl AsRef<OsStr>, name: impl AsRef<OsStr>) -> Result<()> {
        let (old, name) = (old.as_ref(), name.as_ref());
        single(old)
            .and_then(|old| rustix::fs::linkat(&from.0, old, &self.0, single(name)?, AtFlags::empty()))
            .call(|| format!("linkat({}, {old:?}, {}, {name:?}, 0)", shown(from), shown(self)))
    }

    /// Makes a device node or FIFO. The umask applies to `mode`.
    pub fn make_node(
        &self,
        name: impl AsRef<OsStr>,
        kind: FileType,
        mode: u32,
        major: u32,
        minor: u32,
    ) -> Result<()> {
        let name = name.as_ref();
        let device = rustix::fs::makedev(major, minor);
        single(name)
            .and_then(|name| rustix::fs::mknodat(&self.0, name, kind, Mode::from_raw_mode(mode), device))
            .call(|| format!("mknodat({}, {name:?}, {kind:?}|{mode:#o}, {major}:{minor})", shown(self)))
    }

    /// Type, mode, owner, size, times of what has this name, be it a symlink.
    pub fn stat(&self, name: impl AsRef<OsStr>) -> Result<Stat> {
        let name = name.as_ref();
        single(name)
            .and_then(|name| rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW))
            .call(|| format!("newfstatat({}, {name:?}, AT_SYMLINK_NOFOLLOW)", shown(self)))
    }

    /// [`Self::stat`], or `None` where there is nothing of that name.
    pub fn find(&self, name: impl AsRef<OsStr>) -> Result<Option<Stat>> {
        let name = name.as_ref();
        // Without an error's text, which costs a look into /proc: absence is usual.
        let found = single(name).and_then(|name| {
            match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => Ok(None),
                other => other.map(Some),
            }
        });
        found.call(|| format!("newfstatat({}, {name:?}, AT_SYMLINK_NOFOLLOW)", shown(self)))
    }

    /// What a symlink says.
    pub fn read_link(&self, name: impl AsRef<OsStr>) -> Result<OsString> {
        let name = name.as_ref();
        single(name)
            .and_then(|name| rustix::fs::readlinkat(&self.0, name, Vec::new()))
            .map(|target| OsString::from_vec(target.into_bytes()))
            .call(|| format!("readlinkat({}, {name:?})", shown(self)))
    }

    /// All names, in the order of the filesystem.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let read = || -> rustix::io::Result<_> {
            // Whoever has read this directory before has left the position at its end.
            rustix::fs::seek(&self.0, rustix::fs::SeekFrom::Start(0))?;
            let mut buffer = [MaybeUninit::uninit(); 8192];
            let (mut names, mut entries) = (RawDir::new(&self.0, &mut buffer), Vec::new());
            while let Some(entry) = names.next() {
                let entry = entry?;
                let name = entry.file_name().to_bytes();
                if !matches!(name, b"." | b"..") {
                    entries.push(Entry { name: OsStr::from_bytes(name).to_owned(), kind: entry.file_type() });
                }
            }
            Ok(entries)
        };
        read().call(|| format!("getdents64({})", shown(self)))
    }

    /// Removes a name that is not a directory.
    pub fn remove_file(&self, name: impl AsRef<OsStr>) -> Result<()> {
        self.unlink(name.as_ref(), AtFlags::empty())
    }

    /// Removes an empty directory.
    pub fn remove_dir(&self, name: impl AsRef<OsStr>) -> Result<()> {
        self.unlink(name.as_ref(), AtFlags::REMOVEDIR)
    }

    fn unlink(&self, name: &OsStr, flags: AtFlags) -> Result<()> {
        single(name)
            .and_then(|name| rustix::fs::unlinkat(&self.0, name, flags))
            .call(|| format!("unlinkat({}, {name:?}, {flags:?})", shown(self)))
    }

    /// Renames, replacing what `new` is in `to`.
    pub fn rename(&self, old: impl AsRef<OsStr>, to: &Self, new: impl AsRef<OsStr>) -> Result<()> {
        self.rename_with(old.as_ref(), to, new.as_ref(), RenameFlags::empty())
    }

    /// Renames; `EEXIST` where `new` is there already.
    pub fn rename_new(&self, old: impl AsRef<OsStr>, to: &Self, new: impl AsRef<OsStr>) -> Result<()> {
        self.rename_with(old.as_ref(), to, new.as_ref(), RenameFlags::NOREPLACE)
    }

    fn rename_with(&self, old: &OsStr, to: &Self, new: &OsStr, flags: RenameFlags) -> Result<()> {
        single(old)
            .and_then(|old| rustix::fs::renameat_with(&self.0, old, &to.0, single(new)?, flags))
            .call(|| format!("renameat2({}, {old:?}, {}, {new:?}, {flags:?})", shown(self), shown(to)))
    }

    /// Sets the owner of what has this name, be it a symlink.
    pub fn chown(&self, name: impl AsRef<OsStr>, uid: u32, gid: u32) -> Result<()> {
        let name = name.as_ref();
        let (user, group) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        single(name)
            .and_then(|name| rustix::fs::chownat(&self.0, name, user, group, AtFlags::SYMLINK_NOFOLLOW))
            .call(|| format!("fchownat({}, {name:?}, {uid}, {gid}, AT_SYMLINK_NOFOLLOW)", shown(self)))
    }

    /// Sets the mode of what has this name; `EOPNOTSUPP` for a symlink.
    pub fn chmod(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<()> {
        let handle = self.open_path(name)?;
        // Through the handle, as fchmodat() would follow a symlink that has just been put there (fchmodat2: 6.6).
        rustix::fs::chmod(format!("/proc/self/fd/{}", handle.as_raw_fd()), Mode::from_raw_mode(mode))
            .call(|| format!("chmod({}, {mode:#o})", shown(&handle)))
    }

    /// Sets access and modification time of what has this name, be it a symlink.
    pub fn set_times(&self, name: impl AsRef<OsStr>, atime: Time, mtime: Time) -> Result<()> {
        let name = name.as_ref();
        let times = timestamps(atime, mtime);
        single(name)
            .and_then(|name| rustix::fs::utimensat(&self.0, name, &times, AtFlags::SYMLINK_NOFOLLOW))
            .call(|| format!("utimensat({}, {name:?}, {mtime:?}, AT_SYMLINK_NOFOLLOW)", shown(self)))
    }

    /// The way to a name for the xattr calls, which know no directory fd (setxattrat: 6.13). The fd is this
    /// directory's own, so only procfs is trusted; the last name is not followed by the `l` calls.
    fn proc_path(&self, name: &OsStr) -> rustix::io::Result<Vec<u8>> {
        let mut path = format!("/proc/self/fd/{}/", self.0.as_raw_fd()).into_bytes();
        path.extend_from_slice(single(name)?.as_bytes());
        Ok(path)
    }

    /// Sets an extended attribute of what has this name, be it a symlink.
    pub fn set_xattr(&self, name: impl AsRef<OsStr>, key: &[u8], value: &[u8]) -> Result<()> {
        let name = name.as_ref();
        self.proc_path(name)
            .and_then(|path| rustix::fs::lsetxattr(path, key, value, XattrFlags::empty()))
            .call(|| {
                format!("lsetxattr({}, {name:?}, {:?}, [{} bytes])", shown(self), show(key), value.len())
            })
    }

    /// Removes an extended attribute of what has this name.
    pub fn remove_xattr(&self, name: impl AsRef<OsStr>, key: &[u8]) -> Result<()> {
        let name = name.as_ref();
        self.proc_path(name)
            .and_then(|path| rustix::fs::lremovexattr(path, key))
            .call(|| format!("lremovexattr({}, {name:?}, {:?})", shown(self), show(key)))
    }

    /// The value of an extended attribute of what has this name.
    pub fn get_xattr(&self, name: impl AsRef<OsStr>, key: &[u8]) -> Result<Vec<u8>> {
        let name = name.as_ref();
        self.proc_path(name)
            .and_then(|path| read_whole(|buffer| rustix::fs::lgetxattr(path.as_slice(), key, buffer)))
            .call(|| format!("lgetxattr({}, {name:?}, {:?})", shown(self), show(key)))
    }

    /// The names of all extended attributes of what has this name; none where the filesystem has none.
    pub fn list_xattrs(&self, name: impl AsRef<OsStr>) -> Result<Vec<Vec<u8>>> {
        let name = name.as_ref();
        self.proc_path(name)
            .and_then(|path| {
                split_names(read_whole(|buffer| rustix::fs::llistxattr(path.as_slice(), buffer)))
            })
            .call(|| format!("llistxattr({}, {name:?})", shown(self)))
    }

    /// Removes what has this name, with everything below it. It is no error if there is nothing.
    ///
    /// Holds two directories open, however deep the tree is, and does not recurse.
    pub fn remove_all(&self, name: impl AsRef<OsStr>) -> Result<()> {
        let name = name.as_ref();
        match self.remove_file(name) {
            Err(error) if error.errno() == Errno::NOENT => return Ok(()),
            // EPERM is what POSIX has for directories; some filesystems give it.
            Err(error) if matches!(error.errno(), Errno::ISDIR | Errno::PERM) => {}
            other => return other,
        }
        let mut levels = vec![Level { name: name.to_owned(), left: Vec::new(), parent: identity(self)? }];
        let mut here = self.open_removable(name)?;
        levels[0].left = here.clear_files()?;
        while let Some(level) = levels.last_mut() {
            if let Some(next) = level.left.pop() {
                let parent = identity(&here)?;
                here = here.open_removable(&next)?;
                let left = here.clear_files()?;
                levels.push(Level { name: next, left, parent });
                continue;
            }
            let done = levels.pop().expect("the loop's condition");
            if levels.is_empty() {
                return self.remove_dir(&done.name);
            }
            here = here.up(done.parent)?;
            here.remove_dir(&done.name)?;
        }
        Ok(())
    }

    /// Removes all that are not directories; says which are left.
    fn clear_files(&self) -> Result<Vec<OsString>> {
        let mut directories = Vec::new();
        for entry in self.entries()? {
            if entry.kind == FileType::Directory {
                directories.push(entry.name);
                continue;
            }
            match self.remove_file(&entry.name) {
                Err(error) if error.errno() == Errno::ISDIR => directories.push(entry.name),
                other => other?,
            }
        }
        Ok(directories)
    }

    /// Opens a directory to remove what is in it, if need be after giving its owner the right to.
    fn open_removable(&self, name: &OsStr) -> Result<Self> {
        let writable = self.open_dir(name).and_then(|dir| {
            rustix::fs::accessat(&dir.0, ".", rustix::fs::Access::WRITE_OK, AtFlags::EACCESS)
                .call(|| format!("faccessat({})", shown(&dir)))?;
            Ok(dir)
        });
        match writable {
            Err(error) if error.errno() == Errno::ACCESS => {
                self.chmod(name, 0o700)?;
                self.open_dir(name)
            }
            other => other,
        }
    }

    /// The parent directory, if it still is the one we came from.
    fn up(&self, expected: (u64, u64)) -> Result<Self> {
        let parent = rustix::fs::openat(&self.0, "..", READ_DIR | OFlags::NOFOLLOW, Mode::empty())
            .map(Self)
            .call(|| format!("openat({}, \"..\", O_DIRECTORY)", shown(self)))?;
        if identity(&parent)? == expected {
            return Ok(parent);
        }
        Err(Error::new(format!("openat({}, \"..\"): moved meanwhile", shown(self)), Errno::XDEV))
    }
}

/// A directory that is being emptied.
struct Level {
    name: OsString,
    left: Vec<OsString>,
    parent: (u64, u64),
}

fn identity(dir: &Dir) -> Result<(u64, u64)> {
    let stat = super::metadata::stat(dir)?;
    Ok((stat.st_dev, stat.st_ino))
}
