// SPDX-License-Identifier: Apache-2.0
//! Being told when memory runs out, without asking again and again.
//!
//! ```text
//!  v2   poll(memory.events, POLLPRI)     the file changed: does `oom_kill` count more than before?
//!  v1   "<eventfd> <memory.oom_control>" → cgroup.event_control; the eventfd counts up, once more at the end of all
//! ```

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use conex_sys::poll::Events;

use super::{Cgroup, directory};
use crate::{Result, Wrap};

/// Something to poll, and to ask when it is ready.
#[derive(Debug)]
pub enum OomWatch {
    V1 { counter: OwnedFd, directory: String },
    V2 { events: File, seen: u64 },
}

impl Cgroup {
    /// `None` if nothing here counts memory.
    pub fn watch_oom(&self) -> Result<Option<OomWatch>> {
        if let Some(path) = self.directories.get("memory") {
            let counter = conex_sys::eventfd::new()?;
            let control = directory::open(path, "memory.oom_control")?;
            let numbers = format!("{} {}", counter.as_raw_fd(), control.as_raw_fd());
            directory::write(path, "cgroup.event_control", &numbers)?;
            return Ok(Some(OomWatch::V1 { counter, directory: path.clone() }));
        }
        let Some(path) = self.directories.get("").filter(|path| directory::has(path, "memory.events")) else {
            return Ok(None);
        };
        let mut watch = OomWatch::V2 { events: directory::open(path, "memory.events")?, seen: 0 };
        watch.happened()?;
        Ok(Some(watch))
    }
}

impl OomWatch {
    /// What to poll, and for what.
    pub fn polled(&self) -> (BorrowedFd<'_>, Events) {
        match self {
            Self::V1 { counter, .. } => (counter.as_fd(), Events::IN),
            Self::V2 { events, .. } => (events.as_fd(), Events::PRI),
        }
    }

    /// Whether it was that. Asked only when the poll says so: the file also changes at other limits, and the end of a
    /// v1 cgroup is told as well.
    pub fn happened(&mut self) -> Result<bool> {
        match self {
            Self::V1 { counter, directory } => {
                let told = conex_sys::eventfd::take(counter.as_fd())? > 0;
                Ok(told && directory::has(directory, "cgroup.event_control"))
            }
            Self::V2 { events, seen } => {
                let mut text = String::new();
                let read = events.rewind().and_then(|()| events.read_to_string(&mut text));
                match read {
                    // The cgroup is gone.
                    Err(error) if directory::is_gone(&error) => return Ok(false),
                    outcome => outcome.wrap(|| "read memory.events")?,
                };
                let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
                let count = count.and_then(|count| count.parse().ok()).unwrap_or_default();
                Ok(std::mem::replace(seen, count) < count)
            }
        }
    }
}
