// SPDX-License-Identifier: Apache-2.0
//! Starting a container's monitor, and finding it again.
//!
//! ```text
//!  conex ── thread: unshare(NEWNS), / slave, overlay on merged ── spawn ──► conex-runtime monitor
//!              (ends; the namespace stays with the monitor)                    fd 0: `alive`, locked
//!    ◄──────────────── "created\n" or what failed ──────────────────────────── fd 1: ready
//! ```
//! The root filesystem is mounted in a namespace that only the monitor and what it starts are in: whoever is killed
//! when, nothing stays mounted on the host. The lock on `alive` is the monitor's standard input, so it lives as long
//! as the monitor does.

use std::fs;
use std::io::{PipeReader, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use conex_image::snapshot::Snapshot;
use conex_sys::mount::{self, Extent, Propagation};
use conex_sys::{namespace, process, procfs};
use serde::{Deserialize, Serialize};

use super::{Container, Record};
use crate::{Engine, Error, ErrorKind, Result, Wrap as _, json, overlay, runtime};

/// `monitor.json`: a process that no other can be taken for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    pid: i32,
    start_time: u64,
    boot_id: String,
}

/// Mounts the container's root filesystem, starts its monitor, and waits until the runtime has created the container.
pub(super) fn launch(engine: &Engine, container: &Container, record: &Record) -> Result<()> {
    let store = engine.store()?;
    let image = store.image(&record.manifest, &conex_spec::image::Platform::host())?;
    let snapshot = store.snapshot(&image)?;
    forget_last_run(engine, container, record)?;
    let alive = container.make_lock("alive")?;
    alive.lock().wrap(|| "lock `alive`")?;
    let (ready, answer) = std::io::pipe().wrap(|| "make a pipe")?;
    let mut command = command(engine, container, record);
    command.stdin(alive).stdout(answer).stderr(Stdio::null());
    // A thread of its own, because a mount namespace is unshared for the calling thread only.
    let spawned = std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            mount_root(container, &snapshot)?;
            command.spawn().map_err(|error| runtime::unusable(&engine.settings.monitor, &error))
        });
        inside.join().unwrap_or_else(|_| Err(Error::new(ErrorKind::Os, "the mounting thread died")))
    })?;
    drop(command);
    remember(container, spawned.id().cast_signed())?;
    wait_until_created(ready)
}

/// Removes what the run before this one left, in the directory and with the runtime.
fn forget_last_run(engine: &Engine, container: &Container, record: &Record) -> Result<()> {
    if !container.path.join("log").exists() {
        return Ok(());
    }
    for name in ["exit", "attach.sock", "pid", "monitor.json"] {
        match fs::remove_file(container.path.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).wrap(|| format!("remove {name}"));
            }
            _ => {}
        }
    }
    container.forget_process(engine, record)
}

fn mount_root(container: &Container, snapshot: &Snapshot) -> Result<()> {
    namespace::unshare(namespace::flags([namespace::Kind::Mount]))?;
    mount::set_propagation(Path::new("/"), Propagation::Slave, Extent::Tree)?;
    let at = |name| container.path.join(name);
    overlay::mount(snapshot, &at("upper"), &at("work"), &at("merged"))
}

fn command(engine: &Engine, container: &Container, record: &Record) -> Command {
    let mut command = Command::new(&engine.settings.monitor);
    command.arg("monitor").args(["--id", &container.id]).arg("--bundle").arg(&container.path);
    command.arg("--runtime").arg(&record.runtime).arg("--runtime-root").arg(&engine.settings.run_root);
    for (flag, file) in
        [("--log", "log"), ("--exit-file", "exit"), ("--pid-file", "pid"), ("--attach-socket", "attach.sock")]
    {
        command.arg(flag).arg(container.path.join(file));
    }
    command.args(record.terminal.then_some("--terminal")).args(record.stdin.then_some("--stdin"));
    command.args(["--ready-fd", "1"]);
    command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/");
    command
}

fn remember(container: &Container, pid: i32) -> Result<()> {
    // None: it has failed already, and is about to say so.
    let Some(stat) = procfs::stat(pid)? else { return Ok(()) };
    let identity = Identity { pid, start_time: stat.start_time, boot_id: procfs::boot_id()? };
    json::write(&container.path.join("monitor.json"), &identity)
}

fn wait_until_created(mut ready: PipeReader) -> Result<()> {
    let mut words = Vec::new();
    let mut chunk = [0; 4096];
    while !words.contains(&b'\n') || !words.starts_with(b"created") {
        match ready.read(&mut chunk).wrap(|| "read the monitor's answer")? {
            0 => return Err(runtime::failure(&String::from_utf8_lossy(&words))),
            length => words.extend_from_slice(&chunk[..length]),
        }
    }
    Ok(())
}

impl Container {
    /// The monitor as a pidfd, if it is still there.
    pub(super) fn monitor(&self) -> Result<Option<(i32, OwnedFd)>> {
        let Some(identity) = json::read::<Identity>(&self.path.join("monitor.json"))? else {
            return Ok(None);
        };
        if identity.boot_id != procfs::boot_id()? {
            return Ok(None);
        }
        let Ok(pidfd) = process::open(identity.pid) else { return Ok(None) };
        // Looked at after the pidfd was opened: if the start time is right, the pidfd is of that process.
        // One that has ended, and that its parent has not taken notice of, is no monitor any more.
        let same = procfs::stat(identity.pid)?
            .is_some_and(|stat| stat.start_time == identity.start_time && !matches!(stat.state, 'Z' | 'X'));
        Ok(same.then_some((identity.pid, pidfd)))
    }

    /// Waits for the monitor to end; `false` after `timeout`. It has then written down how the container ended.
    pub(super) fn wait_for_monitor(&self, timeout: Option<Duration>) -> Result<bool> {
        if let Some((_, pidfd)) = self.monitor()? {
            let timeout = timeout.map(|limit| u32::try_from(limit.as_millis()).unwrap_or(u32::MAX));
            return Ok(process::wait_for_end(pidfd.as_fd(), timeout)?);
        }
        // It has ended, or its starter was killed before it could write down who it is: then only the lock tells.
        let deadline = timeout.map(|limit| Instant::now() + limit);
        while self.is_monitored()? {
            if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                return Ok(false);
            }
            std::thread::sleep(PAUSE);
        }
        Ok(true)
    }
}

/// Between two looks at a lock that cannot be waited for with a limit.
const PAUSE: Duration = Duration::from_millis(20);
