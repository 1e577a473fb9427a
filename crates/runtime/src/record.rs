// SPDX-License-Identifier: Apache-2.0
//! What is recorded of a container: `state.json` as data (docs/formats/container-state.md). Who reads and writes it,
//! and what follows from it, is in [`crate::container`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use conex_sys::procfs;

use crate::Result;
use crate::cgroup::UnitRecord;
pub use crate::host_root::RecordedMount;

/// The version of the keys that are this runtime's own.
pub(crate) const FORMAT: u32 = 1;

/// `state.json`. The first keys are runc's, for those who read its files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    pub id: String,
    /// 0 until the process exists.
    pub init_process_pid: i32,
    /// `/proc/<pid>/stat`, field 22.
    pub init_process_start: u64,
    pub created: String,
    pub config: RecordedConfig,
    pub rootless: bool,
    /// By controller; v2 has the empty key. Written before the first of them is made.
    pub cgroup_paths: BTreeMap<String, String>,
    /// `NEWNET` → `/proc/<pid>/ns/net`.
    pub namespace_paths: BTreeMap<String, String>,
    pub external_descriptors: Vec<String>,
    pub intel_rdt_path: String,
    pub intel_rdt_mon_path: String,
    pub conex: Own,
}

/// As much of a [`Record`] as `list` prints of a container that has ended: of thousands, the rest is not looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Glance {
    pub(crate) id: String,
    pub(crate) init_process_pid: i32,
    pub(crate) init_process_start: u64,
    pub(crate) created: String,
    pub(crate) config: RecordedConfig,
    pub(crate) conex: Boot,
}

/// Of [`Own`].
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Boot {
    pub(crate) boot_id: String,
}

/// What this runtime needs beyond runc's keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Own {
    /// Of this format.
    pub version: u32,
    /// A pid and start time mean something during this boot only.
    pub boot_id: String,
    /// The cgroup was found empty, so every process in it is the container's.
    pub owns_cgroup: bool,
    /// Of systemd, if that made the cgroup. Written before it is asked to.
    pub unit: Option<UnitRecord>,
    /// Directories above the cgroup's that were not there, the lowest first. Written before they are made.
    pub cgroup_parents: Vec<String>,
    /// Without a mount namespace: the container's tree on the host. Written before it is mounted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_mount: Option<RecordedMount>,
    /// Made by a `run` whose program begins without waiting for anybody. Until it does, the container is being created.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub begins_at_once: bool,
    /// The group at `intel_rdt_path` was made for it.
    pub owns_resctrl: bool,
}

/// The part of libcontainer's configuration that others look at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecordedConfig {
    pub rootfs: String,
    /// `bundle=<path>`, then the annotations as `key=value`.
    pub labels: Vec<String>,
    pub rootless_euid: bool,
}

impl Glance {
    /// Whether the container had a first process, which is not there any more.
    pub(crate) fn has_ended(&self) -> Result<bool> {
        let pid = self.init_process_pid;
        if pid <= 0 || procfs::boot_id()? != self.conex.boot_id {
            return Ok(pid > 0);
        }
        let stat = procfs::stat(pid)?;
        Ok(stat.is_none_or(|stat| stat.start_time != self.init_process_start))
    }
}

impl Record {
    /// Where the container was created from.
    pub fn bundle(&self) -> &str {
        self.config.bundle()
    }

    /// The annotations of the configuration.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        self.config.annotations()
    }
}

impl RecordedConfig {
    /// As [`Record::bundle`].
    pub fn bundle(&self) -> &str {
        self.labels.iter().find_map(|label| label.strip_prefix("bundle=")).unwrap_or_default()
    }

    /// As [`Record::annotations`].
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let pairs = self.labels.iter().filter_map(|label| label.split_once('='));
        pairs
            .filter(|(key, _)| *key != "bundle")
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }
}
