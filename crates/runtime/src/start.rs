// SPDX-License-Identifier: Apache-2.0
//! runtime.md, "Start": the created process becomes the program.
//!
//! One byte into the fifo says so. The process holds the fifo's reading end close-on-exec, so its end is the proof
//! that the program runs; poststart hooks wait for that.
#![expect(clippy::disallowed_methods, reason = "the state root is the host's")]

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};

use conex_spec::runtime::{Hooks, Status};
use conex_sys::{Errno, socket};

use crate::cli::Runtime;
use crate::container::{Container, open_fifo};
use crate::hooks::{self, Moment};
use crate::{Error, ErrorKind, Result, Wrap, delete};

/// The verb.
pub(crate) fn start(runtime: &Runtime, id: &str) -> Result<()> {
    let container = Container::open(&runtime.root, id)?.lock()?;
    let state = |what: &str| Err(Error::new(ErrorKind::State, what));
    match container.status()? {
        Status::Created => {}
        Status::Stopped => return state("cannot start a container that has stopped"),
        Status::Running => return state("cannot start an already running container"),
        Status::Paused => return state("cannot start a container in the paused state"),
        Status::Creating => return state("cannot start a container that is still being created"),
    }
    let config = container.config()?;
    check_process(config.process.is_some())?;
    let hooks = config.hooks;
    let fifo = release(&container)?;
    if let Err(error) = watch(&container, &hooks, &fifo) {
        delete::destroy(runtime, container, &hooks)?;
        return Err(error);
    }
    Ok(())
}

/// config.md, "Process": required when the container is started.
pub(crate) fn check_process(is_there: bool) -> Result<()> {
    let what = "cannot start a container whose config.json has no process: it needs at least args and cwd";
    is_there.then_some(()).ok_or_else(|| Error::new(ErrorKind::State, what))
}

/// Lets the process go on. An error leaves the container as it is.
pub(crate) fn release(container: &Container) -> Result<File> {
    let path = container.fifo();
    let opened = open_fifo(&path).and_then(|mut fifo| fifo.write_all(b"0").map(|()| fifo));
    let fifo = opened.map_err(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
        // Nobody reads, or just not any more.
        Some(Errno::NXIO | Errno::PIPE) => {
            Error::new(ErrorKind::State, "cannot start a container that has stopped")
        }
        _ => Error::from(error).wrap(format_args!("tell the container to start through {}", path.display())),
    })?;
    // Only now: a start that is killed before leaves a container that can be started again, and one that is killed
    // in between a name that nobody reads, which means nothing.
    std::fs::remove_file(&path).wrap(|| "remove the fifo")?;
    Ok(fifo)
}

/// The hooks of the start. After an error the program is not there, or must not go on: runtime.md, "Lifecycle", ends
/// the container then.
pub(crate) fn watch(container: &Container, hooks: &Hooks, fifo: &File) -> Result<()> {
    // A process that has not become the program yet cannot be looked into by an ordinary user, whose next word may be
    // an `exec`.
    let by_user = container.record.config.rootless_euid;
    if !by_user && hooks.start_container.is_empty() && hooks.poststart.is_empty() {
        return Ok(());
    }
    wait_for_program(fifo.as_fd())?;
    let words = container.last_words();
    if !words.is_empty() {
        return Err(Error::new(ErrorKind::Os, words));
    }
    hooks::run(Moment::Poststart, &hooks.poststart, &container.state(Status::Running))
}

/// A fifo without readers is an error condition, which poll(2) always reports.
fn wait_for_program(fifo: BorrowedFd<'_>) -> Result<()> {
    socket::wait_readable(&[fifo], None)?;
    Ok(())
}
