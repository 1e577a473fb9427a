// SPDX-License-Identifier: Apache-2.0
//! landlock(7): rights to files by the directory they are in. KERNEL(5.19): version 2, the first that can allow links
//! between directories; before, nothing is restricted here.

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::Result;
use crate::error::Call;
use crate::raw::{check, owned};

/// Execute, write, read, list, remove directories and files, make device, directory, file, socket, FIFO, block device,
/// symlink.
const VERSION_1: u64 = (1 << 13) - 1;
const EXECUTE: u64 = 1;
const MAKE_SOCKET: u64 = 1 << 9;
/// Link and rename between directories.
const REFER: u64 = 1 << 13;
/// Version 3.
const TRUNCATE: u64 = 1 << 14;
/// Version 5.
const IOCTL_OF_DEVICES: u64 = 1 << 15;

#[repr(C)]
struct Ruleset {
    files: u64,
    /// Version 4: bind and connect of TCP.
    network: u64,
    /// Version 6: abstract sockets, signals.
    scoped: u64,
}

#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: i32,
}

/// Forbids this process every file that is not below `directory`, and there to execute and to make sockets.
pub(super) fn allow_below(directory: BorrowedFd<'_>) -> Result<()> {
    let version = version();
    if version < 2 {
        return Ok(());
    }
    let since = |first: i64, rights: u64| if version >= first { rights } else { 0 };
    let files = VERSION_1 | REFER | since(3, TRUNCATE) | since(5, IOCTL_OF_DEVICES);
    let handled = Ruleset { files, network: since(4, 0b11), scoped: since(6, 0b11) };
    // SAFETY: the kernel reads a live struct of the size that is passed.
    let made = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, &raw const handled, size_of::<Ruleset>(), 0)
    };
    let ruleset = check(made).map(owned).call(|| format!("landlock_create_ruleset({files:#x})"))?;
    let allowed = files & !(EXECUTE | MAKE_SOCKET | IOCTL_OF_DEVICES);
    let rule = PathBeneath { allowed, parent: directory.as_raw_fd() };
    const PATH_BENEATH: i32 = 1;
    // SAFETY: the kernel reads a live struct of the layout that this kind of rule has.
    let added = unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), PATH_BENEATH, &raw const rule, 0)
    };
    check(added).call(|| "landlock_add_rule(PATH_BENEATH)".to_owned())?;
    // SAFETY: takes two integers.
    let restricted = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) };
    check(restricted).map(drop).call(|| "landlock_restrict_self()".to_owned())
}

/// 0 where the kernel has none, or it is switched off.
fn version() -> i64 {
    const VERSION: u32 = 1;
    let nothing: *const Ruleset = std::ptr::null();
    // SAFETY: with this flag the kernel reads no struct and returns a number.
    let returned = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0, VERSION) };
    check(returned).unwrap_or(0)
}
