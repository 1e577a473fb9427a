// SPDX-License-Identifier: Apache-2.0
//! Control groups: where a container is accounted, limited, frozen and killed. cgroup v2, v1, and the hybrid of
//! both, through cgroupfs.

mod display;
mod layout;

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use conex_spec::runtime::Resources;
use serde::Serialize;

pub use layout::{Hierarchy, Layout, Version};

use crate::{Error, ErrorKind, Result};

/// A container's place in every hierarchy and its limits; part of the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CgroupPlan {
    pub driver: Driver,
    /// One directory on the host per hierarchy, absolute. For v2 there is exactly one, with the key "".
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
}

impl Cgroup {
    /// Makes the directories and writes the limits, before a process is in there.
    pub fn create(_plan: &CgroupPlan) -> Result<Self> {
        Err(Error::new(ErrorKind::Unsupported, "cgroups are not written yet"))
    }

    /// Takes up what [`Cgroup::directories`] gave earlier (it is in the container's state).
    pub fn open(directories: BTreeMap<String, String>) -> Self {
        Self { directories }
    }

    /// Absolute paths by controller; v2 has the key "". Controllers without a directory are absent.
    pub fn directories(&self) -> &BTreeMap<String, String> {
        &self.directories
    }

    /// For CLONE_INTO_CGROUP: cgroup v2 only.
    pub fn clone_target(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Moves a process there. Needless after CLONE_INTO_CGROUP.
    pub fn enter(&self, _pid: i32) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "cgroups are not written yet"))
    }

    /// Writes new limits (`update`).
    pub fn apply(&self, _resources: &Resources) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "cgroups are not written yet"))
    }

    /// Every process, also of cgroups below.
    pub fn processes(&self) -> Result<Vec<i32>> {
        Ok(Vec::new())
    }

    /// Stops every process and returns when all have stopped.
    pub fn freeze(&self) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "cgroups are not written yet"))
    }

    /// The opposite of `freeze`.
    pub fn thaw(&self) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "cgroups are not written yet"))
    }

    /// Whether `freeze` was the last word.
    pub fn is_frozen(&self) -> Result<bool> {
        Ok(false)
    }

    /// SIGKILL for every process, with no race against fork.
    pub fn kill(&self) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "cgroups are not written yet"))
    }

    /// How often the kernel killed for lack of memory.
    pub fn oom_kills(&self) -> u64 {
        0
    }

    /// Removes the directories, waiting until the last process has left. What is gone already is no error.
    pub fn remove(self) -> Result<()> {
        Ok(())
    }
}
