// SPDX-License-Identifier: Apache-2.0
//! A seccomp profile becomes a classic BPF program. Pure: loading it is `sys`'s job.

use conex_spec::runtime::Seccomp;
use conex_sys::seccomp::{Instruction, NEW_LISTENER};
use serde::Serialize;

/// What seccomp(2) with SECCOMP_SET_MODE_FILTER takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Filter {
    #[serde(serialize_with = "program_length")]
    pub program: Vec<Instruction>,
    /// SECCOMP_FILTER_FLAG_*, with NEW_LISTENER if a rule notifies.
    pub flags: u32,
}

impl Filter {
    /// Whether loading it returns a descriptor to notify an agent through.
    pub fn notifies(&self) -> bool {
        self.flags & NEW_LISTENER != 0
    }
}

/// A plan shows how long a program is; its instructions say nothing to a reader.
fn program_length<S: serde::Serializer>(program: &[Instruction], writer: S) -> Result<S::Ok, S::Error> {
    writer.serialize_u64(program.len() as u64)
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
