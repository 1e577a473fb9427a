// SPDX-License-Identifier: Apache-2.0
//! What cgroup hierarchies this host has mounted, and where the caller is in each.

use crate::{Error, ErrorKind, Result};

/// The hierarchies in use for containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    pub version: Version,
    /// v2: exactly one. v1 and hybrid: one per mount, in mount order.
    pub hierarchies: Vec<Hierarchy>,
}

/// Which interface the controllers have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    #[default]
    V2,
    /// Also the hybrid, where v2 is mounted without controllers beside v1.
    V1,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hierarchy {
    /// `cpu`, `cpuacct`, `name=systemd`, …; empty for v2.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub mount_point: String,
    /// What part of the hierarchy is mounted there: `/` outside of a container.
    pub mount_root: String,
    /// Where the caller is, within the hierarchy.
    pub own_path: String,
}

impl Hierarchy {
    /// Where the caller is, below the mount point.
    pub fn own_directory(&self) -> String {
        let root = self.mount_root.trim_end_matches('/');
        let below = self.own_path.strip_prefix(root).unwrap_or(&self.own_path);
        below.trim_end_matches('/').into()
    }
}

impl Layout {
    /// Reads /proc/self/mountinfo and /proc/self/cgroup.
    pub fn detect() -> Result<Self> {
        Err(Error::new(ErrorKind::Unsupported, "cgroups are not written yet"))
    }
}
