// SPDX-License-Identifier: Apache-2.0
//! How a container ended: `{"code":137,"finished":"2026-11-21T12:00:00Z","oom":true}`, written whole or not at all.

use std::path::Path;
use std::time::SystemTime;

use conex_spec::{Timestamp, json};
use conex_sys::file::replace;
use conex_sys::process::Exit;
use conex_sys::signal::KILL;
use serde::Serialize;

use crate::cgroup::{Cgroup, Layout};
use crate::{Error, ErrorKind, Result};

#[derive(Serialize)]
struct Outcome {
    code: i32,
    finished: Timestamp,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    oom: bool,
}

/// Writes the exit file.
pub(super) fn write(path: &Path, exit: Exit, oom: bool) -> Result<()> {
    let outcome = Outcome { code: exit.code(), finished: SystemTime::now().into(), oom };
    let text = json::write(&outcome)
        .map_err(|error| Error::new(ErrorKind::Os, format!("write the exit file: {error}")))?;
    Ok(replace(path, text.as_bytes(), 0o644)?)
}

/// The container's cgroup as the kernel shows it, whatever runtime made it.
pub(super) struct MemoryWatch(Cgroup);

impl MemoryWatch {
    pub(super) fn new(pid: i32) -> Self {
        let directories = Layout::of_process(pid).map(|layout| layout.own_directories()).unwrap_or_default();
        Self(Cgroup::open(directories))
    }

    /// Whether the kernel killed for lack of memory, and that was the end.
    pub(super) fn kills(&self, exit: Exit) -> bool {
        exit == Exit::Signal(KILL) && self.0.oom_kills() > 0
    }
}
