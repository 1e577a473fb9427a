// SPDX-License-Identifier: Apache-2.0
//! runtime.md, "Kill": a signal for the container's first process, through its pidfd.

use std::os::fd::AsFd;

use conex_spec::runtime::NamespaceKind;
use conex_sys::{process, signal};

use crate::cli::Runtime;
use crate::container::Container;
use crate::{Error, ErrorKind, Result, Wrap};

/// The verb. `all` is for every process of the container; on a stopped one it finds nothing to do. Signal 0 only asks.
pub(crate) fn kill(runtime: &Runtime, id: &str, word: &str, all: bool) -> Result<()> {
    let number = signal::number(word).or((word == "0").then_some(0));
    let number = number.ok_or_else(|| Error::new(ErrorKind::Usage, format!("unknown signal {word:?}")))?;
    let container = Container::open(&runtime.root, id)?;
    if all {
        return kill_all(&container, number);
    }
    let not_running = || Error::new(ErrorKind::State, "container not running");
    let init = container.init()?;
    // Without a pid namespace of its own, the others survive their first process.
    if number == signal::KILL && !container.config()?.has_namespace(NamespaceKind::Pid) {
        let left = init.is_some() || !container.cgroup().processes()?.is_empty();
        return if left { kill_all(&container, number) } else { Err(not_running()) };
    }
    let init = init.ok_or_else(not_running)?;
    match process::send_signal(init.as_fd(), number) {
        Err(gone) if gone.errno() == conex_sys::Errno::SRCH => return Err(not_running()),
        outcome => outcome?,
    }
    if number == signal::KILL { container.thaw_for_signal() } else { Ok(()) }
}

fn kill_all(container: &Container, number: i32) -> Result<()> {
    let cgroup = container.cgroup();
    if number == signal::KILL {
        return cgroup.kill().wrap(|| "kill the container's processes");
    }
    for pid in cgroup.processes()? {
        // A process that has ended since the list was read needs no signal.
        if let Ok(pidfd) = process::open(pid) {
            drop(process::send_signal(pidfd.as_fd(), number));
        }
    }
    Ok(())
}
