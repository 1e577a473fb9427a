// SPDX-License-Identifier: Apache-2.0
//! runtime.md, "State": what is known of a container between two runs of the runtime, and in which state it is.
//!
//! ```text
//!  <state root>/            0700   /run/<name>, or $XDG_RUNTIME_DIR/<name>
//!    <id>/                  0700   held with flock(2) by create, start, delete
//!      state.json           0600   runc's keys; replaced whole (docs/formats/container-state.md)
//!      config.json          0600   the bundle's configuration as it was created
//!      .exec.fifo           0600   while the container is being created
//!      exec.fifo                   renamed so once it is; init waits for a byte; `start` writes it, then removes the name
//!      last-words           0600   empty, or why there is no program after all, once nobody else listens
//! ```
//!
//! The status is never stored, it follows from facts: is the process of this pid, start time and boot there, does
//! it read the fifo, has it executed, is the cgroup frozen. A `run` that stays with its container needs no fifo. So there is nothing that a killed runtime could leave wrong.
#![expect(clippy::disallowed_methods, reason = "the state root is the host's")]

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::ErrorKind as IoErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use conex_spec::runtime::{Config, NamespaceKind, State, Status, VERSION};
use conex_spec::{Timestamp, json};
use conex_sys::file::Access;
use conex_sys::path::Dir;
use conex_sys::procfs::{self, Stat};
use conex_sys::{Errno, file, process, signal};
use serde::Serialize;

use crate::cgroup::Cgroup;
use crate::record::{self, Record};
use crate::{Error, ErrorKind, Result, Wrap, host_root, resctrl};

/// How long a killed process may take to end. More is a stuck kernel, or a cgroup above that somebody has frozen.
const PATIENCE_MS: u32 = 10_000;
const LOOK_AGAIN_MS: u32 = 100;
pub(crate) const STATE_FILE: &str = "state.json";
const CONFIG_FILE: &str = "config.json";
const FIFO: &str = "exec.fifo";
const HIDDEN_FIFO: &str = ".exec.fifo";
const LAST_WORDS: &str = "last-words";

/// A container with a directory below the state root.
#[derive(Debug)]
pub struct Container {
    pub directory: PathBuf,
    pub record: Record,
    /// Held, or this is a reader.
    lock: Option<File>,
}

/// `[A-Za-z0-9_+.-]+`, and not a name that means a directory.
pub fn check_id(id: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+.-".contains(c);
    let valid = !id.is_empty() && id.len() <= 1024 && id.chars().all(allowed) && ![".", ".."].contains(&id);
    valid.then_some(()).ok_or_else(|| {
        Error::new(
            ErrorKind::Usage,
            format!("invalid container ID format: {id:?} (letters, digits, _ + . -)"),
        )
    })
}

/// The ids below a state root, sorted. A missing root has none.
pub fn ids(root: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == IoErrorKind::NotFound => return Ok(Vec::new()),
        outcome => outcome.wrap(|| format!("read {}", root.display()))?,
    };
    let directories = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        entry.file_type().ok()?.is_dir().then(|| entry.file_name().into_string().ok())?
    });
    let mut ids: Vec<_> = directories.filter(|id| check_id(id).is_ok()).collect();
    ids.sort();
    Ok(ids)
}

impl Container {
    /// Takes the id: makes its directory and holds the lock. What a killed `create` left before it had written
    /// anything is taken over.
    pub fn new(root: &Path, id: &str) -> Result<Self> {
        check_id(id)?;
        let directory = root.join(id);
        let wrap = || format!("create {}", directory.display());
        let make = || DirBuilder::new().mode(0o700).create(&directory);
        let made = match make() {
            Err(error) if error.kind() == IoErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(root).wrap(wrap)?;
                make()
            }
            outcome => outcome,
        };
        let found = match made {
            Err(error) if error.kind() == IoErrorKind::AlreadyExists => true,
            outcome => outcome.map(|()| false).wrap(wrap)?,
        };
        let lock = match take(&directory) {
            // An empty directory is nothing yet.
            Err(error) if !found && error.kind() != ErrorKind::Exists => {
                fs::remove_dir(&directory).ok();
                return Err(error).wrap(wrap);
            }
            outcome => outcome?,
        };
        if found {
            // Without a state they are what a killed `create` or `delete` has left.
            let remains = fs::read_dir(&directory).wrap(wrap)?;
            remains.flatten().try_for_each(|entry| fs::remove_file(entry.path())).wrap(wrap)?;
        }
        let record = Record {
            id: id.to_owned(),
            created: Timestamp::from(SystemTime::now()).to_string(),
            ..Record::default()
        };
        Ok(Self { directory, record, lock: Some(lock) })
    }

    /// Reads the state of an existing container.
    pub fn open(root: &Path, id: &str) -> Result<Self> {
        check_id(id)?;
        let directory = root.join(id);
        let path = directory.join(STATE_FILE);
        let bytes = match file::read_record(&path) {
            Err(error) if error.kind() == IoErrorKind::NotFound => {
                return Err(Error::new(ErrorKind::NotFound, "container does not exist"));
            }
            outcome => outcome.wrap(|| format!("read {}", path.display()))?,
        };
        let record = json::read(&bytes)
            .map_err(|error| Error::new(ErrorKind::Config, format!("read {}: {error}", path.display())))?;
        Ok(Self { directory, record, lock: None })
    }

    /// Removes a directory whose record is damaged (by a loss of power), if nobody is at work in it.
    pub fn remove_unreadable(root: &Path, id: &str) -> Result<()> {
        check_id(id)?;
        let directory = root.join(id);
        let wrap = || format!("remove {}", directory.display());
        let lock = File::open(&directory).wrap(wrap)?;
        lock.lock().wrap(wrap)?;
        fs::remove_dir_all(&directory).wrap(wrap)
    }

    /// Waits until nobody else changes the container, then reads it again.
    pub fn lock(self) -> Result<Self> {
        let lock = file::open(&self.directory, Access::Read).wrap(|| "container does not exist")?;
        lock.lock().wrap(|| format!("lock {}", self.directory.display()))?;
        if !is_at(&lock, &self.directory)? {
            return Err(Error::new(ErrorKind::NotFound, "container does not exist"));
        }
        let root = self.directory.parent().unwrap_or(Path::new("/"));
        Ok(Self { lock: Some(lock), ..Self::open(root, &self.record.id)? })
    }

    /// Writes `state.json`.
    pub fn save(&mut self) -> Result<()> {
        self.record.conex.version = record::FORMAT;
        if self.record.conex.boot_id.is_empty() {
            self.record.conex.boot_id = procfs::boot_id()?;
        }
        let bytes = to_json(&self.record)?;
        file::replace_until_reboot(&self.directory.join(STATE_FILE), &bytes, 0o600)
            .wrap(|| "record the container's state")
    }

    /// Records the first process.
    pub fn set_init(&mut self, pid: i32) -> Result<()> {
        let stat =
            procfs::stat(pid)?.ok_or_else(|| Error::new(ErrorKind::Os, "the container's init is gone"))?;
        self.record.init_process_pid = pid;
        self.record.init_process_start = stat.start_time;
        self.record.namespace_paths = NamespaceKind::ALL
            .into_iter()
            .map(|kind| {
                let name = kind.proc_name();
                let key = if name == "mnt" {
                    "NEWNS".to_owned()
                } else {
                    format!("NEW{}", name.to_ascii_uppercase())
                };
                (key, format!("/proc/{pid}/ns/{name}"))
            })
            .collect();
        self.save()
    }

    /// Keeps the configuration beside the state: `exec` and the poststop hooks need it when the bundle may be gone.
    pub fn save_config(&self, config: &Config) -> Result<()> {
        file::replace_until_reboot(&self.directory.join(CONFIG_FILE), &to_json(config)?, 0o600)
            .wrap(|| "record the configuration")
    }

    /// What [`Container::save_config`] kept.
    pub fn config(&self) -> Result<Config> {
        let path = self.directory.join(CONFIG_FILE);
        let bytes = match file::read_record(&path) {
            // It was there before the state: somebody has just deleted the container.
            Err(error) if error.kind() == IoErrorKind::NotFound => {
                return Err(Error::new(ErrorKind::NotFound, "container does not exist"));
            }
            outcome => outcome.wrap(|| format!("read {}", path.display()))?,
        };
        json::read(&bytes)
            .map_err(|error| Error::new(ErrorKind::Os, format!("read {}: {error}", path.display())))
    }

    /// The first process, if it is there: the pidfd of just that one.
    pub fn init(&self) -> Result<Option<OwnedFd>> {
        Ok(self.look_at_init()?.map(|(pidfd, _)| pidfd))
    }

    fn look_at_init(&self) -> Result<Option<(OwnedFd, Stat)>> {
        let pid = self.record.init_process_pid;
        if pid <= 0 {
            return Ok(None);
        }
        let pidfd = match process::open(pid) {
            Err(gone) if [Errno::SRCH, Errno::INVAL].contains(&gone.errno()) => return Ok(None),
            outcome => outcome?,
        };
        let stat = procfs::stat(pid)?.filter(|stat| {
            stat.start_time == self.record.init_process_start && !matches!(stat.state, 'Z' | 'X')
        });
        if stat.is_some() && procfs::boot_id()? != self.record.conex.boot_id {
            return Ok(None);
        }
        Ok(stat.map(|stat| (pidfd, stat)))
    }

    /// In which state the container is.
    pub fn status(&self) -> Result<Status> {
        let Some((_, init)) = self.look_at_init()? else {
            let creating = self.record.init_process_pid == 0 && self.is_locked_by_another();
            return Ok(if creating { Status::Creating } else { Status::Stopped });
        };
        let begins = self.record.conex.begins_at_once && !init.has_executed;
        if begins || self.directory.join(HIDDEN_FIFO).try_exists()? {
            return Ok(Status::Creating);
        }
        if self.cgroup().is_frozen().unwrap_or(false) {
            return Ok(Status::Paused);
        }
        Ok(if self.waits_at_fifo() { Status::Created } else { Status::Running })
    }

    /// A name without a reader is what a `start` left that was killed before it could remove it.
    fn waits_at_fifo(&self) -> bool {
        match open_fifo(&self.fifo()) {
            Ok(_) => true,
            Err(error) if error.kind() == IoErrorKind::NotFound => false,
            Err(error) => error.raw_os_error() != Some(Errno::NXIO.raw_os_error()),
        }
    }

    fn is_locked_by_another(&self) -> bool {
        self.lock.is_none()
            && file::open(&self.directory, Access::Read)
                .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// The state as hooks and `state` see it.
    pub fn state(&self, status: Status) -> State {
        State {
            oci_version: VERSION.to_owned(),
            id: self.record.id.clone(),
            status,
            pid: Some(if status == Status::Stopped { 0 } else { self.record.init_process_pid }),
            bundle: self.record.bundle().to_owned(),
            annotations: self.record.annotations(),
        }
    }

    /// The container's cgroup.
    pub fn cgroup(&self) -> Cgroup {
        let own = &self.record.conex;
        // A unit of this name may be somebody else's as long as it was not made.
        let unit = own.unit.clone().filter(|_| own.owns_cgroup);
        Cgroup::open(self.record.cgroup_paths.clone()).with(unit, own.cgroup_parents.clone())
    }

    /// The name under which a fifo means "created".
    pub fn fifo(&self) -> PathBuf {
        self.directory.join(FIFO)
    }

    /// The fifo's name until then.
    pub fn hidden_fifo(&self) -> PathBuf {
        self.directory.join(HIDDEN_FIFO)
    }

    /// Where the new process says why there is no program after all, once nobody else listens.
    pub fn make_last_words(&self) -> Result<File> {
        let path = self.directory.join(LAST_WORDS);
        File::options()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .wrap(|| "make the file of last words")
    }

    /// Empty unless the program could not be started.
    pub fn last_words(&self) -> String {
        fs::read_to_string(self.directory.join(LAST_WORDS)).unwrap_or_default()
    }

    /// From now on the container counts as created.
    pub fn reveal_fifo(&self) -> Result<()> {
        fs::rename(self.hidden_fifo(), self.fifo()).wrap(|| "mark the container as created")
    }

    /// The first process has ended and was waited for: its number means nothing any more.
    pub fn forget_init(&mut self) {
        self.record.init_process_pid = 0;
    }

    /// Kills the first process, if it is there, and waits for its end.
    pub fn kill_init(&self) -> Result<()> {
        let Some(init) = self.init()? else { return Ok(()) };
        match process::send_signal(init.as_fd(), signal::KILL) {
            Err(gone) if gone.errno() == Errno::SRCH => return Ok(()),
            outcome => outcome?,
        }
        // A `pause` that had looked before may still freeze it: then it is thawed once more.
        for _ in 0..PATIENCE_MS / LOOK_AGAIN_MS {
            self.thaw_for_signal()?;
            if process::wait_for_end(init.as_fd(), Some(LOOK_AGAIN_MS))? {
                return Ok(());
            }
        }
        let what = format!("process {} was killed and does not end", self.record.init_process_pid);
        Err(Error::new(ErrorKind::State, what))
    }

    /// What is frozen does not die of a signal (cgroup v1).
    pub fn thaw_for_signal(&self) -> Result<()> {
        let cgroup = self.cgroup();
        if self.record.conex.owns_cgroup && cgroup.is_frozen()? { cgroup.thaw() } else { Ok(()) }
    }

    /// Kills what runs and removes what was made: processes, cgroup, directory.
    pub fn destroy(self) -> Result<()> {
        self.kill_init()?;
        let cgroup = self.cgroup();
        let vanished = self.record.conex.owns_cgroup && cgroup.vanish();
        let occupied = !vanished && cgroup.processes().is_ok_and(|processes| !processes.is_empty());
        // Until it was found empty and at large, a cgroup of this name belongs to whoever is in it or froze it.
        let found_in_use = || occupied || cgroup.is_frozen().unwrap_or(false);
        let is_ours = self.record.conex.owns_cgroup || !found_in_use();
        if occupied && is_ours {
            // Without a pid namespace of its own, others outlive the first process.
            cgroup.kill().wrap(|| "kill the container's processes")?;
        }
        if let Some(unit) = self.record.conex.unit.as_ref().filter(|_| !self.record.conex.owns_cgroup) {
            // A systemd that cannot be reached is none that could hold it against the container's end.
            drop(unit.end_if_empty());
        }
        if is_ours && !vanished {
            cgroup.remove().wrap(|| "remove the cgroup")?;
        }
        if let Some(root) = &self.record.conex.root_mount {
            host_root::unmount(root).wrap(|| "unmount the root filesystem")?;
        }
        resctrl::remove(&self.record)?;
        remove_directory(&self.directory).wrap(|| format!("remove {}", self.directory.display()))
    }
}

fn remove_directory(directory: &Path) -> Result<()> {
    let open = Dir::open_host(directory)?;
    for entry in open.entries()? {
        open.remove_all(&entry.name)?;
    }
    Ok(fs::remove_dir(directory)?)
}

/// The writing end, without waiting: `ENXIO` if nobody reads. Opening and closing it tells the reader nothing, for
/// that holds both ends.
pub(crate) fn open_fifo(path: &Path) -> std::io::Result<File> {
    const NONBLOCK: i32 = 0o4000;
    File::options().write(true).custom_flags(NONBLOCK).open(path)
}

/// The lock of a directory that is nobody's container yet.
fn take(directory: &Path) -> Result<File> {
    let exists = || Error::new(ErrorKind::Exists, "container with given ID already exists");
    let lock = file::open(directory, Access::Read).map_err(|error| match error.kind() {
        // Somebody is just deleting it.
        IoErrorKind::NotFound => exists(),
        _ => error.into(),
    })?;
    lock.try_lock().map_err(|_| exists())?;
    let taken = !is_at(&lock, directory)? || directory.join(STATE_FILE).try_exists()?;
    if taken { Err(exists()) } else { Ok(lock) }
}

/// Whether an open directory still is what `path` names.
fn is_at(open: &File, path: &Path) -> Result<bool> {
    let named = match fs::metadata(path) {
        Err(error) if error.kind() == IoErrorKind::NotFound => return Ok(false),
        outcome => outcome?,
    };
    let open = open.metadata()?;
    Ok((open.dev(), open.ino()) == (named.dev(), named.ino()))
}

fn to_json(value: &impl Serialize) -> Result<Vec<u8>> {
    let text = json::write(value).map_err(|error| Error::new(ErrorKind::Os, error.to_string()))?;
    Ok(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_never_leave_the_state_root() {
        for id in ["a", "A-1_b+c.d", "...", "-rf"] {
            check_id(id).unwrap();
        }
        for id in ["", ".", "..", "a/b", "../x", "a b", "ä", "a\n", &"x".repeat(1025)] {
            check_id(id).unwrap_err();
        }
    }

    /// A lock that was given up is held on to by the children that other tests are just making, until they execute.
    fn eventually<T>(mut question: impl FnMut() -> Option<T>) -> T {
        let ask = || {
            question().or_else(|| {
                std::thread::sleep(std::time::Duration::from_millis(1));
                None
            })
        };
        std::iter::repeat_with(ask).take(10_000).flatten().next().expect("it comes")
    }

    #[test]
    fn an_id_is_taken_once_and_a_leftover_is_taken_over() {
        let root = tempfile::tempdir().unwrap();
        let mut first = Container::new(root.path(), "c").unwrap();
        let refused = Container::new(root.path(), "c").unwrap_err();
        assert_eq!(refused.to_string(), "container with given ID already exists");
        assert_eq!(Container::open(root.path(), "c").unwrap_err().to_string(), "container does not exist");

        // As if the process had been killed before it wrote anything.
        drop(first);
        first = eventually(|| Container::new(root.path(), "c").ok());
        first.save().unwrap();
        assert_eq!(Container::open(root.path(), "c").unwrap().status().unwrap(), Status::Creating);
        drop(first);
        let container = Container::open(root.path(), "c").unwrap();
        eventually(|| (container.status().unwrap() == Status::Stopped).then_some(()));
        Container::new(root.path(), "c").unwrap_err();
    }

    #[test]
    fn a_damaged_record_can_be_removed() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("c")).unwrap();
        fs::write(root.path().join("c/state.json"), "").unwrap();
        assert_eq!(Container::open(root.path(), "c").unwrap_err().kind(), ErrorKind::Config);
        Container::remove_unreadable(root.path(), "c").unwrap();
        assert!(ids(root.path()).unwrap().is_empty());
    }

    #[test]
    fn a_recycled_pid_is_not_the_container() {
        let root = tempfile::tempdir().unwrap();
        let mut container = Container::new(root.path(), "c").unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        container.set_init(own).unwrap();
        assert_eq!(container.status().unwrap(), Status::Running);
        container.record.init_process_start += 1;
        assert_eq!(container.status().unwrap(), Status::Stopped);
        container.record.init_process_start -= 1;
        container.record.conex.boot_id = "another boot".into();
        assert_eq!(container.status().unwrap(), Status::Stopped);
    }
}
