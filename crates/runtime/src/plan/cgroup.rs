// SPDX-License-Identifier: Apache-2.0
//! Which directory of each hierarchy is the container's, and who may manage it.

use std::collections::BTreeMap;

use conex_spec::runtime::{IdMapping, NamespaceKind, Resources};

use super::devices::device_rules;
use super::mount_options::{Options, RDONLY};
use super::mounts::clean;
use super::{Draft, PlanError};
use crate::cgroup::{CgroupPlan, Driver, Version, ignored};

impl Draft<'_> {
    pub(super) fn cgroup(&mut self) -> Result<CgroupPlan, PlanError> {
        let mut resources = self.linux().resources.clone().unwrap_or_default();
        resources.devices = device_rules(self.linux());
        self.warnings.extend(ignored(self.host.cgroup.version, &resources));
        if self.host.cgroup.version == Version::V1 && !resources.unified.is_empty() {
            return Err(PlanError::new(
                "invalid configuration: linux.resources.unified needs cgroup v2, and this host has v1",
            ));
        }
        let driver = match self.request.cgroup_driver {
            _ if self.host.cgroup.hierarchies.is_empty() && self.host.rootless => Driver::Disabled,
            Driver::Systemd => return Err(self.no_systemd()),
            asked => asked,
        };
        let limits = Resources { devices: Vec::new(), ..resources.clone() };
        if self.request.cgroup_driver == Driver::Disabled && limits != Resources::default() {
            self.warnings.push("linux.resources: cgroups are disabled, no limit is set".into());
        }
        Ok(CgroupPlan {
            driver,
            directories: if driver == Driver::Disabled { BTreeMap::new() } else { self.directories() },
            resources,
            best_effort: self.host.rootless,
            owner: self.owner(),
        })
    }

    fn no_systemd(&self) -> PlanError {
        let path = &self.linux().cgroups_path;
        if !path.is_empty() && path.split(':').count() != 3 {
            return PlanError::new(format!(
                "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {path:?} instead"
            ));
        }
        PlanError::new(if self.host.systemd {
            "--systemd-cgroup: the systemd driver is not written yet, leave the flag out to use cgroupfs"
        } else {
            "--systemd-cgroup: systemd is not running on this host (no /run/systemd/system), leave the flag out"
        })
    }

    /// An absolute `cgroupsPath` counts from the mount point. A relative one, or the container's id where there is
    /// none, counts from the caller's own cgroup; in v2 from its parent, because a cgroup with processes in it cannot
    /// have children with controllers.
    fn directories(&self) -> BTreeMap<String, String> {
        let asked = &self.linux().cgroups_path;
        let mut directories = BTreeMap::new();
        for hierarchy in &self.host.cgroup.hierarchies {
            let below = if asked.starts_with('/') {
                clean(asked)
            } else {
                let name = clean(if asked.is_empty() { &self.request.id } else { asked });
                let own = hierarchy.own_directory();
                let base = if self.host.cgroup.version == Version::V2 { parent(&own) } else { &own };
                clean(&format!("{base}{name}"))
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
