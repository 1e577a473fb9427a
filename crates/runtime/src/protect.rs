// SPDX-License-Identifier: Apache-2.0
//! CVE-2019-5736: what runs inside a container must not be a file that the container could overwrite.
//!
//! The first process of a container is a copy of the runtime until its execve, and `/proc/self/exe` or a script
//! that begins with `#!/proc/self/exe` make it run the runtime's own file again. So the verbs that enter a container
//! first become a sealed copy of themselves in memory, which nobody can write to. The file is small: the copy and
//! the execve are measured in `docs/performance.md`. Verbs that stay outside never pay for this.
#![expect(clippy::disallowed_methods, reason = "its own program, before any container")]

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;

use conex_sys::{file, process};

use crate::{Error, Result, Wrap};

/// Returns in a process that runs from a sealed copy: this one if it is so already, else its successor.
pub(crate) fn run_from_sealed_copy(arguments: impl IntoIterator<Item = OsString>) -> Result<()> {
    let mut program = File::open("/proc/self/exe").wrap(|| "open /proc/self/exe")?;
    if file::is_sealed(program.as_fd()) {
        return Ok(());
    }
    let copy = file::sealed_copy(&mut program, "conex-runtime").wrap(|| "copy the runtime into memory")?;
    let words = process::Words::new(arguments.into_iter().map(OsStringExt::into_vec))?;
    let environment = process::Words::new(std::env::vars_os().map(|(name, value)| {
        let mut word = name.into_vec();
        word.push(b'=');
        word.extend(value.into_vec());
        word
    }))?;
    Err(Error::from(process::exec_fd(copy.as_fd(), &words, &environment)).wrap("run from a copy in memory"))
}
