// SPDX-License-Identifier: Apache-2.0
//! The first process: ids, capabilities, limits, labels, from `/proc/PID`.

use std::collections::BTreeMap;

use conex_spec::runtime::{Capabilities, IdMapping, Process};
use conex_sys::credentials::{CAPABILITY_NAMES, capability_number};
use conex_sys::procfs::parse_limits;

use super::Facts;
use crate::Result;

/// The lines of `/proc/PID/status` by their names.
struct Status(BTreeMap<String, String>);

impl Status {
    fn parse(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        Self(pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
    }

    fn get(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }

    /// Of several values the first: the real id.
    fn first(&self, name: &str) -> &str {
        self.get(name).split_whitespace().next().unwrap_or_default()
    }

    fn mask(&self, name: &str) -> u64 {
        u64::from_str_radix(self.get(name), 16).unwrap_or_default()
    }
}

impl Facts<'_> {
    pub(super) fn process(&mut self) -> Result<()> {
        let Some(process) = &self.config.process else { return Ok(()) };
        let status = Status::parse(&self.read("status")?);
        self.user(process, &status);
        if let Some(capabilities) = &process.capabilities {
            self.capabilities(process, capabilities, &status);
        }
        let privileges = status.get("NoNewPrivs") == "1";
        self.add("/process/noNewPrivileges", process.no_new_privileges, privileges);
        if self.config.linux.as_ref().is_some_and(|linux| linux.seccomp.is_some()) {
            let mode = if status.get("Seccomp") == "2" { "a filter" } else { "no filter" };
            self.add("/linux/seccomp", "a filter", mode);
        }
        self.limits(process)?;
        if let Some(score) = process.oom_score_adj {
            let actual = self.read("oom_score_adj")?;
            self.add("/process/oomScoreAdj", score, actual.trim());
        }
        for (name, label) in
            [("apparmorProfile", &process.apparmor_profile), ("selinuxLabel", &process.selinux_label)]
        {
            if !label.is_empty() {
                let actual = self.read("attr/current")?;
                // AppArmor adds the mode in parentheses.
                let actual = actual.trim_end_matches(['\n', '\0']).split(" (").next().unwrap_or_default();
                self.add(format!("/process/{name}"), label, actual);
            }
        }
        Ok(())
    }

    /// Ids as this side of a user namespace has them.
    fn user(&mut self, process: &Process, status: &Status) {
        let linux = self.config.linux.clone().unwrap_or_default();
        let user = &process.user;
        self.add("/process/user/uid", outside(&linux.uid_mappings, user.uid), status.first("Uid"));
        self.add("/process/user/gid", outside(&linux.gid_mappings, user.gid), status.first("Gid"));
        if !user.additional_gids.is_empty() {
            let mut asked: Vec<u32> =
                user.additional_gids.iter().map(|gid| outside(&linux.gid_mappings, *gid)).collect();
            asked.push(outside(&linux.gid_mappings, user.gid));
            let actual = status.get("Groups").split_whitespace().filter_map(|id| id.parse().ok());
            let actual: Vec<u32> = actual.chain(status.first("Gid").parse()).collect();
            self.add("/process/user/additionalGids", sorted(asked), sorted(actual));
        }
        if let Some(mask) = user.umask {
            self.add("/process/user/umask", format!("{mask:04o}"), status.get("Umask"));
        }
    }

    /// The sets as execve(2) leaves them: root gets what is bounding or inheritable, others the ambient set.
    fn capabilities(&mut self, process: &Process, asked: &Capabilities, status: &Status) {
        let mask = |names: &[String]| {
            names.iter().filter_map(|name| capability_number(name)).fold(0, |mask, bit| mask | 1_u64 << bit)
        };
        let (bounding, inheritable, ambient) =
            (mask(&asked.bounding), mask(&asked.inheritable), mask(&asked.ambient));
        let is_root = process.user.uid == 0;
        let permitted = if is_root { bounding | inheritable } else { ambient };
        let effective = if is_root { permitted } else { ambient };
        for (set, asked, actual) in [
            ("bounding", bounding, "CapBnd"),
            ("effective", effective, "CapEff"),
            ("inheritable", inheritable, "CapInh"),
            ("permitted", permitted, "CapPrm"),
            ("ambient", if is_root { 0 } else { ambient }, "CapAmb"),
        ] {
            // Root's ambient set is of no consequence, and runtimes differ in it.
            if !(set == "ambient" && is_root) {
                let pointer = format!("/process/capabilities/{set}");
                self.add(pointer, names(asked), names(status.mask(actual)));
            }
        }
    }

    fn limits(&mut self, process: &Process) -> Result<()> {
        if process.rlimits.is_empty() {
            return Ok(());
        }
        let limits = parse_limits(&self.read("limits")?);
        let show = |limit: Option<u64>| limit.map_or("unlimited".into(), |limit| limit.to_string());
        let finite = |limit: u64| (limit != u64::MAX).then_some(limit);
        for (index, asked) in process.rlimits.iter().enumerate() {
            let actual = limits.get(asked.kind.proc_name());
            let actual = actual.map(|actual| format!("{}:{}", show(actual.soft), show(actual.hard)));
            self.add(
                format!("/process/rlimits/{index}"),
                format!("{}:{}", show(finite(asked.soft)), show(finite(asked.hard))),
                actual.unwrap_or_else(|| "no such limit".into()),
            );
        }
        Ok(())
    }
}

/// The id on the outside; what no mapping covers is the same on both.
fn outside(mappings: &[IdMapping], id: u32) -> u32 {
    let covers = |mapping: &&IdMapping| {
        id.checked_sub(mapping.container_id).is_some_and(|distance| distance < mapping.size)
    };
    mappings.iter().find(covers).map_or(id, |mapping| mapping.host_id + (id - mapping.container_id))
}

fn sorted(mut ids: Vec<u32>) -> String {
    ids.sort_unstable();
    ids.dedup();
    ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
}

fn names(mask: u64) -> String {
    let is_in = |(bit, _): &(usize, &&str)| mask >> bit & 1 == 1;
    let names: Vec<&str> = CAPABILITY_NAMES.iter().enumerate().filter(is_in).map(|(_, name)| *name).collect();
    if names.is_empty() { "none".into() } else { names.join(" ") }
}
