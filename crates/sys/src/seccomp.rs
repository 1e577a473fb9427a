// SPDX-License-Identifier: Apache-2.0
//! seccomp(2): loading a filter program, and asking what the kernel knows.

use std::os::fd::OwnedFd;

use crate::error::Call;
use crate::raw::{check, owned};
use crate::{Errno, Error, Result};

/// One instruction of classic BPF, as the kernel lays it out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// How many instructions to skip if the test holds.
    pub jump_true: u8,
    /// How many to skip if it does not.
    pub jump_false: u8,
    /// The constant.
    pub operand: u32,
}

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`: the load returns a notification descriptor.
pub const NEW_LISTENER: u32 = 1 << 3;
/// The kernel's limit of a program.
pub const MAX_INSTRUCTIONS: usize = 4096;

#[repr(C)]
struct Program {
    length: u16,
    instructions: *const Instruction,
}

/// Loads a filter for the rest of this process's life. Needs no_new_privs or CAP_SYS_ADMIN.
/// With [`NEW_LISTENER`] in `flags` the answer is the notification descriptor.
pub fn load(instructions: &[Instruction], flags: u32) -> Result<Option<OwnedFd>> {
    let describe = || format!("seccomp(SET_MODE_FILTER, {flags:#x}, {} instructions)", instructions.len());
    let length = u16::try_from(instructions.len()).map_err(|_| Error::new(describe(), Errno::INVAL))?;
    let program = Program { length, instructions: instructions.as_ptr() };
    // SAFETY: `program` describes exactly the slice, in the kernel's layout; both live through the call.
    let returned =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    let returned = check(returned).call(describe)?;
    Ok((flags & NEW_LISTENER != 0).then(|| owned(returned)))
}

/// Whether the kernel knows a `SECCOMP_RET_*` action.
pub fn knows_action(action: u32) -> bool {
    // SAFETY: the kernel reads one u32, which lives through the call.
    let returned =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) };
    returned == 0
}

/// Whether the kernel knows a `SECCOMP_FILTER_FLAG_*`: it looks at the flags before it looks for the program.
pub fn knows_flag(flag: u32) -> bool {
    let nothing: *const Program = std::ptr::null();
    // SAFETY: a null program is never dereferenced; the kernel answers EFAULT if the flag is known, else EINVAL.
    let returned = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flag, nothing) };
    check(returned) == Err(Errno::FAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_the_kernel_without_loading_anything() {
        assert!(knows_action(libc::SECCOMP_RET_ALLOW));
        assert!(!knows_action(0x1234_0000));
        assert!(knows_flag(1 << 1));
        assert!(!knows_flag(1 << 20));
    }
}
