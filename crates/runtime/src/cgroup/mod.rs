// SPDX-License-Identifier: Apache-2.0
//! Control groups: where a container is accounted, limited, frozen and killed. cgroup v2, v1, and the hybrid of
//! both, through cgroupfs or systemd.
//!
//! ```text
//!  CgroupPlan ──create──────► directories, controllers, limits, device rules ──► clone3 into it, or enter(pid)
//!             └─start_unit──► a scope around the stage, limits, device rules ──► the stage clones
//!  state.json ──open────────► freeze thaw kill processes update remove
//! ```
//!
//! Paths here are of cgroupfs on the host, which no image can put a link into; so they are plain strings.
#![expect(clippy::disallowed_methods, reason = "cgroupfs is the host's")]

mod apply;
mod devices;
mod directory;
mod display;
mod entrance;
mod freezer;
mod layout;
mod limits;
mod make;
mod oom;
mod reading;
mod stats;
mod systemd;
mod threaded;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use conex_spec::runtime::Resources;
use serde::Serialize;

pub use entrance::Entrance;
pub use layout::{Hierarchy, Layout, Version};
pub use make::missing_parents;
pub use oom::OomWatch;
pub use stats::Stats;
pub use systemd::{Property, Unit, UnitRecord};

use crate::{Error, ErrorKind, Result, Wrap};
use directory::is_refusal;
pub(crate) use limits::ignored;
use systemd::Manager;

/// A container's place in every hierarchy and its limits; part of the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CgroupPlan {
    pub driver: Driver,
    /// What systemd shall make, if it is the driver.
    pub unit: Option<Unit>,
    /// Absolute directories on the host by controller; that of v2 has the key "". In v2 there is no other.
    pub directories: BTreeMap<String, String>,
    /// With the device rules that every container gets.
    pub resources: Resources,
    /// Permission errors are ignored as long as no limit was asked for.
    pub best_effort: bool,
    /// The host's uid that may manage the cgroup from inside (v2, own cgroup namespace, writable mount).
    pub owner: Option<u32>,
}

/// Who makes the directories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Driver {
    #[default]
    Cgroupfs,
    /// A transient unit of systemd.
    Systemd,
    /// No cgroup at all: the container stays in its creator's.
    Disabled,
}

/// A container's cgroup: one directory in cgroup v2, one per hierarchy in v1.
#[derive(Debug, Default)]
pub struct Cgroup {
    directories: BTreeMap<String, String>,
    /// The v2 directory, open, for clone3.
    target: Option<File>,
    /// Of systemd, which must hear of what changes.
    unit: Option<UnitRecord>,
    /// Directories above, made for this container.
    parents: Vec<String>,
    best_effort: bool,
}

impl Cgroup {
    /// Takes up what [`Cgroup::directories`] gave earlier (it is in the container's state).
    pub fn open(directories: BTreeMap<String, String>) -> Self {
        Self { directories, ..Self::default() }
    }

    /// As [`Cgroup::open`], with what else there is to take away.
    #[must_use]
    pub fn with(self, unit: Option<UnitRecord>, parents: Vec<String>) -> Self {
        Self { unit, parents, ..self }
    }

    /// Absolute paths by controller; v2 has the key "". Controllers without a directory are absent.
    pub fn directories(&self) -> &BTreeMap<String, String> {
        &self.directories
    }

    /// For CLONE_INTO_CGROUP: the cgroup v2, also beside v1.
    pub fn clone_target(&self) -> Option<BorrowedFd<'_>> {
        self.target.as_ref().map(AsFd::as_fd)
    }

    /// Where clone3 can put a further process: the v2 directory, in a container that has no others.
    pub fn directory_to_be_born_in(&self) -> Option<&str> {
        self.directories.get("").filter(|_| is_v2(&self.directories)).map(String::as_str)
    }

    /// Whether there is a systemd to ask where the kernel refuses.
    pub fn can_adopt(&self) -> bool {
        self.unit.is_some()
    }

    /// Has systemd move a process there.
    pub fn adopt(&self, pid: i32) -> Result<()> {
        let unit =
            self.unit.as_ref().ok_or_else(|| Error::new(ErrorKind::Os, "the container has no unit"))?;
        let directory = self.directories.get("").map_or("", String::as_str);
        let below = directory.split_once(&format!("/{}", unit.name)).map_or("", |(_, below)| below);
        let below = if below.is_empty() { "/" } else { below };
        Manager::connect(&unit.managers)?.attach(&unit.name, below, pid.unsigned_abs())
    }

    /// Whether the container's first process is there from its first moment.
    pub fn is_entered_at_birth(&self) -> bool {
        self.target.is_some() || self.unit.is_some()
    }

    /// Moves a process there. Needless for one that was born there.
    pub fn enter(&self, pid: i32) -> Result<()> {
        for directory in self.distinct() {
            match directory::write(directory, "cgroup.procs", &pid.to_string()) {
                Err(error) if !(self.best_effort && is_refusal(&error)) => {
                    return Err(error).wrap(|| format!("error adding pid {pid} to cgroups"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Every process, also of cgroups below.
    pub fn processes(&self) -> Result<Vec<i32>> {
        self.any().map_or(Ok(Vec::new()), directory::processes)
    }

    /// SIGKILL for every process, with no race against fork.
    pub fn kill(&self) -> Result<()> {
        if let Some(directory) = self.directories.get("")
            && is_v2(&self.directories)
            && directory::has(directory, "cgroup.kill")
        {
            match directory::write(directory, "cgroup.kill", "1") {
                // Threaded.
                Err(error) if error.errno() == Some(conex_sys::Errno::OPNOTSUPP) => {}
                outcome => return outcome,
            }
        }
        // KERNEL(5.14): what is frozen cannot fork, so one round over the list meets all.
        let frozen = self.freeze().is_ok();
        for pid in self.processes()? {
            if let Ok(process) = conex_sys::process::open(pid) {
                // Gone already is as good as killed.
                conex_sys::process::send_signal(process.as_fd(), conex_sys::signal::KILL).ok();
            }
        }
        if frozen { self.thaw() } else { Ok(()) }
    }

    /// How often the kernel killed for lack of memory.
    pub fn oom_kills(&self) -> u64 {
        let file = |controller: &str, file| {
            self.directories.get(controller).and_then(|directory| directory::read(directory, file).ok())
        };
        let text =
            file("memory", "memory.oom_control").or_else(|| file("", "memory.events")).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.parse().ok()).unwrap_or_default()
    }

    /// Removes the directories, waiting until the last process has left, then those above that were made for them and
    /// that nobody else uses. What is gone already is no error.
    pub fn remove(self) -> Result<()> {
        if let Some(unit) = &self.unit {
            // A scope without processes ends by itself: what systemd cannot be told it sees.
            drop(Manager::connect(&unit.managers).and_then(|mut manager| manager.stop(&unit.name)));
        }
        self.distinct().into_iter().try_for_each(directory::remove)?;
        for parent in &self.parents {
            // Occupied means that it is still needed.
            drop(std::fs::remove_dir(parent));
        }
        self.distinct().into_iter().for_each(directory::remove_marked_above);
        Ok(())
    }

    /// True if nobody was in there and nothing below, and so the directories are gone. Otherwise what has them all as
    /// members is still there, and so is everything that systemd must be told.
    pub fn vanish(&self) -> bool {
        let rmdir = |directory: &str| directory::remove_empty(directory).is_ok();
        let Some(first) = self.any().filter(|_| self.unit.is_none() && self.parents.is_empty()) else {
            return false;
        };
        !directory::is_below_marked(first)
            && rmdir(first)
            && self.distinct().into_iter().filter(|other| *other != first).all(rmdir)
    }

    /// Joined controllers share a directory.
    fn distinct(&self) -> BTreeSet<&str> {
        self.directories.values().map(String::as_str).collect()
    }

    /// One directory that has all the processes. The v2 part of a hybrid is there, or not, by luck.
    fn any(&self) -> Option<&str> {
        let first = self.directories.iter().find(|(controller, _)| !controller.is_empty());
        first.or(self.directories.iter().next()).map(|(_, directory)| directory.as_str())
    }

    /// Two containers in one cgroup would kill and limit each other.
    fn check_unused(&self) -> Result<()> {
        let count = self.processes()?.len();
        if count > 0 {
            let message = format!("container's cgroup is not empty: {count} process(es) found");
            return Err(Error::new(ErrorKind::State, message));
        }
        if self.is_frozen()? {
            return Err(Error::new(ErrorKind::State, "container's cgroup unexpectedly frozen"));
        }
        Ok(())
    }
}

fn is_v2(directories: &BTreeMap<String, String>) -> bool {
    directories.keys().all(String::is_empty)
}

#[cfg(test)]
mod tests;
