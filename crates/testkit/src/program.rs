// SPDX-License-Identifier: Apache-2.0
//! Small programs in C for what Rust without `unsafe` cannot do: trace another process, make a system call of a
//! foreign ABI, play a hostile process inside a container. Their sources are in `programs/`; they are static, so
//! they run in any root filesystem.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::binaries;
use crate::require::{Requirement, program};
use crate::run::Run;

/// Compiles `programs/<name>.c`, unless a newer result is there.
pub fn compile(name: &str) -> Requirement<PathBuf> {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    if !cfg!(target_arch = "x86_64") {
        return Err(format!("{name}.c is written for x86-64"));
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs").join(name).with_extension("c");
    let directory = binaries::target_directory().join("test-programs");
    let compiled = directory.join(name);
    let changed = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    if changed(&compiled).is_some_and(|made| changed(&source).is_some_and(|written| written < made)) {
        return Ok(compiled);
    }
    let compiler = program("gcc")?;
    fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
    let number = SERIAL.fetch_add(1, Ordering::Relaxed);
    let staged = directory.join(format!(".{name}.{}.{number}", std::process::id()));
    let mut gcc = Command::new(compiler);
    gcc.args(["-static", "-O1", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&staged).arg(&source);
    gcc.run().success();
    fs::rename(&staged, &compiled).map_err(|error| error.to_string())?;
    Ok(compiled)
}
