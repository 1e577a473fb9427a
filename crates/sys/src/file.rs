// SPDX-License-Identifier: Apache-2.0
//! Files of the host: read in few calls, replaced whole or not at all, and sealed copies in memory.
//!
//! The standard library's `open` is two system calls with musl, and its `read` begins with 32 bytes where a file says
//! no size, as all of the kernel's do. What every container start reads and writes goes through here.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;

use crate::error::Call;
use crate::raw::show;
use crate::{Error, Result};

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `O_RDONLY`.
    Read,
    /// `O_WRONLY`.
    Write,
    /// `O_RDWR`.
    Both,
}

/// Opens what is there. Errors are those of `File::open`.
pub fn open(path: &Path, access: Access) -> std::io::Result<File> {
    let flags = match access {
        Access::Read => OFlags::RDONLY,
        Access::Write => OFlags::WRONLY,
        Access::Both => OFlags::RDWR,
    };
    Ok(File::from(rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())?))
}

/// Larger than most of what is read.
const PAGE: usize = 4096;

/// Reads a file to its end.
pub fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let (file, mut bytes) = (open(path, Access::Read)?, Vec::with_capacity(PAGE));
    while read_on(&file, &mut bytes)? > 0 {}
    Ok(bytes)
}

/// As [`read`], of text.
pub fn read_text(path: &Path) -> std::io::Result<String> {
    String::from_utf8(read(path)?).map_err(|_| std::io::ErrorKind::InvalidData.into())
}

/// Reads a file of the kernel that is a single record, or a regular file on a local filesystem: the first read(2) that
/// leaves room in the buffer was the last.
pub fn read_record(path: &Path) -> std::io::Result<Vec<u8>> {
    read_record_at(rustix::fs::CWD, path)
}

/// As [`read_record`], of a path below an open directory: for one of many files of the host.
pub fn read_record_at(directory: impl AsFd, path: &Path) -> std::io::Result<Vec<u8>> {
    let file = rustix::fs::openat(directory, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let (file, mut bytes) = (File::from(file), Vec::with_capacity(PAGE));
    while read_on(&file, &mut bytes)? > 0 && bytes.len() == bytes.capacity() {}
    Ok(bytes)
}

fn read_on(file: &File, bytes: &mut Vec<u8>) -> std::io::Result<usize> {
    if bytes.len() == bytes.capacity() {
        bytes.reserve(bytes.len());
    }
    loop {
        match rustix::io::read(file, spare_capacity(bytes)) {
            Err(Errno::INTR) => {}
            outcome => return Ok(outcome?),
        }
    }
}

/// Makes a file that is not there yet, with all that shall be in it.
fn create(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(path, flags, Mode::from_raw_mode(mode))?);
    file.write_all(bytes)?;
    Ok(file)
}

/// Writes `path` so that a reader sees the old bytes or the new, and a crash leaves one of the two: a temporary
/// file beside it (`.<name>`), fsync, rename, fsync of the directory.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    write_and_rename(path, bytes, mode, Durability::Disk)
}

/// As [`replace`], but not safe from a loss of power: for what is only true until the next boot anyway.
pub fn replace_until_reboot(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    write_and_rename(path, bytes, mode, Durability::ThisBoot)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Durability {
    ThisBoot,
    Disk,
}

fn write_and_rename(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::new(format!("open({path:?})"), Errno::INVAL));
    };
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    let temporary = directory.join(hidden);
    // A new file, never what has the name: in a directory like /tmp that may be somebody's link to elsewhere.
    let create = || create(&temporary, bytes, mode);
    let created = create().or_else(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => std::fs::remove_file(&temporary).and_then(|()| create()),
        _ => Err(error),
    });
    let written = created.and_then(|file| match durability {
        Durability::Disk => file.sync_all(),
        Durability::ThisBoot => Ok(()),
    });
    written.call(|| format!("write({temporary:?})"))?;
    std::fs::rename(&temporary, path).call(|| format!("rename({temporary:?}, {path:?})"))?;
    if durability == Durability::ThisBoot {
        return Ok(());
    }
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.call(|| format!("fsync({directory:?})"))
}

/// A copy of `file` in memory that nobody can change any more, not even root; it can be executed.
pub fn sealed_copy(file: &mut File, name: &str) -> Result<OwnedFd> {
    let mut flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // KERNEL(6.3): says that it is meant to be executed; needed where vm.memfd_noexec is set.
    let memory = match rustix::fs::memfd_create(name, flags | MemfdFlags::EXEC) {
        Err(Errno::INVAL) => {
            flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
            rustix::fs::memfd_create(name, flags)
        }
        outcome => outcome,
    }
    .call(|| format!("memfd_create({name:?}, {flags:?})"))?;
    let mut copy = File::from(memory);
    file.rewind().call(|| format!("lseek({})", show(file)))?;
    std::io::copy(file, &mut copy).call(|| format!("copy {} to memory", show(file)))?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&copy, seals).call(|| format!("fcntl(F_ADD_SEALS, {seals:?})"))?;
    Ok(OwnedFd::from(copy))
}

/// A nameless file in memory holding `content`, to be read from its beginning.
pub fn in_memory(name: &str, content: &[u8]) -> Result<File> {
    let memory =
        rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC).call(|| format!("memfd_create({name:?})"))?;
    let mut file = File::from(memory);
    let written = file.write_all(content).and_then(|()| file.rewind());
    written.map(|()| file).call(|| format!("write(memfd {name:?})"))
}

/// Whether this process may execute the file. First by its real ids, which is the older call: seccomp profiles know it,
/// and where they answer faccessat2(2) with EPERM, every program would look forbidden. But only that one counts what
/// capabilities allow.
pub fn may_execute(path: &Path) -> Result<()> {
    use rustix::fs::{Access, AtFlags, CWD};
    let may = |flags| rustix::fs::accessat(CWD, path, Access::EXEC_OK, flags);
    match may(AtFlags::empty()) {
        Err(Errno::ACCESS) => may(AtFlags::EACCESS).or(Err(Errno::ACCESS)),
        outcome => outcome,
    }
    .call(|| format!("faccessat({path:?}, X_OK)"))
}

/// Whether a file cannot be written for the mount it is reached by, whoever asks.
pub fn is_on_readonly_mount(path: &Path) -> bool {
    use rustix::fs::{Access, AtFlags, CWD};
    rustix::fs::accessat(CWD, path, Access::WRITE_OK, AtFlags::empty()) == Err(Errno::ROFS)
}

/// Whether a file is a [`sealed_copy`].
pub fn is_sealed(file: BorrowedFd<'_>) -> bool {
    rustix::fs::fcntl_get_seals(file.as_fd())
        .is_ok_and(|seals| seals.contains(SealFlags::WRITE | SealFlags::SEAL))
}

/// Lets a pipe hold more bytes. An ordinary user may have 1 MiB, and not too many of them.
pub fn enlarge_pipe(pipe: impl AsFd, bytes: usize) -> Result<()> {
    rustix::pipe::fcntl_setpipe_size(&pipe, bytes).map(drop).call(|| format!("fcntl(F_SETPIPE_SZ, {bytes})"))
}

/// Makes a fifo.
pub fn make_fifo(path: &Path, mode: u32) -> Result<()> {
    let mode = Mode::from_bits_truncate(mode);
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0)
        .call(|| format!("mknod({path:?}, S_IFIFO)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_copy_cannot_be_written() {
        let mut original = File::open("/bin/sh").unwrap();
        let copy = sealed_copy(&mut original, "copy").unwrap();
        assert!(is_sealed(copy.as_fd()) && !is_sealed(original.as_fd()));
        assert_eq!(rustix::io::write(&copy, b"x"), Err(Errno::PERM));
    }

    #[test]
    fn replaces_and_leaves_nothing_beside() {
        let directory = std::env::temp_dir().join(format!("conex-replace-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("state");
        replace(&path, b"one", 0o600).unwrap();
        replace_until_reboot(&path, b"two", 0o600).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
        // A link that lies in wait is replaced, not followed.
        std::fs::write(directory.join("victim"), b"untouched").unwrap();
        std::os::unix::fs::symlink("victim", directory.join(".state")).unwrap();
        replace(&path, b"three", 0o600).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"three");
        assert_eq!(std::fs::read(directory.join("victim")).unwrap(), b"untouched");
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
