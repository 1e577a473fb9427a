// SPDX-License-Identifier: Apache-2.0
//! config.md, "Process": who the process is and what it may. Names of the specification become numbers of the kernel.

use std::ffi::CString;

use conex_spec::runtime::{
    IoPriority, IoPriorityClass, MemoryPolicy, MemoryPolicyFlag, MemoryPolicyMode, PersonalityDomain, Rlimit,
    Scheduler, SchedulerFlag, SchedulerPolicy, number_list,
};
use conex_sys::sched::{self, Limit, Scheduling};
use conex_sys::{Errno, credentials, keyring};

use super::World;
use crate::plan::{AdditionalGroups, Capabilities};
use crate::{Error, ErrorKind, Result, Wrap};

/// A keyring of the container's own. Kernels and filters without keyrings are no obstacle.
pub(super) fn join_keyring(world: &World<'_>, name: &str, label: &str) -> Result<()> {
    const USER_SEARCH: u32 = 0x0008_0000;
    if !label.is_empty() {
        write_label(world, "keycreate", label)?;
    }
    let word =
        CString::new(name).map_err(|_| Error::new(ErrorKind::Config, "keyring name with a NUL byte"))?;
    let joined = keyring::join_session(&word);
    if !label.is_empty() {
        world.inherited.proc.write("self/attr/keycreate", b"")?;
    }
    match joined {
        Err(error) if error.errno() == Errno::NOSYS => Ok(()),
        // Root of the container shall be able to find keys there.
        outcome => Ok(keyring::add_permissions(outcome?, USER_SEARCH)?),
    }
}

pub(super) use conex_sys::process::{set_domainname, set_hostname};

pub(super) fn set_sysctl(world: &World<'_>, key: &str, value: &str) -> Result<()> {
    let path = format!("sys/{}", key.replace('.', "/"));
    Ok(world.inherited.proc.write(&path, value.as_bytes())?)
}

/// In `/proc/self/attr/apparmor/exec`, or where kernels before 5.8 have it.
pub(super) fn set_apparmor_profile(world: &World<'_>, profile: &str) -> Result<()> {
    let value = format!("exec {profile}");
    let written = match world.inherited.proc.write("self/attr/apparmor/exec", value.as_bytes()) {
        Err(error) if error.errno() == Errno::NOENT => {
            world.inherited.proc.write("self/attr/exec", value.as_bytes())
        }
        outcome => outcome,
    };
    written.wrap(|| {
        format!(
            "unable to apply apparmor profile {profile} (is AppArmor enabled here, and the profile loaded?)"
        )
    })
}

pub(super) fn set_selinux_label(world: &World<'_>, label: &str) -> Result<()> {
    write_label(world, "exec", label)
}

fn write_label(world: &World<'_>, attribute: &str, label: &str) -> Result<()> {
    let written = world.inherited.proc.write(&format!("self/attr/{attribute}"), label.as_bytes());
    written.wrap(|| format!("unable to apply SELinux label {label} (does the loaded policy know it?)"))
}

pub(super) fn set_limits(limits: &[Rlimit]) -> Result<()> {
    limits.iter().try_for_each(|limit| Ok(sched::set_limit(&kernel_limit(limit))?))
}

/// The resources are declared in the kernel's order.
pub(crate) fn kernel_limit(limit: &Rlimit) -> Limit {
    Limit { resource: limit.kind as u32, soft: limit.soft, hard: limit.hard }
}

pub(super) fn set_user(uid: u32, gid: u32, groups: &AdditionalGroups) -> Result<()> {
    if uid != 0 {
        // Until the execve: what is left of them then is decided by the next step.
        credentials::keep_capabilities(true)?;
    }
    if let AdditionalGroups::Set(groups) = groups {
        match credentials::set_groups(groups) {
            // A user namespace whose maker denied setgroups(2): there is nothing to drop that could be dropped.
            Err(error) if groups.is_empty() && error.errno() == Errno::PERM => {}
            outcome => outcome?,
        }
    }
    credentials::set_group(gid)?;
    Ok(credentials::set_user(uid)?)
}

pub(super) fn set_capabilities(sets: &Capabilities) -> Result<()> {
    credentials::set_capabilities(&credentials::Capabilities {
        bounding: 0,
        effective: sets.effective.0,
        permitted: sets.permitted.0,
        inheritable: sets.inheritable.0,
        ambient: sets.ambient.0,
    })?;
    Ok(credentials::set_ambient_capabilities(sets.ambient.0)?)
}

pub(super) fn set_scheduler(world: &World<'_>, scheduler: &Scheduler) -> Result<()> {
    let policy = match scheduler.policy {
        SchedulerPolicy::SchedOther => 0,
        SchedulerPolicy::SchedFifo => 1,
        SchedulerPolicy::SchedRr => 2,
        SchedulerPolicy::SchedBatch => 3,
        SchedulerPolicy::SchedIso => 4,
        SchedulerPolicy::SchedIdle => 5,
        SchedulerPolicy::SchedDeadline => 6,
    };
    let flag = |flag: &SchedulerFlag| match flag {
        SchedulerFlag::SchedFlagResetOnFork => 0x01,
        SchedulerFlag::SchedFlagReclaim => 0x02,
        SchedulerFlag::SchedFlagDlOverrun => 0x04,
        SchedulerFlag::SchedFlagKeepPolicy => 0x08,
        SchedulerFlag::SchedFlagKeepParams => 0x10,
        SchedulerFlag::SchedFlagUtilClampMin => 0x20,
        SchedulerFlag::SchedFlagUtilClampMax => 0x40,
    };
    let wanted = Scheduling {
        policy,
        flags: scheduler.flags.iter().fold(0, |flags, one| flags | flag(one)),
        nice: scheduler.nice,
        priority: u32::try_from(scheduler.priority).unwrap_or_default(),
        runtime: scheduler.runtime,
        deadline: scheduler.deadline,
        period: scheduler.period,
        ..Scheduling::default()
    };
    let bound = !world.plan.cgroup.resources.cpu.cpus.is_empty();
    sched::set_scheduling(&wanted).map_err(|error| match error.errno() {
        // sched_setattr(2): a deadline can only be kept on all CPUs. Callers know the sentence.
        Errno::PERM if bound => {
            Error::from(error).wrap("process scheduler can't be used together with AllowedCPUs")
        }
        _ => error.into(),
    })
}

pub(super) fn set_io_priority(priority: &IoPriority) -> Result<()> {
    let class = match priority.class {
        IoPriorityClass::IoprioClassRt => 1,
        IoPriorityClass::IoprioClassBe => 2,
        IoPriorityClass::IoprioClassIdle => 3,
    };
    Ok(sched::set_io_priority(class, u32::try_from(priority.priority).unwrap_or_default())?)
}

/// On which CPUs the calling process may run.
pub(crate) fn set_affinity(cpus: &str) -> Result<()> {
    let numbers = number_list(cpus).map_err(|error| Error::new(ErrorKind::Config, error))?;
    Ok(sched::set_affinity(0, &numbers)?)
}

pub(super) fn set_personality(domain: PersonalityDomain) -> Result<()> {
    let number = match domain {
        PersonalityDomain::Linux => 0,
        PersonalityDomain::Linux32 => 8,
    };
    Ok(sched::set_personality(number)?)
}

pub(super) fn set_memory_policy(policy: &MemoryPolicy) -> Result<()> {
    let mode = match policy.mode {
        MemoryPolicyMode::MpolDefault => 0,
        MemoryPolicyMode::MpolPreferred => 1,
        MemoryPolicyMode::MpolBind => 2,
        MemoryPolicyMode::MpolInterleave => 3,
        MemoryPolicyMode::MpolLocal => 4,
        MemoryPolicyMode::MpolPreferredMany => 5,
        MemoryPolicyMode::MpolWeightedInterleave => 6,
    };
    let flag = |flag: &MemoryPolicyFlag| match flag {
        MemoryPolicyFlag::NumaBalancing => 1 << 13,
        MemoryPolicyFlag::RelativeNodes => 1 << 14,
        MemoryPolicyFlag::StaticNodes => 1 << 15,
    };
    let mode = policy.flags.iter().fold(mode, |mode, one| mode | flag(one));
    let nodes = number_list(&policy.nodes).map_err(|error| Error::new(ErrorKind::Config, error))?;
    Ok(sched::set_memory_policy(mode, &nodes)?)
}
