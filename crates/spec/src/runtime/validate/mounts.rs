// SPDX-License-Identifier: Apache-2.0
//! config.md, "Mounts".

use super::{Report, Violation};
use crate::runtime::{Config, IdMapping, Mount, NamespaceKind};

/// Every mistake in mounts that stand alone, as `mounts add` reads them. Whether there is a user namespace to take id
/// maps from is the container's business.
#[expect(clippy::ptr_arg, reason = "a rule is for what is read")]
pub fn validate_mounts(mounts: &Vec<Mount>) -> Vec<Violation> {
    let mut report = Report::default();
    for (index, mount) in mounts.iter().enumerate() {
        report.mount(&format!("/{index}"), mount, true);
    }
    report.violations
}

/// As `mounts remove` reads them: only where they are counts.
#[expect(clippy::ptr_arg, reason = "a rule is for what is read")]
pub fn validate_destinations(mounts: &Vec<Mount>) -> Vec<Violation> {
    let mut report = Report::default();
    for (index, mount) in mounts.iter().enumerate() {
        report.absolute(format!("/{index}/destination"), &mount.destination);
    }
    report.violations
}

impl Report {
    pub(super) fn mounts(&mut self, config: &Config) {
        let in_user_namespace = config.has_namespace(NamespaceKind::User);
        for (index, mount) in config.mounts.iter().enumerate() {
            self.mount(&format!("/mounts/{index}"), mount, in_user_namespace);
        }
    }

    fn mount(&mut self, at: &str, mount: &Mount, in_user_namespace: bool) {
        let has = |word: &str| mount.options.iter().any(|option| option == word);
        let bind = has("bind") || has("rbind");
        if mount.destination.is_empty() {
            self.add(format!("{at}/destination"), "must not be empty");
        }
        if mount.kind.is_empty() && !bind && !has("remount") {
            self.add(format!("{at}/type"), "must be given, for this is no bind mount");
        }
        if bind && mount.source.is_empty() {
            self.add(format!("{at}/source"), "must be given for a bind mount");
        }
        for (name, text) in
            [("destination", &mount.destination), ("type", &mount.kind), ("source", &mount.source)]
        {
            self.no_nul(format!("{at}/{name}"), text);
        }
        for (index, option) in mount.options.iter().enumerate() {
            self.no_nul(format!("{at}/options/{index}"), option);
        }
        self.mount_mappings(at, mount, in_user_namespace, has("idmap") || has("ridmap"), bind);
    }

    fn mount_mappings(&mut self, at: &str, mount: &Mount, in_user_namespace: bool, asked: bool, bind: bool) {
        let mapped = !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty();
        if mount.uid_mappings.is_empty() != mount.gid_mappings.is_empty() {
            self.add(at, "id-mapped mounts must have both uid and gid mappings specified");
        }
        if (mapped || asked) && !bind {
            self.add(at, "id-mapped mounts are only supported for bind-mounts: add the option bind or rbind");
        }
        if asked && !mapped && !in_user_namespace {
            self.add(at, "idmap needs uidMappings and gidMappings, or a user namespace to take them from");
        }
        self.mappings(&format!("{at}/uidMappings"), &mount.uid_mappings);
        self.mappings(&format!("{at}/gidMappings"), &mount.gid_mappings);
    }

    /// Ranges that are neither empty nor wrap around nor overlap, inside and outside.
    pub(super) fn mappings(&mut self, at: &str, mappings: &[IdMapping]) {
        for (index, mapping) in mappings.iter().enumerate() {
            if mapping.size == 0 {
                self.add(format!("{at}/{index}/size"), "must be greater than zero");
            }
            for (name, first) in [("containerID", mapping.container_id), ("hostID", mapping.host_id)] {
                if first.checked_add(mapping.size).is_none() {
                    self.add(format!("{at}/{index}/{name}"), "runs past the highest id");
                }
            }
            for earlier in &mappings[..index] {
                let inside = (earlier.container_id, mapping.container_id);
                let outside = (earlier.host_id, mapping.host_id);
                for (name, (one, other)) in [("containerID", inside), ("hostID", outside)] {
                    if overlap((one, earlier.size), (other, mapping.size)) {
                        self.add(format!("{at}/{index}/{name}"), "overlaps with an earlier range");
                    }
                }
            }
        }
    }
}

/// Of two ranges, each a first id and a size.
fn overlap(one: (u32, u32), other: (u32, u32)) -> bool {
    let end = |(first, size): (u32, u32)| u64::from(first) + u64::from(size);
    u64::from(one.0) < end(other) && u64::from(other.0) < end(one)
}
