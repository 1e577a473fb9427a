// SPDX-License-Identifier: Apache-2.0
//! Removing a container: its process first, then its directory, then its name.

use std::fs;

use super::directory::{Lock, lock_names};
use super::{Container, Record, State, stop};
use crate::{Engine, Error, ErrorKind, Result, Wrap as _};

/// What to do with a container that still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// Kill it.
    Yes,
    /// Refuse to remove it.
    No,
}

impl Container {
    /// The first half: nothing of its process is left afterwards. Works from outside the user namespace.
    pub fn end(&self, engine: &Engine, force: Force) -> Result<()> {
        let lock = self.lock()?;
        let Some(record) = self.readable_record()? else { return Ok(()) };
        let state = self.state(&record, &engine.settings.run_root)?;
        if force == Force::No && matches!(state, State::Running | State::Paused) {
            return Err(Error::new(ErrorKind::InUse, format!("container {} is running", record.name))
                .with_hint(format!("`conex stop {0}` first, or `conex rm -f {0}`", record.name)));
        }
        self.end_process(engine, &record)?;
        drop(lock);
        Ok(())
    }

    /// Kills what runs, and lets the runtime forget it.
    fn end_process(&self, engine: &Engine, record: &Record) -> Result<()> {
        if self.is_monitored()? || engine.runtime_of(record).status(&self.id)?.is_some() {
            stop::end(engine, self, record)?;
        }
        self.forget_process(engine, record)
    }

    /// Lets the runtime forget a container that has no process any more.
    pub(super) fn forget_process(&self, engine: &Engine, record: &Record) -> Result<()> {
        let runtime = engine.runtime_of(record);
        if runtime.knows(&self.id)? {
            runtime.check(&mut runtime.command(&["delete", "--force", &self.id]))?;
        }
        Ok(())
    }
}

/// The second half: removes the directory and the name of a container that has no process. Its files may belong to
/// subordinate ids: an ordinary user does this in the user namespace.
pub fn remove(engine: &Engine, container: &Container) -> Result<()> {
    let lock = container.lock()?;
    if container.is_monitored()? {
        return Err(Error::new(ErrorKind::InUse, format!("container {} still has a monitor", container.id)));
    }
    // From here on it is garbage: whoever finds it may finish the work.
    match fs::remove_file(container.path.join("container.json")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).wrap(|| "remove container.json");
        }
        _ => {}
    }
    discard(engine, container, lock)
}

/// Both halves, for a container that is locked and shall not be there at all.
pub(super) fn end_and_discard(
    engine: &Engine,
    container: &Container,
    record: &Record,
    lock: Lock,
) -> Result<()> {
    container.end_process(engine, record)?;
    discard(engine, container, lock)
}

/// Removes what is left of a container that has no record, and its name.
pub(super) fn discard(engine: &Engine, container: &Container, lock: Lock) -> Result<()> {
    for entry in fs::read_dir(&container.path).wrap(|| format!("list {}", container.path.display()))? {
        let entry = entry.wrap(|| format!("list {}", container.path.display()))?;
        // The lock goes last, so that nobody takes what remains for a container that is being made.
        if entry.file_name() != "lock" {
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let removed =
                if is_directory { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) };
            removed.wrap(|| format!("remove {}", entry.path().display()))?;
        }
    }
    let names = lock_names(engine)?;
    fs::remove_dir_all(&container.path).wrap(|| format!("remove {}", container.path.display()))?;
    drop((names, lock));
    container.unclaim(engine)
}
