// SPDX-License-Identifier: Apache-2.0
//! Processor time, throttling, and which processors and memory nodes may be used.

use serde::Serialize;

use super::files::Files;
use super::is_empty;
use super::pressure::Pressure;
use crate::Result;

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cpu {
    #[serde(skip_serializing_if = "is_empty")]
    pub usage: CpuUsage,
    #[serde(skip_serializing_if = "is_empty")]
    pub throttling: Throttling,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// In nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CpuUsage {
    #[serde(skip_serializing_if = "is_empty")]
    pub total: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_kernel: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_user: Vec<u64>,
    pub kernel: u64,
    pub user: u64,
}

/// By the quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    #[serde(skip_serializing_if = "is_empty")]
    pub periods: u64,
    #[serde(skip_serializing_if = "is_empty")]
    pub throttled_periods: u64,
    /// In nanoseconds.
    #[serde(skip_serializing_if = "is_empty")]
    pub throttled_time: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cpuset {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    pub cpu_exclusive: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
    pub mem_hardwall: u64,
    pub mem_exclusive: u64,
    pub memory_migrate: u64,
    pub memory_spread_page: u64,
    pub memory_spread_slab: u64,
    pub memory_pressure: u64,
    pub sched_load_balance: u64,
    pub sched_relax_domain_level: i64,
}

/// `USER_HZ`, a constant of Linux's interface, in nanoseconds.
const TICK: u64 = 10_000_000;

impl Cpu {
    pub(super) fn v2(files: &Files<'_>) -> Result<Self> {
        let stat = files.named("cpu.stat")?;
        let of = |name: &str| stat.get(name).copied().unwrap_or_default();
        Ok(Self {
            usage: CpuUsage {
                total: of("usage_usec") * 1000,
                kernel: of("system_usec") * 1000,
                user: of("user_usec") * 1000,
                ..CpuUsage::default()
            },
            throttling: Throttling {
                periods: of("nr_periods"),
                throttled_periods: of("nr_throttled"),
                throttled_time: of("throttled_usec") * 1000,
            },
            psi: None,
        })
    }

    /// The two controllers are often one.
    pub(super) fn v1(cpu: &Files<'_>, cpuacct: &Files<'_>) -> Result<Self> {
        let stat = cpu.named("cpu.stat")?;
        let ticks = cpuacct.named("cpuacct.stat")?;
        let of = |name: &str| stat.get(name).copied().unwrap_or_default();
        let time = |name: &str| ticks.get(name).copied().unwrap_or_default() * TICK;
        // A header, then `cpu user system` for each.
        let table = cpuacct.text("cpuacct.usage_all")?.unwrap_or_default();
        let column = |number: usize| {
            let cells = table.lines().skip(1).filter_map(|line| line.split(' ').nth(number));
            cells.map(|cell| cpuacct.parse("cpuacct.usage_all", cell)).collect::<Result<Vec<_>>>()
        };
        Ok(Self {
            usage: CpuUsage {
                total: cpuacct.count("cpuacct.usage")?,
                percpu: cpuacct.numbers("cpuacct.usage_percpu")?,
                percpu_kernel: column(2)?,
                percpu_user: column(1)?,
                kernel: time("system"),
                user: time("user"),
            },
            throttling: Throttling {
                periods: of("nr_periods"),
                throttled_periods: of("nr_throttled"),
                throttled_time: of("throttled_time"),
            },
            psi: None,
        })
    }
}

impl Cpuset {
    pub(super) fn v2(files: &Files<'_>) -> Result<Self> {
        let (cpus, mems) = (files.list("cpuset.cpus.effective")?, files.list("cpuset.mems.effective")?);
        Ok(Self { cpus, mems, ..Self::default() })
    }

    pub(super) fn v1(files: &Files<'_>) -> Result<Self> {
        let level = files.text("cpuset.sched_relax_domain_level")?.unwrap_or_default();
        Ok(Self {
            cpus: files.list("cpuset.cpus")?,
            cpu_exclusive: files.count("cpuset.cpu_exclusive")?,
            mems: files.list("cpuset.mems")?,
            mem_hardwall: files.count("cpuset.mem_hardwall")?,
            mem_exclusive: files.count("cpuset.mem_exclusive")?,
            memory_migrate: files.count("cpuset.memory_migrate")?,
            memory_spread_page: files.count("cpuset.memory_spread_page")?,
            memory_spread_slab: files.count("cpuset.memory_spread_slab")?,
            memory_pressure: files.count("cpuset.memory_pressure")?,
            sched_load_balance: files.count("cpuset.sched_load_balance")?,
            sched_relax_domain_level: level.trim().parse().unwrap_or_default(),
        })
    }
}
