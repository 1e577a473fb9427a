// SPDX-License-Identifier: Apache-2.0
//! CVE-2019-5736: what runs inside a container must not be a file that the container could overwrite.
//!
//! The first process of a container is a copy of the runtime until its execve, and `/proc/self/exe` or a script
//! that begins with `#!/proc/self/exe` make it run the runtime's own file again. So the verbs that enter a container
//! first execute themselves anew from where nobody can write:
//!
//! ```text
//!  open_tree(/proc/self/exe, CLONE) ── mount_setattr(RDONLY) ── execveat, which closes the descriptor
//! ```
//!
//! That read-only mount of the one file is in no mount namespace, and with its last descriptor it is dissolved: nobody
//! can change its attributes, mount it anywhere or copy it (EINVAL for all three), root with every capability
//! included. Every way from the process to its file (`/proc/<pid>/exe`, `map_files`, a descriptor of them kept beyond
//! the process's end and opened again) leads through that mount, to EROFS. It costs 33 µs.
//!
//! Where mounts are not to be had (without privilege, before Linux 5.12) the process becomes a sealed copy of itself
//! in memory, at 0.3 ms a megabyte. Verbs that stay outside pay for neither.
#![expect(clippy::disallowed_methods, reason = "its own program, before any container")]

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use conex_sys::mount::{self, Attributes, Change, Extent};
use conex_sys::{file, process};

use crate::{Error, Result, Wrap};

const OWN_PROGRAM: &str = "/proc/self/exe";

/// Returns in a process whose file nobody can write: this one if it is so already, else its successor.
pub(crate) fn run_from_unwritable_file(arguments: impl IntoIterator<Item = OsString>) -> Result<()> {
    if is_unwritable()? {
        return Ok(());
    }
    let program = readonly_mount().or_else(|_| sealed_copy())?;
    let words = process::Words::new(arguments.into_iter().map(OsStringExt::into_vec))?;
    let environment = process::Words::new(std::env::vars_os().map(|(name, value)| {
        let mut word = name.into_vec();
        word.push(b'=');
        word.extend(value.into_vec());
        word
    }))?;
    let error = process::exec_fd(program.as_fd(), &words, &environment);
    Err(Error::from(error).wrap("run from a file that nobody can write"))
}

/// The kernel names a file that is the root of a dissolved mount `/`, and one in memory `/memfd:…`.
fn is_unwritable() -> Result<bool> {
    let name = process::own_program()?;
    if name == "/" {
        return Ok(file::is_on_readonly_mount(Path::new(OWN_PROGRAM)));
    }
    Ok(name.starts_with("/memfd:") && file::is_sealed(open_own()?.as_fd()))
}

fn open_own() -> Result<File> {
    File::open(OWN_PROGRAM).wrap(|| format!("open {OWN_PROGRAM}"))
}

fn readonly_mount() -> conex_sys::Result<OwnedFd> {
    let own = mount::clone_host(Path::new(OWN_PROGRAM), Extent::One)?;
    let readonly = Change { set: Attributes::MOUNT_ATTR_RDONLY, ..Change::NONE };
    mount::change_detached(own.as_fd(), &readonly).map(|()| own)
}

fn sealed_copy() -> Result<OwnedFd> {
    file::sealed_copy(&mut open_own()?, "conex-runtime").wrap(|| "copy the runtime into memory")
}
