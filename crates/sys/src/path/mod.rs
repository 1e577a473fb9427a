// SPDX-License-Identifier: Apache-2.0
//! Paths inside a directory that may hold hostile symlinks: a container's root filesystem, an unpacked layer.
//!
//! * A [`Dir`] is an open directory. Its methods take *one name* in it and never follow a symlink there.
//! * A [`Root`] is a directory that paths are resolved *inside* of, as chroot(2) would: `..` stops at the root,
//!   absolute symlinks start again at the root, magic links of procfs are refused.
//!
//! Neither ever hands a path string to the kernel that could mean something outside. Resolving is
//! `openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)`, Linux 5.6; where that is missing or filtered, [`walk`] does the
//! same one component at a time.

mod dir;
mod metadata;
mod root;
mod walk;

pub use dir::{Dir, Entry};
pub use metadata::{
    Time, chmod, chown, chown_user, device_number, get_xattr, has_host_xattr, list_xattrs, mount_options,
    remove_xattr, set_host_xattr, set_times, set_xattr, stat, sync_filesystem,
};
pub use root::Root;
pub use rustix::fs::{FileType, Stat};

use std::os::fd::{AsFd, AsRawFd};

/// An fd as errors show it: `[7]</path>`.
fn shown(fd: impl AsFd) -> String {
    let number = fd.as_fd().as_raw_fd();
    match std::fs::read_link(format!("/proc/self/fd/{number}")) {
        Ok(path) => format!("[{number}]<{}>", path.display()),
        Err(_) => format!("[{number}]"),
    }
}

#[cfg(test)]
mod tests;
