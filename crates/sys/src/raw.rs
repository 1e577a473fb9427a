// SPDX-License-Identifier: Apache-2.0
//! What every hand-made system call needs: the kernel's return value as a result, a descriptor as strace shows it.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::error::errno_of;

/// The value of `libc::syscall`, or the errno it left.
pub(crate) fn check(returned: libc::c_long) -> rustix::io::Result<libc::c_long> {
    if returned >= 0 {
        return Ok(returned);
    }
    Err(errno_of(&std::io::Error::last_os_error()))
}

/// A descriptor that the kernel has just made for this process.
pub(crate) fn owned(returned: libc::c_long) -> OwnedFd {
    let fd = i32::try_from(returned).expect("the kernel returns descriptors as small integers");
    // SAFETY: callers pass the fresh return value of a call that makes a descriptor; nobody else can own it yet.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// `5</run/x>`: the number, and where the kernel says it leads.
pub(crate) fn show(fd: &impl AsRawFd) -> String {
    let number = fd.as_raw_fd();
    match rustix::fs::readlink(format!("/proc/self/fd/{number}"), Vec::new()) {
        Ok(path) => format!("{number}<{}>", path.to_string_lossy()),
        Err(_) => number.to_string(),
    }
}
