// SPDX-License-Identifier: Apache-2.0
//! Resources as files and values. Pure: the conversions between the specification's words (those of cgroup v1) and
//! the files of either version are all here.
//!
//! ```text
//!                      v1                                    v2
//!  memory.limit        memory.limit_in_bytes                 memory.max
//!  memory.swap         memory.memsw.limit_in_bytes           memory.swap.max    (without the memory)
//!  memory.reservation  memory.soft_limit_in_bytes            memory.low
//!  cpu.shares          cpu.shares       2…262144             cpu.weight         1…10000
//!  cpu.quota, period   cpu.cfs_quota_us, cpu.cfs_period_us   cpu.max            "quota period"
//!  cpu.burst           cpu.cfs_burst_us                      cpu.max.burst
//!  blockIO.weight      blkio[.bfq].weight 10…1000            io.bfq.weight, or io.weight 1…10000
//!  blockIO.throttle…   blkio.throttle.*_device               io.max             "8:0 rbps=…"
//!  hugepageLimits      hugetlb.2MB[.rsvd].limit_in_bytes     hugetlb.2MB[.rsvd].max
//!  network             net_cls.classid, net_prio.ifpriomap   nothing
//! ```
//!
//! No order is kept between files that the kernel checks against each other: [`super::Cgroup::apply`] asks again.

mod restore;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

use std::collections::BTreeSet;

use conex_spec::runtime::{Cpu, Pids, Resources};

pub(super) use restore::restoring;

use super::Version;
use crate::{Error, ErrorKind, Result};

/// One value for one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// The v1 hierarchy it is in; in v2 the controller that must be enabled.
    pub controller: String,
    pub file: String,
    pub value: String,
    pub otherwise: Otherwise,
}

/// What to do where the kernel has no such file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Otherwise {
    Fail,
    /// The value asks for nothing, or another file says enough.
    Nothing,
    Write {
        file: String,
        value: String,
    },
}

/// Everything to be written. The resources must have passed validation: names in them become names of files.
pub(super) fn settings(version: Version, resources: &Resources) -> Result<Vec<Setting>> {
    let mut settings = Settings(Vec::new());
    match version {
        Version::V2 => settings.v2(resources)?,
        Version::V1 => settings.v1(resources)?,
    }
    settings.cpuset(&resources.cpu);
    settings.pids(resources.pids);
    settings.hugepages(version, resources);
    settings.rdma(resources);
    for (file, value) in &resources.unified {
        if version == Version::V1 {
            return Err(invalid("unified needs cgroup v2, and this host has v1"));
        }
        // The kernel refuses a weight for an idle group.
        if !(file == "cpu.weight" && is_idle(resources)) {
            settings.unified(file, value);
        }
    }
    Ok(settings.0)
}

/// Those of v2 that there must be.
pub(super) fn controllers(resources: &Resources) -> Result<BTreeSet<String>> {
    let needed = settings(Version::V2, resources)?;
    let needed = needed.into_iter().filter(|setting| setting.otherwise != Otherwise::Nothing);
    // Files that each cgroup has belong to none.
    Ok(needed.map(|setting| setting.controller).filter(|controller| controller != "cgroup").collect())
}

/// Whether the last word on it is that the cgroup shall be idle.
fn is_idle(resources: &Resources) -> bool {
    match resources.unified.get("cpu.idle") {
        Some(value) => value.trim() == "1",
        None => resources.cpu.idle == Some(1),
    }
}

/// What was asked for and has no file in this version, in words for a log.
pub(crate) fn ignored(version: Version, resources: &Resources) -> Vec<String> {
    let memory = &resources.memory;
    let mut found = Vec::new();
    if memory.kernel.is_some() || memory.kernel_tcp.is_some() {
        found.push("Kernel memory settings are ignored and will be removed".to_owned());
    }
    if version == Version::V1 {
        return found;
    }
    let realtime = resources.cpu.realtime_runtime.or(resources.cpu.realtime_period.map(u64::cast_signed));
    let io = &resources.block_io;
    let leaves = io.leaf_weight.is_some() || io.weight_device.iter().any(|one| one.leaf_weight.is_some());
    let only_v1 = [
        (memory.swappiness.is_some(), "memory.swappiness"),
        (memory.disable_oom_killer == Some(true), "memory.disableOOMKiller"),
        (realtime.is_some_and(|value| value != 0), "cpu.realtimeRuntime and realtimePeriod"),
        (leaves, "blockIO.leafWeight"),
        (resources.network.class_id.is_some_and(|class| class != 0), "network.classID"),
        (!resources.network.priorities.is_empty(), "network.priorities"),
    ];
    let asked = only_v1.into_iter().filter(|(asked, _)| *asked);
    found.extend(
        asked.map(|(_, name)| format!("linux.resources.{name}: cgroup v2 has no such thing, ignored")),
    );
    let shares = resources.cpu.shares.is_some_and(|shares| shares != 0);
    if is_idle(resources) && (shares || resources.unified.contains_key("cpu.weight")) {
        found.push("unable to apply both cpu.weight and cpu.idle: an idle cgroup has no weight".to_owned());
    }
    found
}

/// Collects; the controllers are its methods.
struct Settings(Vec<Setting>);

impl Settings {
    fn add(&mut self, controller: &str, file: impl Into<String>, value: impl ToString) {
        self.push(controller, file.into(), value.to_string(), Otherwise::Fail);
    }

    fn add_if_there(&mut self, controller: &str, file: impl Into<String>, value: impl ToString) {
        self.push(controller, file.into(), value.to_string(), Otherwise::Nothing);
    }

    fn add_or(&mut self, controller: &str, first: (&str, String), (file, value): (&str, String)) {
        let otherwise = Otherwise::Write { file: file.into(), value };
        self.push(controller, first.0.into(), first.1, otherwise);
    }

    fn push(&mut self, controller: &str, file: String, value: String, otherwise: Otherwise) {
        self.0.push(Setting { controller: controller.into(), file, value, otherwise });
    }

    fn cpuset(&mut self, cpu: &Cpu) {
        for (file, list) in [("cpuset.cpus", &cpu.cpus), ("cpuset.mems", &cpu.mems)] {
            if !list.is_empty() {
                self.add("cpuset", file, list);
            }
        }
    }

    fn pids(&mut self, pids: Pids) {
        if let Some(limit) = pids.limit {
            // Zero would not even let the container's first process in.
            self.add("pids", "pids.max", or_max(if limit == 0 { 1 } else { limit }));
        }
    }

    fn hugepages(&mut self, version: Version, resources: &Resources) {
        let word = if version == Version::V2 { "max" } else { "limit_in_bytes" };
        for limit in &resources.hugepage_limits {
            let size = &limit.page_size;
            self.add("hugetlb", format!("hugetlb.{size}.{word}"), limit.limit);
            // KERNEL(5.7): without it, a page is counted when it is touched and not when it is reserved.
            self.add_if_there("hugetlb", format!("hugetlb.{size}.rsvd.{word}"), limit.limit);
        }
    }

    fn rdma(&mut self, resources: &Resources) {
        for (device, limits) in &resources.rdma {
            let mut line = device.clone();
            for (word, limit) in [("hca_handle", limits.hca_handles), ("hca_object", limits.hca_objects)] {
                line += &limit.map(|limit| format!(" {word}={limit}")).unwrap_or_default();
            }
            self.add("rdma", "rdma.max", line);
        }
    }

    /// Verbatim, several lines one by one, as the kernel takes them.
    fn unified(&mut self, file: &str, value: &str) {
        let controller = file.split('.').next().unwrap_or_default();
        value.lines().for_each(|line| self.add(controller, file, line));
    }
}

fn or_max(limit: i64) -> String {
    if limit < 0 { "max".into() } else { limit.to_string() }
}

fn invalid(message: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Config, format!("linux.resources: {message}"))
}
