// SPDX-License-Identifier: Apache-2.0
//! Owner, mode, times and extended attributes of an *open* file.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};

use super::shown;
use crate::Result;
use crate::error::Call;

/// A point in time, as files have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds since 1970; may be negative.
    pub sec: i64,
    /// Nanoseconds after `sec`, below 1 000 000 000.
    pub nsec: u32,
}

/// The kernel's structure for a pair of times.
pub(super) fn timestamps(atime: Time, mtime: Time) -> Timestamps {
    let spec = |time: Time| Timespec { tv_sec: time.sec, tv_nsec: time.nsec.into() };
    Timestamps { last_access: spec(atime), last_modification: spec(mtime) }
}

/// Which device a device node stands for: major and minor number.
pub fn device_number(stat: &Stat) -> (u32, u32) {
    (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev))
}

/// Type, mode, owner, size, times.
pub fn stat(fd: impl AsFd) -> Result<Stat> {
    rustix::fs::fstat(&fd).call(|| format!("fstat({})", shown(&fd)))
}

/// Clears setuid and setgid bits and `security.capability`: do it before the others.
pub fn chown(fd: impl AsFd, uid: u32, gid: u32) -> Result<()> {
    rustix::fs::fchown(&fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
        .call(|| format!("fchown({}, {uid}, {gid})", shown(&fd)))
}

/// Gives a file to a user and leaves its group alone.
pub fn chown_user(fd: impl AsFd, uid: u32) -> Result<()> {
    rustix::fs::fchown(&fd, Some(Uid::from_raw(uid)), None)
        .call(|| format!("fchown({}, {uid}, -1)", shown(&fd)))
}

/// Sets the twelve mode bits.
pub fn chmod(fd: impl AsFd, mode: u32) -> Result<()> {
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode)).call(|| format!("fchmod({}, {mode:#o})", shown(&fd)))
}

/// Sets access and modification time.
pub fn set_times(fd: impl AsFd, atime: Time, mtime: Time) -> Result<()> {
    rustix::fs::futimens(&fd, &timestamps(atime, mtime))
        .call(|| format!("futimens({}, {atime:?}, {mtime:?})", shown(&fd)))
}

/// Sets an extended attribute, new or not.
pub fn set_xattr(fd: impl AsFd, name: &[u8], value: &[u8]) -> Result<()> {
    rustix::fs::fsetxattr(&fd, name, value, XattrFlags::empty())
        .call(|| format!("fsetxattr({}, {:?}, [{} bytes])", shown(&fd), show(name), value.len()))
}

/// Sets an extended attribute of a path of the host.
pub fn set_host_xattr(path: &Path, name: &str, value: &[u8]) -> Result<()> {
    rustix::fs::setxattr(path, name, value, XattrFlags::empty())
        .call(|| format!("setxattr({path:?}, {name:?}, [{} bytes])", value.len()))
}

/// Whether a path of the host has an extended attribute.
pub fn has_host_xattr(path: &Path, name: &str) -> bool {
    rustix::fs::getxattr(path, name, &mut [0_u8; 0]).is_ok()
}

/// Removes an extended attribute.
pub fn remove_xattr(fd: impl AsFd, name: &[u8]) -> Result<()> {
    rustix::fs::fremovexattr(&fd, name).call(|| format!("fremovexattr({}, {:?})", shown(&fd), show(name)))
}

/// The value of an extended attribute.
pub fn get_xattr(fd: impl AsFd, name: &[u8]) -> Result<Vec<u8>> {
    read_whole(|buffer| rustix::fs::fgetxattr(&fd, name, buffer))
        .call(|| format!("fgetxattr({}, {:?})", shown(&fd), show(name)))
}

/// The names of all extended attributes; none where the filesystem has none.
pub fn list_xattrs(fd: impl AsFd) -> Result<Vec<Vec<u8>>> {
    let list = read_whole(|buffer| rustix::fs::flistxattr(&fd, buffer));
    split_names(list).call(|| format!("flistxattr({})", shown(&fd)))
}

/// Writes everything of the filesystem that `fd` lies on to its device.
pub fn sync_filesystem(fd: impl AsFd) -> Result<()> {
    rustix::fs::syncfs(&fd).call(|| format!("syncfs({})", shown(&fd)))
}

/// The options of the mount that `fd` lies on, which a bind mount in a user namespace has to keep.
pub fn mount_options(fd: impl AsFd) -> Result<Vec<&'static str>> {
    use rustix::fs::StatVfsMountFlags as Flags;
    let flags = rustix::fs::fstatvfs(&fd).call(|| format!("fstatfs({})", shown(&fd)))?.f_flag;
    let names = [
        (Flags::RDONLY, "ro"),
        (Flags::NOSUID, "nosuid"),
        (Flags::NODEV, "nodev"),
        (Flags::NOEXEC, "noexec"),
        (Flags::NOATIME, "noatime"),
        (Flags::NODIRATIME, "nodiratime"),
        (Flags::RELATIME, "relatime"),
    ];
    Ok(names.into_iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| name).collect())
}

/// Runs a call that fills a buffer, with a larger one until it fits.
pub(super) fn read_whole(
    mut fill: impl FnMut(&mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<Vec<u8>> {
    let mut buffer = vec![0; 256];
    loop {
        match fill(&mut buffer) {
            Ok(len) => {
                buffer.truncate(len);
                return Ok(buffer);
            }
            // 64 KiB is the kernel's limit for values and lists alike.
            Err(rustix::io::Errno::RANGE) if buffer.len() <= 1 << 16 => buffer.resize(buffer.len() * 8, 0),
            Err(errno) => return Err(errno),
        }
    }
}

/// Splits a NUL-separated list; a filesystem without extended attributes has an empty one.
pub(super) fn split_names(list: rustix::io::Result<Vec<u8>>) -> rustix::io::Result<Vec<Vec<u8>>> {
    match list {
        Ok(list) => Ok(list.split(|b| *b == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect()),
        Err(rustix::io::Errno::NOTSUP) => Ok(Vec::new()),
        Err(errno) => Err(errno),
    }
}

pub(super) fn show(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
