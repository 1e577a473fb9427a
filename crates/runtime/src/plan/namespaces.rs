// SPDX-License-Identifier: Apache-2.0
//! Which namespaces are made and joined, who maps ids, and what the host side does between clone and go.

use conex_spec::runtime::{IdMapping, NamespaceKind, Process, TimeOffset};

use super::{AfterClone, Draft, IdMaps, JoinNamespace, MapWriter};

impl Draft<'_> {
    pub(super) fn namespaces_to_create(&self) -> Vec<NamespaceKind> {
        NamespaceKind::ALL.into_iter().filter(|kind| self.config.creates_namespace(*kind)).collect()
    }

    /// In the kernel's preferred order: `user` first, for it may own the others.
    pub(super) fn namespaces_to_join(&self) -> Vec<JoinNamespace> {
        let joined = |kind| self.config.namespace(kind).filter(|namespace| !namespace.path.is_empty());
        NamespaceKind::ALL
            .into_iter()
            .filter_map(|kind| {
                joined(kind).map(|namespace| JoinNamespace { kind, path: namespace.path.clone() })
            })
            .collect()
    }

    pub(super) fn id_maps(&mut self) -> Option<IdMaps> {
        if !self.config.creates_namespace(NamespaceKind::User) {
            if self.host.euid != 0 && !self.config.has_namespace(NamespaceKind::User) {
                self.fail(
                    "/linux/namespaces",
                    "rootless container requires user namespaces: add {\"type\": \"user\"} to linux.namespaces",
                );
            }
            return None;
        }
        let linux = self.linux();
        let (uid, gid) = (linux.uid_mappings.clone(), linux.gid_mappings.clone());
        let own = is_own_id_alone(&uid, self.host.euid) && is_own_id_alone(&gid, self.host.egid);
        let writer = if self.host.euid == 0 || own { MapWriter::Direct } else { MapWriter::Helpers };
        Some(IdMaps { uid, gid, writer })
    }

    pub(super) fn time_offsets(&self) -> Vec<(String, TimeOffset)> {
        self.linux().time_offsets.iter().map(|(clock, offset)| (clock.clone(), *offset)).collect()
    }

    pub(super) fn after_clone(&self, process: &Process, maps_ids: bool) -> Vec<AfterClone> {
        let mut work = Vec::new();
        if maps_ids {
            work.push(AfterClone::WriteIdMaps);
        }
        work.extend([AfterClone::EnterCgroup, AfterClone::FreeAffinity]);
        if self.linux().intel_rdt.is_some() {
            work.push(AfterClone::EnterResctrl);
        }
        if let Some(value) = process.oom_score_adj {
            work.push(AfterClone::AdjustOomScore { value });
        }
        for (host_name, device) in &self.linux().net_devices {
            let name = if device.name.is_empty() { host_name } else { &device.name };
            work.push(AfterClone::MoveNetDevice { host_name: host_name.clone(), name: name.clone() });
        }
        work
    }

    /// The process will have less privilege on the host than the runtime has now.
    pub(super) fn loses_privilege(&self) -> bool {
        self.host.euid == 0 && self.config.has_namespace(NamespaceKind::User)
    }
}

/// What the kernel lets anybody map.
fn is_own_id_alone(mappings: &[IdMapping], own: u32) -> bool {
    matches!(mappings, [IdMapping { host_id, size: 1, .. }] if *host_id == own)
}
