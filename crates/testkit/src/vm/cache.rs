// SPDX-License-Identifier: Apache-2.0
//! What a machine is made of and costs minutes to make, each thing once: below cargo's target directory, or where
//! `CONEX_VM_CACHE` says, so that several worktrees can share it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::binaries;
use crate::require::Requirement;
use crate::run::Run;

/// A download or a `debootstrap` may take this long on a busy machine.
const LIMIT: Duration = Duration::from_secs(900);

/// The directory of this name. When it is not there yet, `make` fills it under a temporary name, and nobody else
/// meanwhile.
pub(super) fn kept(name: &str, make: impl FnOnce(&Path) -> Requirement) -> Requirement<PathBuf> {
    let kept = cache().join(name);
    if kept.exists() {
        return Ok(kept);
    }
    let _lock = locked("lock")?;
    if !kept.exists() {
        let io = |error: std::io::Error| format!("{}: {error}", kept.display());
        let scratch = tempfile::tempdir_in(cache()).map_err(io)?;
        make(scratch.path())?;
        fs::rename(scratch.path(), &kept).map_err(io)?;
    }
    Ok(kept)
}

/// Waits until no other machine runs; as long as the file is open, none does. Two that are emulated on the same
/// processors take longer than one after the other, and then tests run out of time.
pub(super) fn turn() -> Requirement<File> {
    locked("turn")
}

fn locked(name: &str) -> Requirement<File> {
    let path = cache().join(name);
    let made = fs::create_dir_all(cache()).and_then(|()| File::create(&path));
    made.and_then(|file| file.lock().map(|()| file)).map_err(|error| format!("{}: {error}", path.display()))
}

fn cache() -> PathBuf {
    let own = || binaries::target_directory().join("vm");
    std::env::var_os("CONEX_VM_CACHE").map_or_else(own, PathBuf::from)
}

/// Runs a shell script in a directory; its stdout.
pub(super) fn sh(directory: &Path, script: &str) -> Requirement<String> {
    let output = Command::new("sh").args(["-ec", script]).current_dir(directory).run_with(b"", LIMIT);
    let said =
        [&output.stderr, &output.stdout].map(|text| text.lines().last().unwrap_or_default().to_owned());
    if output.status.success() { Ok(output.stdout) } else { Err(format!("{script}: {}", said.join(" "))) }
}
