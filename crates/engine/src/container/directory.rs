// SPDX-License-Identifier: Apache-2.0
//! One container's directory: finding it, locking it, and telling from it and the kernel what state it is in.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};

use conex_spec::runtime::Status;

use super::{Exit, Record, State};
use crate::runtime::Runtime;
use crate::{Engine, Error, ErrorKind, Result, Wrap as _, json, name};

/// A container's id and directory. That it exists as a value says nothing about the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// 64 hex digits.
    pub id: String,
    /// `<root>/containers/<id>`
    pub path: PathBuf,
}

/// A held lock; the kernel lets go of it with the last process that has it.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Container {
    pub(super) fn new(engine: &Engine, id: impl Into<String>) -> Self {
        let id = id.into();
        let path = directory(engine).join(&id);
        Self { id, path }
    }

    /// Makes the directory of a new container and locks it.
    pub(super) fn make(engine: &Engine) -> Result<(Self, Lock)> {
        let container = Self::new(engine, name::new_id()?);
        let make = |path: &Path| fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        make(&directory(engine).join("by-name")).wrap(|| "make a container")?;
        // Until it is locked, it looks like what a killed command left: nobody sweeps meanwhile.
        let _names = lock_names(engine)?;
        make(&container.path).wrap(|| "make a container")?;
        container.make_lock("lock")?;
        let lock = container.lock()?;
        Ok((container, lock))
    }

    /// Waits for whoever is changing the container. An error of kind `NotFound` once it is gone.
    pub fn lock(&self) -> Result<Lock> {
        let lock = self.open_lock("lock")?;
        lock.lock().wrap(|| format!("lock {}", self.path.display()))?;
        // Whoever held the lock may have removed the container meanwhile.
        if self.path.join("lock").exists() { Ok(Lock { _file: lock }) } else { Err(missing(&self.id)) }
    }

    /// The lock, if nobody is changing the container now.
    pub(super) fn try_lock(&self) -> Result<Option<Lock>> {
        let lock = self.open_lock("lock")?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).wrap(|| format!("lock {}", self.path.display())),
        }
    }

    /// Opens one of the two lock files. Makes none: what is being removed must become empty.
    fn open_lock(&self, file: &str) -> Result<File> {
        self.opened(file, File::options().read(true).write(true))
    }

    /// Opens one of the two lock files, made if it is not there.
    pub(super) fn make_lock(&self, file: &str) -> Result<File> {
        self.opened(file, File::options().read(true).write(true).create(true).truncate(false))
    }

    fn opened(&self, file: &str, options: &fs::OpenOptions) -> Result<File> {
        let path = self.path.join(file);
        options.open(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => missing(&self.id),
            _ => Error::from(error).wrap(format!("open {}", path.display())),
        })
    }

    /// What was asked for; `None` while it is being made, and for what a killed command left.
    pub fn record(&self) -> Result<Option<Record>> {
        json::read(&self.path.join("container.json"))
    }

    /// The record, for those who remove: one that cannot be read must not keep its container for ever.
    pub(super) fn readable_record(&self) -> Result<Option<Record>> {
        match self.record() {
            Err(error) if error.kind() == ErrorKind::Invalid => Ok(None),
            result => result,
        }
    }

    /// The record of a container that must be there.
    pub fn required_record(&self) -> Result<Record> {
        self.record()?.ok_or_else(|| missing(&self.id))
    }

    pub(super) fn write_record(&self, record: &Record) -> Result<()> {
        json::write(&self.path.join("container.json"), record)
    }

    /// How its process ended, where the monitor wrote that down.
    pub fn exit(&self) -> Result<Option<Exit>> {
        json::read(&self.path.join("exit"))
    }

    /// Whether a monitor holds its lock. Those who look take it shared, and so never see each other.
    pub fn is_monitored(&self) -> Result<bool> {
        let alive = match self.open_lock("alive") {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            opened => opened?,
        };
        match alive.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error).wrap(|| format!("lock {}", self.path.display())),
        }
    }

    /// What it is doing now.
    pub fn state(&self, record: &Record, run_root: &Path) -> Result<State> {
        if let Some(exit) = self.exit()? {
            return Ok(State::Exited(Some(exit)));
        }
        let monitored = self.is_monitored()?;
        match (monitored, record.started) {
            (true, Some(_)) => return Ok(State::Running),
            // Looked for again: it may have been started and have ended since.
            (false, None) => {
                return Ok(self.exit()?.map_or(State::Created, |exit| State::Exited(Some(exit))));
            }
            // The starter or the monitor was killed, or is just ending: only the runtime knows.
            _ => {}
        }
        let runtime = Runtime { program: record.runtime.clone(), root: run_root.to_owned() };
        Ok(match runtime.status(&self.id)? {
            Some((Status::Running, _)) => State::Running,
            Some((Status::Paused, _)) => State::Paused,
            None if !monitored => State::Exited(self.exit()?),
            _ => State::Created,
        })
    }

    /// Takes a name by making its link. `false` if it is taken.
    pub(super) fn claim(&self, engine: &Engine, name: &str) -> Result<bool> {
        let names = directory(engine).join("by-name");
        let link = names.join(name);
        // One at a time, so that two commands cannot both clear away a dead link and then each other's.
        let _names = lock_names(engine)?;
        let target = fs::read_link(&link).map(|target| names.join(target));
        match target {
            Ok(taken) if taken.exists() => return Ok(false),
            Ok(_) => fs::remove_file(&link).wrap(|| format!("remove {}", link.display()))?,
            Err(_) => {}
        }
        symlink(Path::new("..").join(&self.id), &link).wrap(|| format!("make {}", link.display()))?;
        Ok(true)
    }

    /// Gives its name back, whichever that is: also for a container without a record.
    pub(super) fn unclaim(&self, engine: &Engine) -> Result<()> {
        let names = directory(engine).join("by-name");
        for entry in fs::read_dir(&names).wrap(|| format!("list {}", names.display()))? {
            let link = entry.wrap(|| format!("list {}", names.display()))?.path();
            if fs::read_link(&link).is_ok_and(|target| target.ends_with(&self.id)) {
                fs::remove_file(&link).wrap(|| format!("remove {}", link.display()))?;
            }
        }
        Ok(())
    }
}

/// `<root>/containers`
pub(super) fn directory(engine: &Engine) -> PathBuf {
    engine.settings.root.join("containers")
}

/// Waits for whoever is making a container, naming one, or telling garbage from what is just being made. Held only
/// for moments; a container's own lock may be held while waiting for it, but is only tried for while holding it.
pub(super) fn lock_names(engine: &Engine) -> Result<Lock> {
    let names = directory(engine).join("by-name");
    let file = File::open(&names).wrap(|| format!("open {}", names.display()))?;
    file.lock().wrap(|| format!("lock {}", names.display()))?;
    Ok(Lock { _file: file })
}

/// The ids of all containers, also of those that are just being made, in no order.
pub fn ids(engine: &Engine) -> Result<Vec<String>> {
    let path = directory(engine);
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).wrap(|| format!("list {}", path.display())),
    };
    let mut ids = Vec::new();
    for entry in entries {
        let entry = entry.wrap(|| format!("list {}", path.display()))?;
        ids.extend(entry.file_name().into_string().ok().filter(|id| is_id(id)));
    }
    Ok(ids)
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The container that a person means: by name, whole id, or the beginning of one.
pub fn find(engine: &Engine, text: &str) -> Result<Container> {
    let by_name = directory(engine).join("by-name").join(text);
    if name::check(text).is_ok()
        && let Ok(target) = fs::read_link(by_name)
        && let Some(id) = target.file_name().and_then(|id| id.to_str())
        && Container::new(engine, id).path.exists()
    {
        return Ok(Container::new(engine, id));
    }
    let mut matching: Vec<String> =
        ids(engine)?.into_iter().filter(|id| !text.is_empty() && id.starts_with(text)).collect();
    match (matching.pop(), matching.len()) {
        (Some(id), 0) => Ok(Container::new(engine, id)),
        (Some(_), more) => Err(Error::new(
            ErrorKind::Usage,
            format!("{text:?} is the beginning of {} container ids; write more of it", more + 1),
        )),
        (None, _) => Err(missing(text)),
    }
}

fn missing(text: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("no container with name or id {text:?}"))
        .with_hint("`conex ps -a` shows all containers")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;
    use crate::container::sweep;

    fn engine(root: &Path) -> Engine {
        Engine::new(crate::Settings {
            root: root.to_owned(),
            run_root: root.join("run"),
            runtime: "/nonexistent".into(),
            monitor: "/nonexistent".into(),
            registry: conex_registry::Settings::new("test"),
            containers_storage: crate::containers_storage::Places::default(),
            trust: crate::policy::TrustFiles::default(),
        })
    }

    #[test]
    fn nobody_sweeps_away_what_is_just_being_made() {
        let directory = tempfile::tempdir().unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let engine = engine(directory.path());
                    while !done.load(Relaxed) {
                        sweep(&engine).unwrap();
                    }
                });
            }
            let engine = engine(directory.path());
            let lost = (0..1000).filter(|_| Container::make(&engine).is_err()).count();
            done.store(true, Relaxed);
            assert_eq!(lost, 0);
        });
        sweep(&engine(directory.path())).unwrap();
        assert_eq!(ids(&engine(directory.path())).unwrap(), Vec::<String>::new());
    }
}
