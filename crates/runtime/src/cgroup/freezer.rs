// SPDX-License-Identifier: Apache-2.0
//! Stopping all processes of a cgroup where they are: `cgroup.freeze` in v2, the freezer controller in v1.
//!
//! ```text
//!  v2   cgroup.freeze  1        cgroup.events  frozen 1     the kernel tells when the last has stopped
//!  v1   freezer.state  FROZEN   freezer.state  FREEZING     … until it reads FROZEN; nothing tells
//! ```
//!
//! A freeze that does not come to its end is taken back: half a frozen container is neither running nor paused.

use std::time::{Duration, Instant};

use super::{Cgroup, directory};
use crate::cgroup::directory::PATIENCE;
use crate::{Error, ErrorKind, Result};

impl Cgroup {
    /// Stops every process and returns when all have stopped.
    pub fn freeze(&self) -> Result<()> {
        match (self.directories.get("freezer"), self.directories.get("")) {
            (Some(directory), _) => freeze_v1(directory),
            (None, Some(directory)) => freeze_v2(directory),
            (None, None) => Err(no_freezer()),
        }
    }

    /// The opposite. It does not wait: a cgroup above may still be frozen.
    pub fn thaw(&self) -> Result<()> {
        match (self.directories.get("freezer"), self.directories.get("")) {
            (Some(directory), _) => directory::write(directory, "freezer.state", "THAWED"),
            (None, Some(directory)) => directory::write(directory, "cgroup.freeze", "0"),
            (None, None) => Err(no_freezer()),
        }
    }

    /// Whether `freeze` was the last word. A cgroup above that is frozen does not count.
    pub fn is_frozen(&self) -> Result<bool> {
        if let Some(directory) = self.directories.get("freezer") {
            let state = directory::read_value(directory, "freezer.state").unwrap_or_default();
            // FROZEN, or on the way there.
            return Ok(state.starts_with("FR")
                && directory::read(directory, "freezer.self_freezing").is_ok_and(|told| told.trim() == "1"));
        }
        let Some(directory) = self.directories.get("") else { return Ok(false) };
        Ok(directory::read_value(directory, "cgroup.freeze").is_ok_and(|state| state == "1"))
    }
}

fn freeze_v2(path: &str) -> Result<()> {
    directory::write(path, "cgroup.freeze", "1")?;
    if directory::wait_for_change(path, "frozen 1", Instant::now() + PATIENCE)? {
        return Ok(());
    }
    directory::write(path, "cgroup.freeze", "0")?;
    Err(stuck(path))
}

/// v1 tells of no change: one has to look again, and to ask again, for a process may fork while others freeze. Letting
/// all go now and then gives a crowd that forks another chance.
fn freeze_v1(path: &str) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut attempts = 1_u32..;
    loop {
        directory::write(path, "freezer.state", "FROZEN")?;
        if directory::read(path, "freezer.state")?.trim() == "FROZEN" {
            return Ok(());
        }
        let over = Instant::now() >= deadline;
        if over || attempts.next().is_some_and(|attempt| attempt % 50 == 0) {
            directory::write(path, "freezer.state", "THAWED")?;
        }
        if over {
            return Err(stuck(path));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn stuck(path: &str) -> Error {
    let seconds = PATIENCE.as_secs();
    let what = format!(
        "unable to freeze {path} within {seconds} s, all its processes run again: one waits in the kernel (state D in ps)"
    );
    Error::new(ErrorKind::State, what)
}

fn no_freezer() -> Error {
    Error::new(ErrorKind::Unsupported, "the container has no cgroup that could be frozen")
}
