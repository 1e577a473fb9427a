// SPDX-License-Identifier: Apache-2.0
//! How much and when: resource limits, scheduling policy, I/O priority, CPU affinity, memory policy, personality.

use crate::error::Call;
use crate::raw::check;
use crate::{Errno, Error, Result};

/// A resource limit; `None` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// `RLIMIT_*` by number.
    pub resource: u32,
    /// What is enforced.
    pub soft: u64,
    /// What it can be raised to.
    pub hard: u64,
}

/// `RLIM_INFINITY`.
pub const UNLIMITED: u64 = u64::MAX;

/// The resources by name, their number being the position.
pub const RESOURCE_NAMES: [&str; 16] = [
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
];

/// The number of `RLIMIT_NOFILE` and its kin.
pub fn resource_number(name: &str) -> Option<u32> {
    RESOURCE_NAMES.iter().position(|known| *known == name).and_then(|found| u32::try_from(found).ok())
}

/// Sets a limit of the calling process.
pub fn set_limit(limit: &Limit) -> Result<()> {
    set_limit_of(0, limit)
}

/// Sets a limit of another process.
pub fn set_limit_of(pid: i32, limit: &Limit) -> Result<()> {
    let wanted = [limit.soft, limit.hard];
    let nothing: *mut u64 = std::ptr::null_mut();
    // SAFETY: `wanted` has the layout of struct rlimit64 and lives through the call; the old limit is not asked for.
    let returned =
        unsafe { libc::syscall(libc::SYS_prlimit64, pid, limit.resource, wanted.as_ptr(), nothing) };
    check(returned).map(drop).call(|| {
        let name = usize::try_from(limit.resource).ok().and_then(|number| RESOURCE_NAMES.get(number));
        format!("prlimit({}, soft {}, hard {})", name.unwrap_or(&"?"), limit.soft, limit.hard)
    })
}

/// struct sched_attr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Scheduling {
    /// Set by [`set_scheduling`].
    pub size: u32,
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// For OTHER and BATCH.
    pub nice: i32,
    /// For FIFO and RR.
    pub priority: u32,
    /// For DEADLINE, in nanoseconds.
    pub runtime: u64,
    /// For DEADLINE, in nanoseconds.
    pub deadline: u64,
    /// For DEADLINE, in nanoseconds.
    pub period: u64,
    /// For `SCHED_FLAG_UTIL_CLAMP_MIN`; the specification knows no value but 0.
    pub lowest_utilisation: u32,
    /// For `SCHED_FLAG_UTIL_CLAMP_MAX`.
    pub highest_utilisation: u32,
}

/// sched_setattr(2) on the calling process.
pub fn set_scheduling(wanted: &Scheduling) -> Result<()> {
    let mut attribute = *wanted;
    attribute.size = u32::try_from(size_of_val(wanted)).expect("a small struct");
    // SAFETY: the struct carries its own size, and the kernel reads no further.
    let returned = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attribute, 0) };
    check(returned).map(drop).call(|| format!("sched_setattr({wanted:?})"))
}

/// ioprio_set(2): class 1 real-time, 2 best effort, 3 idle.
pub fn set_io_priority(class: u32, level: u32) -> Result<()> {
    const WHO_PROCESS: u32 = 1;
    let value = (class << 13) | level;
    // SAFETY: three integers.
    let returned = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, value) };
    check(returned).map(drop).call(|| format!("ioprio_set(class {class}, level {level})"))
}

/// sched_setaffinity(2): the CPUs that a process may use; 0 is the calling one.
pub fn set_affinity(pid: i32, cpus: &[u32]) -> Result<()> {
    let words = cpus.iter().max().map_or(0, |last| last / 64 + 1);
    let mut mask = vec![0_u64; usize::try_from(words).unwrap_or_default()];
    for cpu in cpus {
        mask[usize::try_from(cpu / 64).expect("fits, as words did")] |= 1 << (cpu % 64);
    }
    // SAFETY: the kernel reads exactly the bytes of `mask`.
    let returned = unsafe {
        libc::syscall(libc::SYS_sched_setaffinity, pid, size_of_val(mask.as_slice()), mask.as_ptr())
    };
    check(returned).map(drop).call(|| format!("sched_setaffinity({pid}, {cpus:?})"))
}

/// sched_setaffinity(2) of the calling process: every CPU of the machine that its cgroup has.
pub fn free_affinity() -> Result<()> {
    /// More than the kernel can be built for; what it has not, it ignores.
    const MOST_CPUS: usize = 8192;
    let mask = [u64::MAX; MOST_CPUS / 64];
    // SAFETY: the kernel reads exactly the bytes of `mask`.
    let returned =
        unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(&mask), mask.as_ptr()) };
    check(returned).map(drop).call(|| "sched_setaffinity(0, all)".to_owned())
}

/// set_mempolicy(2): `mode` with its flags, and the NUMA nodes.
pub fn set_memory_policy(mode: u32, nodes: &[u32]) -> Result<()> {
    if nodes.iter().any(|node| *node >= 1024) {
        return Err(Error::new(format!("set_mempolicy({mode:#x}, {nodes:?})"), Errno::INVAL));
    }
    let mut mask = [0_u64; 16];
    for node in nodes {
        mask[usize::try_from(node / 64).expect("less than 16")] |= 1 << (node % 64);
    }
    // Without nodes the mask must be missing: an empty one of no bits is refused.
    let (mask, bits) = if nodes.is_empty() { (std::ptr::null(), 0) } else { (mask.as_ptr(), 1024 + 1) };
    // SAFETY: the kernel reads at most 1024 bits, which is the size of `mask`, or nothing.
    let returned = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) };
    check(returned).map(drop).call(|| format!("set_mempolicy({mode:#x}, {nodes:?})"))
}

/// personality(2): 0 is the native one, 8 shows a 32-bit machine.
pub fn set_personality(domain: u64) -> Result<()> {
    // SAFETY: one integer; the memory layout that it may choose takes effect at the next execve(2).
    let returned = unsafe { libc::syscall(libc::SYS_personality, domain) };
    check(returned).map(drop).call(|| format!("personality({domain:#x})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_kernels() {
        assert_eq!(resource_number("RLIMIT_NOFILE"), Some(7));
        assert_eq!(resource_number("RLIMIT_RTTIME"), Some(15));
        assert_eq!(resource_number("RLIMIT_"), None);
        assert_eq!(size_of::<Scheduling>(), 56);
    }
}
