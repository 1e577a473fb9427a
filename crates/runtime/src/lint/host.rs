// SPDX-License-Identifier: Apache-2.0
//! What this host and this user offer: facts, read once, that the rules of `needs` are asked against.
#![expect(clippy::disallowed_methods, reason = "procfs, sysfs and /etc are the host's")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use conex_spec::runtime::NamespaceKind;
use conex_sys::{credentials, idmap, procfs};

use crate::cgroup::{Layout, Version};
use crate::{Result, Wrap};

/// A host as seen by the caller.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    /// Major and minor of the kernel.
    pub kernel: (u32, u32),
    pub namespaces: BTreeSet<NamespaceKind>,
    pub version: Version,
    pub controllers: BTreeSet<String>,
    pub apparmor: bool,
    pub selinux: bool,
    pub user: u32,
    pub may_set_ids: bool,
    /// CAP_SYS_RESOURCE.
    pub may_raise_limits: bool,
    /// Host ids that an ordinary user may map: first and count.
    pub users: Vec<(u32, u32)>,
    pub groups: Vec<(u32, u32)>,
    /// By the name in `/proc/self/limits`; no entry is unlimited.
    pub hard_limits: BTreeMap<String, u64>,
    pub oom_score_adj: i32,
}

impl Host {
    pub(super) fn look() -> Result<Self> {
        let release = read("/proc/sys/kernel/osrelease");
        let layout = Layout::detect()?;
        let capabilities = credentials::effective_capabilities().wrap(|| "read the own capabilities")?;
        let has = |name| credentials::capability_number(name).is_some_and(|bit| capabilities >> bit & 1 == 1);
        let (user, group) = (credentials::effective_user(), credentials::effective_group());
        let name = user_name(&read("/etc/passwd"), user);
        let ids = |file: &str, own: u32| {
            let mut ranges = idmap::subordinate_ranges(&read(file), &name, user);
            ranges.push((own, 1));
            ranges
        };
        let seen = |kind: &NamespaceKind| {
            fs::symlink_metadata(format!("/proc/self/ns/{}", kind.proc_name())).is_ok()
        };
        Ok(Self {
            kernel: version_of(&release).unwrap_or_default(),
            namespaces: NamespaceKind::ALL.into_iter().filter(seen).collect(),
            controllers: controllers(&layout),
            version: layout.version,
            apparmor: read("/sys/module/apparmor/parameters/enabled").trim() == "Y",
            selinux: fs::metadata("/sys/fs/selinux/enforce").is_ok(),
            user,
            may_set_ids: has("CAP_SETUID") && has("CAP_SETGID"),
            may_raise_limits: has("CAP_SYS_RESOURCE"),
            users: ids("/etc/subuid", user),
            groups: ids("/etc/subgid", group),
            hard_limits: procfs::parse_limits(&read("/proc/self/limits"))
                .into_iter()
                .filter_map(|(name, limit)| Some((name, limit.hard?)))
                .collect(),
            oom_score_adj: read("/proc/self/oom_score_adj").trim().parse().unwrap_or_default(),
        })
    }
}

/// What cannot be read is not there.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// `6.1.0-18-amd64` is (6, 1).
pub(super) fn version_of(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.trim().split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn user_name(passwd: &str, user: u32) -> String {
    let mut lines = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let own = lines.find(|fields| fields.get(2).is_some_and(|id| *id == user.to_string()));
    own.map(|fields| fields[0].to_owned()).unwrap_or_default()
}

/// v1: those that are mounted. v2: those that the caller's own cgroup may hand on, or at the top, all.
fn controllers(layout: &Layout) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    for hierarchy in &layout.hierarchies {
        names.extend(hierarchy.controllers.iter().cloned());
        if layout.version == Version::V2 {
            let text = read(&format!("{}/cgroup.controllers", hierarchy.mount_point));
            names.extend(text.split_whitespace().map(str::to_owned));
        }
    }
    names
}
