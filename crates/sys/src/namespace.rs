// SPDX-License-Identifier: Apache-2.0
//! Namespaces: unshare(2) and setns(2), by file and by pidfd.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::Result;
use crate::error::Call;
use crate::raw::{check, show};

/// One of the eight kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// User and group ids, capabilities.
    User,
    /// Mounts.
    Mount,
    /// Process ids.
    Pid,
    /// Network devices, addresses, routes, ports.
    Network,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Host and domain name.
    Uts,
    /// The root of the cgroup tree as processes see it.
    Cgroup,
    /// Offsets of the monotonic and boot clocks.
    Time,
}

impl Kind {
    /// All eight, in the order in which they can be joined: user first, for it gives the right to the rest.
    pub const ALL: [Self; 8] =
        [Self::User, Self::Pid, Self::Network, Self::Ipc, Self::Uts, Self::Cgroup, Self::Time, Self::Mount];

    /// `CLONE_NEW*`.
    pub const fn flag(self) -> u64 {
        let flag = match self {
            Self::User => libc::CLONE_NEWUSER,
            Self::Mount => libc::CLONE_NEWNS,
            Self::Pid => libc::CLONE_NEWPID,
            Self::Network => libc::CLONE_NEWNET,
            Self::Ipc => libc::CLONE_NEWIPC,
            Self::Uts => libc::CLONE_NEWUTS,
            Self::Cgroup => libc::CLONE_NEWCGROUP,
            Self::Time => 0x80,
        };
        flag as u64
    }

    /// The file name in `/proc/<pid>/ns`.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Mount => "mnt",
            Self::Pid => "pid",
            Self::Network => "net",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
        }
    }
}

/// The flags of several kinds.
pub fn flags(kinds: impl IntoIterator<Item = Kind>) -> u64 {
    kinds.into_iter().fold(0, |flags, kind| flags | kind.flag())
}

pub(crate) fn show_flags(flags: u64) -> String {
    let names: Vec<_> = Kind::ALL
        .into_iter()
        .filter(|kind| flags & kind.flag() != 0)
        .map(|kind| match kind {
            Kind::Mount => "CLONE_NEWNS".to_owned(),
            other => format!("CLONE_NEW{}", other.file_name().to_ascii_uppercase()),
        })
        .collect();
    names.join("|")
}

/// Puts the calling process into new namespaces (for pid and time: its future children).
/// For a user namespace the process must have a single thread.
pub fn unshare(flags: u64) -> Result<()> {
    // SAFETY: unshare(2) reads no memory; the flags here are `CLONE_NEW*` only, so no memory or files are unshared.
    let returned = unsafe { libc::syscall(libc::SYS_unshare, flags) };
    check(returned).map(drop).call(|| format!("unshare({})", show_flags(flags)))
}

/// Joins the namespace behind an open namespace file; `kind` guards against a file of another kind.
pub fn join(namespace: BorrowedFd<'_>, kind: Kind) -> Result<()> {
    set(namespace, kind.flag())
}

/// Joins several namespaces of a process at once. KERNEL(5.8).
pub fn join_process(pidfd: BorrowedFd<'_>, flags: u64) -> Result<()> {
    set(pidfd, flags)
}

fn set(target: BorrowedFd<'_>, flags: u64) -> Result<()> {
    // SAFETY: setns(2) takes two integers and touches no memory of the process.
    let returned = unsafe { libc::syscall(libc::SYS_setns, target.as_raw_fd(), flags) };
    check(returned).map(drop).call(|| format!("setns({}, {})", show(&target), show_flags(flags)))
}

/// Opens a namespace file of the host, such as `/proc/7/ns/net`.
pub fn open(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .call(|| format!("open({path:?}, O_RDONLY)"))
}

/// Whether an open file is a namespace, and of which kind.
pub fn kind_of(namespace: BorrowedFd<'_>) -> Result<Kind> {
    // NS_GET_NSTYPE = _IO(0xb7, 0x3).
    // SAFETY: this ioctl has no argument; on any file that is no namespace it fails with ENOTTY.
    let returned = unsafe { libc::syscall(libc::SYS_ioctl, namespace.as_raw_fd(), 0xb703_u64) };
    let flag = check(returned).call(|| format!("ioctl({}, NS_GET_NSTYPE)", show(&namespace)))?;
    Kind::ALL
        .into_iter()
        .find(|kind| u64::try_from(flag) == Ok(kind.flag()))
        .ok_or(rustix::io::Errno::INVAL)
        .call(|| format!("ioctl({}, NS_GET_NSTYPE) = {flag:#x}", show(&namespace)))
}
