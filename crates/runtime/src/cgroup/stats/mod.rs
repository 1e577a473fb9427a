// SPDX-License-Identifier: Apache-2.0
//! What a container uses, in the shape of runc's `events`: its callers (containerd, go-runc) decode these names.
//!
//! cgroup v2 is told in v1's words, as runc does: nanoseconds, swap together with memory, one list for each kind of
//! block I/O. What the kernel does not count is left out. Pressure (PSI) is v2's alone; the hybrid has it, too.

mod blkio;
mod cpu;
mod files;
mod hugetlb;
mod memory;
mod pressure;

use std::collections::BTreeMap;

use serde::Serialize;

use blkio::Blkio;
use cpu::{Cpu, Cpuset};
use hugetlb::Hugetlb;
use memory::Memory;
use pressure::Pressure;

use super::{Cgroup, Version, directory};
use crate::Result;
use files::Files;

/// The controllers' part of an event.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    pub cpu: Cpu,
    pub cpuset: Cpuset,
    pub memory: Memory,
    pub pids: Pids,
    pub blkio: Blkio,
    /// By page size: `2MB`.
    pub hugetlb: BTreeMap<String, Hugetlb>,
}

/// Processes and threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pids {
    #[serde(skip_serializing_if = "is_empty")]
    pub current: u64,
    /// 0 is no limit.
    #[serde(skip_serializing_if = "is_empty")]
    pub limit: u64,
}

impl Cgroup {
    /// Reads every counter there is.
    pub fn stats(&self) -> Result<Stats> {
        let v2 = self.version() == Version::V2;
        let files = |controller: &str| {
            let directory = self.directories.get(if v2 { "" } else { controller });
            Files { directory: directory.map(String::as_str) }
        };
        // In a hybrid, what is not v1's may be in the v2 directory.
        let unified = Files { directory: self.directories.get("").map(String::as_str) };
        let mut stats = if v2 {
            Stats {
                cpu: Cpu::v2(&unified)?,
                cpuset: Cpuset::v2(&unified)?,
                memory: Memory::v2(&unified)?,
                blkio: Blkio::v2(&unified)?,
                ..Stats::default()
            }
        } else {
            Stats {
                cpu: Cpu::v1(&files("cpu"), &files("cpuacct"))?,
                cpuset: Cpuset::v1(&files("cpuset"))?,
                memory: Memory::v1(&files("memory"))?,
                blkio: Blkio::v1(&files("blkio"))?,
                ..Stats::default()
            }
        };
        stats.pids = self.pids(&files("pids"))?;
        stats.hugetlb = match hugetlb::v1(&files("hugetlb"))? {
            pages if pages.is_empty() => hugetlb::v2(&unified)?,
            pages => pages,
        };
        stats.cpu.psi = Pressure::read(&unified, "cpu.pressure")?;
        stats.memory.psi = Pressure::read(&unified, "memory.pressure")?;
        stats.blkio.psi = Pressure::read(&unified, "io.pressure")?;
        Ok(stats)
    }

    fn pids(&self, files: &Files<'_>) -> Result<Pids> {
        let Some(current) = files.number("pids.current")? else {
            // Without the controller they can be counted, not limited.
            return Ok(Pids { current: self.processes()?.len() as u64, limit: 0 });
        };
        let limit = files.number("pids.max")?.filter(|limit| *limit != u64::MAX);
        Ok(Pids { current, limit: limit.unwrap_or_default() })
    }
}

/// Go's `omitempty` and `omitzero`.
fn is_empty<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests;
