// SPDX-License-Identifier: Apache-2.0
//! Who the process becomes, and the last steps up to execve.
//!
//! The order is delicate: without no_new_privs a filter can only be loaded while CAP_SYS_ADMIN is there, so it
//! comes just before the change of user; with it, at the end. Either way as late as possible: what comes after it
//! must pass it, and a profile from before close_range(2) does not know that call.

use conex_spec::runtime::{NamespaceKind, Process};

use super::annotation::KEEP_GROUPS;
use super::execution::environment;
use super::{AdditionalGroups, Capabilities, CapabilitySet, Draft, IdMaps, MapWriter, Step};

impl Draft<'_> {
    pub(super) fn credentials(&mut self, process: &Process, id_maps: Option<&IdMaps>) {
        if !process.selinux_label.is_empty() {
            self.needs_selinux("/process/selinuxLabel", &process.selinux_label);
            self.steps.push(Step::SelinuxLabel { label: process.selinux_label.clone() });
        }
        let groups = self.groups(process, id_maps);
        let (bounding, sets) = self.capabilities(process);
        self.steps.extend([
            Step::CloseDescriptorsFrom { first: 3 + self.request.preserve_fds },
            Step::EnterWorkingDirectory { path: process.cwd.clone() },
        ]);
        if !environment(&process.env).iter().any(|variable| variable.starts_with("HOME=")) {
            self.steps.push(Step::DefaultHome { uid: process.user.uid });
        }
        self.steps.push(Step::DropBoundingSet { keep: bounding });
        if !process.no_new_privileges {
            self.seccomp();
        }
        self.steps.extend([
            Step::SetUser { uid: process.user.uid, gid: process.user.gid, groups },
            Step::RetryWorkingDirectory { path: process.cwd.clone() },
            Step::SetCapabilities(sets),
        ]);
        self.steps.extend(process.args.first().map(|name| Step::FindProgram { name: name.clone() }));
        if process.no_new_privileges {
            self.seccomp();
        }
    }

    /// A map of the caller's own id alone is only to be had where setgroups(2) is denied.
    fn groups(&mut self, process: &Process, id_maps: Option<&IdMaps>) -> AdditionalGroups {
        let denied = self.host.euid != 0 && id_maps.is_some_and(|maps| maps.writer == MapWriter::Direct);
        if self.annotated(KEEP_GROUPS) {
            return AdditionalGroups::Keep;
        }
        if !denied {
            return AdditionalGroups::Set(process.user.additional_gids.clone());
        }
        if !process.user.additional_gids.is_empty() {
            let what = "cannot set any additional groups in a rootless container";
            self.fail("/process/user/additionalGids", what);
        }
        AdditionalGroups::Keep
    }

    /// The bounding set and the other four. What is unknown, or not the caller's to give, is left out with one warning.
    fn capabilities(&mut self, process: &Process) -> (CapabilitySet, Capabilities) {
        let asked = process.capabilities.clone().unwrap_or_default();
        let mut unknown = Vec::new();
        let last = self.host.last_capability;
        // The maker of a user namespace has every capability in it.
        let all = self.config.has_namespace(NamespaceKind::User);
        let granted = if all { u64::MAX } else { self.host.capabilities };
        let available = |number: &u8| *number <= last && granted & (1 << number) != 0;
        let mut set = |names: &[String]| {
            let mut bits = 0;
            for name in names {
                match conex_sys::credentials::capability_number(name).filter(available) {
                    Some(number) => bits |= 1 << number,
                    None if !unknown.contains(name) => unknown.push(name.clone()),
                    None => {}
                }
            }
            CapabilitySet(bits)
        };
        let bounding = set(&asked.bounding);
        let mut sets = Capabilities {
            effective: set(&asked.effective),
            permitted: set(&asked.permitted),
            inheritable: set(&asked.inheritable),
            ambient: set(&asked.ambient),
        };
        if !unknown.is_empty() {
            self.warnings
                .push(format!("ignoring unknown or unavailable capabilities: [{}]", unknown.join(" ")));
        }
        // The kernel has no ambient capability that is not permitted and inheritable.
        let possible = sets.permitted.0 & sets.inheritable.0;
        let impossible = CapabilitySet(sets.ambient.0 & !possible);
        sets.ambient.0 &= possible;
        // Engines that stopped to fill the inheritable set still fill this one: no news at every step of a build.
        if impossible != CapabilitySet::default() && sets.inheritable != CapabilitySet::default() {
            self.warnings.push(format!(
                "can't raise ambient capability {impossible}: it is not both permitted and inheritable"
            ));
        }
        (bounding, sets)
    }
}
