// SPDX-License-Identifier: Apache-2.0
//! Session keyrings: keyctl(2). Keys of the caller are not the container's business.

use std::ffi::CStr;

use crate::Result;
use crate::error::Call;
use crate::raw::check;

/// Joins a session keyring of this name, made new if there is none. Returns its serial number.
pub fn join_session(name: &CStr) -> Result<i64> {
    // SAFETY: the name is NUL-terminated and only read during the call.
    let returned =
        unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) };
    check(returned).call(|| format!("keyctl(JOIN_SESSION_KEYRING, {name:?})"))
}

/// Adds permission bits to those that a key's possessor and user already have.
pub fn add_permissions(serial: i64, bits: u32) -> Result<()> {
    let mut text = [0_u8; 512];
    // SAFETY: the kernel writes at most `text.len()` bytes into `text`.
    let returned = unsafe {
        libc::syscall(libc::SYS_keyctl, libc::KEYCTL_DESCRIBE, serial, text.as_mut_ptr(), text.len())
    };
    check(returned).call(|| format!("keyctl(DESCRIBE, {serial})"))?;
    let description = String::from_utf8_lossy(&text).into_owned();
    // type;uid;gid;permissions in hex;description
    let have =
        description.split(';').nth(3).and_then(|field| u32::from_str_radix(field, 16).ok()).unwrap_or(0);
    // SAFETY: KEYCTL_SETPERM takes two integers.
    let returned = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_SETPERM, serial, have | bits) };
    check(returned).map(drop).call(|| format!("keyctl(SETPERM, {serial}, {:#x})", have | bits))
}
