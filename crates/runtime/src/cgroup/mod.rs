// SPDX-License-Identifier: Apache-2.0
//! Control groups: where a container is accounted, limited, frozen and killed. cgroup v2, v1, and the hybrid of
//! both, through cgroupfs.
//!
//! ```text
//!  CgroupPlan ──create──► directories, controllers, limits, device rules ──► clone3 into it, or enter(pid)
//!  state.json ──open────► freeze thaw kill processes apply remove
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
mod oom;
mod reading;
mod stats;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use conex_spec::runtime::Resources;
use serde::Serialize;

pub use entrance::Entrance;
pub use layout::{Hierarchy, Layout, Version};
pub use oom::OomWatch;
pub use stats::Stats;

use crate::{Error, ErrorKind, Result, Wrap};
use directory::is_refusal;
pub(crate) use limits::ignored;

/// A container's place in every hierarchy and its limits; part of the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CgroupPlan {
    pub driver: Driver,
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
    best_effort: bool,
}

impl Cgroup {
    /// Makes the directories and writes the limits, before a process is in there.
    pub fn create(plan: &CgroupPlan) -> Result<Self> {
        let mut cgroup = Self { best_effort: plan.best_effort, ..Self::default() };
        if plan.driver == Driver::Disabled {
            return Ok(cgroup);
        }
        let v2 = is_v2(&plan.directories);
        for (controller, path) in &plan.directories {
            match make_with_parents(path, v2, controller) {
                // Somebody else's of the same name: as good as one that could not be made.
                Ok(()) if plan.best_effort && !may_enter(path) => {}
                Ok(()) => drop(cgroup.directories.insert(controller.clone(), path.clone())),
                // In the hybrid nothing depends on the v2 part.
                Err(_) if !v2 && controller.is_empty() => {}
                Err(error) if plan.best_effort && is_refusal(&error) => {}
                Err(error) => return Err(error),
            }
        }
        cgroup.check_unused()?;
        cgroup.apply(&plan.resources)?;
        // Beside v1, nobody without privilege may be put into the v2 part.
        if let Some(directory) = cgroup.directories.get("").filter(|_| v2 || !plan.best_effort) {
            cgroup.target = Some(File::open(directory).wrap(|| format!("open {directory}"))?);
            if let Some(owner) = plan.owner.filter(|_| v2) {
                give_to(directory, owner)?;
            }
        }
        Ok(cgroup)
    }

    /// Takes up what [`Cgroup::directories`] gave earlier (it is in the container's state).
    pub fn open(directories: BTreeMap<String, String>) -> Self {
        Self { directories, target: None, best_effort: false }
    }

    /// Absolute paths by controller; v2 has the key "". Controllers without a directory are absent.
    pub fn directories(&self) -> &BTreeMap<String, String> {
        &self.directories
    }

    /// For CLONE_INTO_CGROUP: the cgroup v2, also beside v1.
    pub fn clone_target(&self) -> Option<BorrowedFd<'_>> {
        self.target.as_ref().map(AsFd::as_fd)
    }

    /// Moves a process there. Needless after CLONE_INTO_CGROUP.
    pub fn enter(&self, pid: i32) -> Result<()> {
        for directory in self.distinct() {
            match directory::write(directory, "cgroup.procs", &pid.to_string()) {
                Err(error) if !(self.best_effort && is_refusal(&error)) => return Err(error),
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
            return directory::write(directory, "cgroup.kill", "1");
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

    /// Removes the directories, waiting until the last process has left. What is gone already is no error.
    pub fn remove(self) -> Result<()> {
        self.distinct().into_iter().try_for_each(directory::remove)
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

/// On the way down v2 needs its controllers passed on, and v1's cpuset its processors and memory nodes.
fn make_with_parents(path: &str, v2: bool, controller: &str) -> Result<()> {
    if std::path::Path::new(path).is_dir() {
        return Ok(());
    }
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    if parent.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, format!("no cgroup filesystem around {path}")));
    }
    make_with_parents(parent, v2, controller)?;
    if v2 {
        pass_controllers_on(parent);
    }
    if directory::make(path)? && controller == "cpuset" {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let inherited = directory::read(parent, file)?;
            if directory::read(path, file)?.trim().is_empty() {
                directory::write(path, file, inherited.trim())?;
            }
        }
    }
    Ok(())
}

/// A controller that cannot be had (processes in the parent, no right) is missed only when a limit needs it.
fn pass_controllers_on(parent: &str) {
    let Ok(available) = directory::read(parent, "cgroup.controllers") else { return };
    let enabled = directory::read(parent, "cgroup.subtree_control").unwrap_or_default();
    let missing: Vec<_> = available
        .split_whitespace()
        .filter(|controller| !enabled.split_whitespace().any(|enabled| enabled == *controller))
        .map(|controller| format!("+{controller}"))
        .collect();
    if missing.is_empty() || directory::write(parent, "cgroup.subtree_control", &missing.join(" ")).is_ok() {
        return;
    }
    for one in missing {
        directory::write(parent, "cgroup.subtree_control", &one).ok();
    }
}

/// config-linux.md, "Cgroup ownership": the directory and the files that the kernel says are safe to delegate.
fn give_to(directory: &str, uid: u32) -> Result<()> {
    let listed = std::fs::read_to_string("/sys/kernel/cgroup/delegate");
    let files = listed.unwrap_or_else(|_| "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n".into());
    std::os::unix::fs::chown(directory, Some(uid), None).wrap(|| format!("chown {directory}"))?;
    for file in files.lines() {
        let path = format!("{directory}/{file}");
        match std::os::unix::fs::chown(&path, Some(uid), None) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::from(error).wrap(format_args!("chown {path}")));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether the caller may move processes into a cgroup.
fn may_enter(directory: &str) -> bool {
    File::options().write(true).open(format!("{directory}/cgroup.procs")).is_ok()
}

#[cfg(test)]
mod tests;
