// SPDX-License-Identifier: Apache-2.0
//! What a configuration asks for and this host, or this user, cannot give.

use conex_spec::runtime::{
    Config, IdMapping, Linux, MemoryPolicyMode, Mount, Process, Resources, SeccompFlag,
};

use super::Report;
use super::Severity::{Error, Note};
use super::host::Host;
use crate::cgroup::Version;
use crate::seccomp;

/// So many unknown system calls are named.
const NAMED: usize = 5;

impl Report {
    pub(super) fn needs(&mut self, config: &Config, host: &Host) {
        for (index, mount) in config.mounts.iter().enumerate() {
            self.mount_needs(index, mount, host);
        }
        if let Some(process) = &config.process {
            self.process_needs(process, host);
        }
        let Some(linux) = &config.linux else { return };
        self.namespace_needs(linux, host);
        self.id_map_needs(linux, host);
        self.kernel_needs(linux, host);
        if let Some(resources) = &linux.resources {
            self.controller_needs(resources, host);
        }
        if !linux.mount_label.is_empty() && !host.selinux {
            self.no_selinux("/linux/mountLabel");
        }
        self.unknown_system_calls(linux);
    }

    fn kernel(&mut self, host: &Host, since: (u32, u32), at: impl Into<String>, what: &str) {
        if host.kernel < since {
            self.add(
                (Error, "kernel-too-old"),
                at,
                format!(
                    "{what} came with Linux {}.{}, this is {}.{}",
                    since.0, since.1, host.kernel.0, host.kernel.1
                ),
                "use a newer kernel, or do without",
            );
        }
    }

    fn mount_needs(&mut self, index: usize, mount: &Mount, host: &Host) {
        let at = format!("/mounts/{index}");
        let has = |words: &[&str]| mount.options.iter().find(|option| words.contains(&option.as_str()));
        if !mount.uid_mappings.is_empty() || has(&["idmap", "ridmap"]).is_some() {
            self.kernel(host, (5, 12), &at, "a mount with an id map");
        }
        let recursive = ["rro", "rnosuid", "rnodev", "rnoexec", "rnosymfollow", "rnoatime"];
        if let Some(option) = has(&recursive) {
            self.kernel(host, (5, 12), format!("{at}/options"), &format!("{option:?}"));
        }
    }

    fn process_needs(&mut self, process: &Process, host: &Host) {
        if !process.apparmor_profile.is_empty() && process.apparmor_profile != "unconfined" && !host.apparmor
        {
            let message = "AppArmor is not enabled on this host";
            self.add((Error, "no-apparmor"), "/process/apparmorProfile", message, "take the profile out");
        }
        if !process.selinux_label.is_empty() && !host.selinux {
            self.no_selinux("/process/selinuxLabel");
        }
        if host.may_raise_limits {
            return;
        }
        for (index, limit) in process.rlimits.iter().enumerate() {
            let own = host.hard_limits.get(limit.kind.proc_name());
            if let Some(own) = own.filter(|own| limit.hard > **own) {
                self.add(
                    (Error, "limit-too-high"),
                    format!("/process/rlimits/{index}/hard"),
                    format!("{} is more than the caller's own hard limit {own}", limit.hard),
                    "lower it; raising a hard limit needs CAP_SYS_RESOURCE",
                );
            }
        }
        if let Some(score) = process.oom_score_adj.filter(|score| *score < host.oom_score_adj) {
            self.add(
                (Error, "limit-too-high"),
                "/process/oomScoreAdj",
                format!("{score} is below the caller's own {}", host.oom_score_adj),
                "raise it; lowering it needs CAP_SYS_RESOURCE",
            );
        }
    }

    fn no_selinux(&mut self, at: &str) {
        let message = "SELinux is not enabled on this host";
        self.add((Error, "no-selinux"), at, message, "take the label out");
    }

    fn namespace_needs(&mut self, linux: &Linux, host: &Host) {
        for (index, namespace) in linux.namespaces.iter().enumerate() {
            if !host.namespaces.contains(&namespace.kind) {
                self.add(
                    (Error, "no-namespace"),
                    format!("/linux/namespaces/{index}"),
                    format!("this kernel has no {} namespaces", namespace.kind),
                    "take it out, or use a kernel that is built with them",
                );
            }
        }
    }

    fn id_map_needs(&mut self, linux: &Linux, host: &Host) {
        if host.may_set_ids {
            return;
        }
        for (name, mappings, allowed, file) in [
            ("uidMappings", &linux.uid_mappings, &host.users, "/etc/subuid"),
            ("gidMappings", &linux.gid_mappings, &host.groups, "/etc/subgid"),
        ] {
            for (index, mapping) in mappings.iter().enumerate() {
                if !allowed.iter().any(|range| lies_in(mapping, *range)) {
                    let last = u64::from(mapping.host_id) + u64::from(mapping.size);
                    self.add(
                        (Error, "id-map-not-allowed"),
                        format!("/linux/{name}/{index}"),
                        format!(
                            "user {} may not map host ids {} to {}",
                            host.user,
                            mapping.host_id,
                            last - 1
                        ),
                        format!("use the ranges that {file} gives"),
                    );
                }
            }
        }
    }

    fn kernel_needs(&mut self, linux: &Linux, host: &Host) {
        match linux.memory_policy.as_ref().map(|policy| policy.mode) {
            Some(MemoryPolicyMode::MpolWeightedInterleave) => {
                self.kernel(host, (6, 9), "/linux/memoryPolicy/mode", "MPOL_WEIGHTED_INTERLEAVE");
            }
            Some(MemoryPolicyMode::MpolPreferredMany) => {
                self.kernel(host, (5, 15), "/linux/memoryPolicy/mode", "MPOL_PREFERRED_MANY");
            }
            _ => {}
        }
        let flags = linux.seccomp.iter().flat_map(|seccomp| &seccomp.flags);
        if flags.clone().any(|flag| *flag == SeccompFlag::WaitKillableRecv) {
            self.kernel(host, (5, 19), "/linux/seccomp/flags", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV");
        }
    }

    /// Limits need their controller; the words are the specification's, the controllers' names the version's.
    fn controller_needs(&mut self, resources: &Resources, host: &Host) {
        let v2 = host.version == Version::V2;
        let (cpu, memory) = (&resources.cpu, &resources.memory);
        let cpuset = !cpu.cpus.is_empty() || !cpu.mems.is_empty();
        let bandwidth = cpu.shares.is_some() || cpu.quota.is_some() || cpu.period.is_some();
        let block = resources.block_io != Default::default();
        let class = resources.network.class_id.is_some();
        let needs = [
            ("memory", "memory", memory.limit.is_some() || memory.swap.is_some()),
            ("cpu", "cpu", bandwidth),
            ("cpu", "cpuset", cpuset),
            ("pids", "pids", resources.pids.limit.is_some_and(|limit| limit > 0)),
            ("blockIO", if v2 { "io" } else { "blkio" }, block),
            ("hugepageLimits", "hugetlb", !resources.hugepage_limits.is_empty()),
            ("rdma", "rdma", !resources.rdma.is_empty()),
            ("network", "net_cls", class),
        ];
        for (property, controller, needed) in needs {
            if needed && !host.controllers.contains(controller) {
                self.add(
                    (Error, "no-controller"),
                    format!("/linux/resources/{property}"),
                    format!("there is no cgroup controller {controller:?} to be had here"),
                    "enable it, or take the limit out",
                );
            }
        }
        if !v2 && !resources.unified.is_empty() {
            let message = "cgroup v2 files were asked for, and this host has cgroup v1";
            self.add((Error, "no-controller"), "/linux/resources/unified", message, "take them out");
        }
        if cpu.burst.is_some() {
            self.kernel(host, (5, 14), "/linux/resources/cpu/burst", "CPU burst");
        }
        if cpu.idle.is_some() {
            self.kernel(host, (5, 15), "/linux/resources/cpu/idle", "an idle cgroup");
        }
    }

    /// Profiles name calls of many kernels; those unknown here have no number, and the default action.
    fn unknown_system_calls(&mut self, linux: &Linux) {
        let rules = linux.seccomp.iter().flat_map(|seccomp| &seccomp.syscalls);
        let names = rules.flat_map(|rule| &rule.names).filter(|name| !seccomp::knows(name));
        let unknown: Vec<&str> = names.map(String::as_str).collect();
        if !unknown.is_empty() {
            let more = unknown.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let shown = unknown[..unknown.len().min(NAMED)].join(", ");
            self.add(
                (Note, "unknown-system-call"),
                "/linux/seccomp/syscalls",
                format!("no system call of that name: {shown}{more}"),
                "a rule without a known name does nothing",
            );
        }
    }
}

fn lies_in(mapping: &IdMapping, (first, count): (u32, u32)) -> bool {
    let end = |start: u32, size: u32| u64::from(start) + u64::from(size);
    mapping.host_id >= first && end(mapping.host_id, mapping.size) <= end(first, count)
}
