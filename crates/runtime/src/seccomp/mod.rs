// SPDX-License-Identifier: Apache-2.0
//! A seccomp profile becomes a classic BPF program. Pure: loading it is `sys`'s job.

use conex_spec::runtime::Seccomp;

/// One classic BPF instruction (`struct sock_filter`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

/// What seccomp(2) with SECCOMP_SET_MODE_FILTER takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    pub program: Vec<Instruction>,
    /// SECCOMP_FILTER_FLAG_*, with NEW_LISTENER if a rule notifies.
    pub flags: u32,
}

impl Filter {
    /// SECCOMP_FILTER_FLAG_NEW_LISTENER.
    pub const NEW_LISTENER: u32 = 1 << 3;

    /// Whether loading it returns a descriptor to notify an agent through.
    pub fn notifies(&self) -> bool {
        self.flags & Self::NEW_LISTENER != 0
    }
}

/// Compiles a profile for the machine that this program runs on.
pub fn compile(_profile: &Seccomp) -> Result<Filter, CompileError> {
    Err(CompileError { message: "the seccomp compiler is not written yet".into() })
}

/// A profile that cannot become a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileError {
    pub message: String,
}

impl std::fmt::Display for CompileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CompileError {}
