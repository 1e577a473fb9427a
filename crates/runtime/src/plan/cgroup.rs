// SPDX-License-Identifier: Apache-2.0
//! Which directory of each hierarchy is the container's, and who may manage it.

use std::collections::BTreeMap;

use conex_spec::runtime::{IdMapping, NamespaceKind, Resources};

use super::Draft;
use super::devices::device_rules;
use super::mount_options::{Options, RDONLY};
use super::mounts::clean;
use crate::cgroup::{CgroupPlan, Driver, Hierarchy, Unit, Version, ignored};

impl Draft<'_> {
    pub(super) fn cgroup(&mut self) -> CgroupPlan {
        let mut resources = self.linux().resources.clone().unwrap_or_default();
        resources.devices = device_rules(self.linux());
        self.warnings.extend(ignored(self.host.cgroup.version, &resources));
        if self.host.cgroup.version == Version::V1 && !resources.unified.is_empty() {
            let what = "invalid configuration: linux.resources.unified needs cgroup v2, and this host has v1";
            self.fail("/linux/resources/unified", what);
        }
        let driver = match self.request.cgroup_driver {
            _ if self.host.cgroup.hierarchies.is_empty() && self.host.rootless => Driver::Disabled,
            asked => asked,
        };
        let limits = Resources { devices: Vec::new(), ..resources.clone() };
        if self.request.cgroup_driver == Driver::Disabled && limits != Resources::default() {
            self.warnings.push("linux.resources: cgroups are disabled, no limit is set".into());
        }
        let unit = if driver == Driver::Systemd { self.unit() } else { None };
        CgroupPlan {
            driver,
            directories: if driver == Driver::Disabled {
                BTreeMap::new()
            } else {
                self.directories(unit.as_ref())
            },
            unit,
            resources,
            best_effort: self.host.rootless,
            owner: self.owner(),
        }
    }

    fn unit(&mut self) -> Option<Unit> {
        let of_user = self.host.rootless;
        let path = &self.linux().cgroups_path;
        let unit = Unit::new(path, &self.request.id, of_user, &self.config.annotations, &self.host.managers);
        if !self.host.systemd {
            self.fail(
                "",
                "--systemd-cgroup: systemd is not running on this host (no /run/systemd/system), leave the flag out",
            );
        }
        if of_user && self.host.cgroup.version == Version::V1 {
            self.fail("", "--systemd-cgroup: a user's systemd cannot manage cgroup v1, leave the flag out");
        }
        unit.map_err(|what| {
            let at = if what.starts_with("annotation ") { "/annotations" } else { "/linux/cgroupsPath" };
            self.fail(at, what);
        })
        .ok()
    }

    /// By controller.
    fn directories(&self, unit: Option<&Unit>) -> BTreeMap<String, String> {
        let mut directories = BTreeMap::new();
        for hierarchy in &self.host.cgroup.hierarchies {
            let below = match unit {
                Some(unit) if unit.of_user => format!("{}{}", self.users_manager(hierarchy), unit.path()),
                Some(unit) => unit.path(),
                None => self.below(hierarchy),
            };
            let directory = format!("{}{below}", hierarchy.mount_point);
            if hierarchy.controllers.is_empty() {
                directories.insert(String::new(), directory);
            } else {
                for controller in &hierarchy.controllers {
                    directories.insert(controller.clone(), directory.clone());
                }
            }
        }
        directories
    }

    /// An absolute `cgroupsPath` counts from the mount point. A relative one, or the container's id where there is
    /// none, counts from the caller's own cgroup; in v2 from its parent, because a cgroup with processes in it cannot
    /// have children with controllers.
    fn below(&self, hierarchy: &Hierarchy) -> String {
        let asked = &self.linux().cgroups_path;
        if asked.starts_with('/') {
            return clean(asked);
        }
        let name = clean(if asked.is_empty() { &self.request.id } else { asked });
        let own = hierarchy.own_directory();
        let base = if self.host.cgroup.version == Version::V2 { parent(&own) } else { &own };
        clean(&format!("{base}{name}"))
    }

    /// Where a user's systemd most likely is. Only when the unit has started it is certain.
    fn users_manager(&self, hierarchy: &Hierarchy) -> String {
        let own = hierarchy.own_directory();
        let parts: Vec<_> = own.split('/').collect();
        let manager = |part: &&str| part.starts_with("user@") && part.ends_with(".service");
        if let Some(at) = parts.iter().position(manager) {
            return parts[..=at].join("/");
        }
        let of_slice = |part: &&str| Some(part.strip_prefix("user-")?.strip_suffix(".slice")?.to_owned());
        let uid = parts.iter().find_map(of_slice).unwrap_or_else(|| self.host.euid.to_string());
        format!("/user.slice/user-{uid}.slice/user@{uid}.service")
    }

    /// config-linux.md, "Cgroup ownership".
    fn owner(&self) -> Option<u32> {
        let writable = self.config.mounts.iter().any(|mount| {
            mount.source == "cgroup"
                && clean(&mount.destination) == "/sys/fs/cgroup"
                && Options::parse(&mount.options).attr.set & RDONLY == 0
        });
        let own_namespace = self.config.creates_namespace(NamespaceKind::Cgroup);
        if !writable || !own_namespace || self.host.cgroup.version != Version::V2 {
            return None;
        }
        let uid = self.config.process.as_ref().map_or(0, |process| process.user.uid);
        if self.config.has_namespace(NamespaceKind::User) {
            outside(&self.linux().uid_mappings, uid)
        } else {
            Some(uid)
        }
    }
}

/// The host's id for one inside.
fn outside(mappings: &[IdMapping], id: u32) -> Option<u32> {
    mappings
        .iter()
        .find(|mapping| id >= mapping.container_id && id - mapping.container_id < mapping.size)
        .map(|mapping| mapping.host_id + (id - mapping.container_id))
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}
