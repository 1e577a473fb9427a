// SPDX-License-Identifier: Apache-2.0
//! The container's view of files: from the first bind of its root to the last masked path.

use conex_spec::runtime::{NamespaceKind, Process, RootfsPropagation};

use super::mounts::clean;
use super::{
    BeforeClone, Draft, EnterRoot, HookMoment, OpenSource, Propagation, PropagationKind, Question, Step,
};
use crate::cgroup::CgroupPlan;

impl Draft<'_> {
    pub(super) fn keyring(&mut self, process: &Process) {
        if !self.request.no_new_keyring {
            let name = format!("_ses.{}", self.request.id);
            self.steps.push(Step::JoinKeyring { name, label: process.selinux_label.clone() });
        }
        if self.config.creates_namespace(NamespaceKind::Network) {
            self.steps.push(Step::RaiseLoopback);
        }
    }

    /// Up to the moment when the container's root is `/`.
    pub(super) fn root_filesystem(&mut self, cgroup: &CgroupPlan) {
        let method = if self.config.has_namespace(NamespaceKind::Mount) {
            self.root_of_its_own();
            if self.request.no_pivot { EnterRoot::Move } else { EnterRoot::Pivot }
        } else {
            self.root_on_host();
            EnterRoot::Chroot
        };
        for (index, mount) in self.config.mounts.iter().enumerate() {
            self.mount(&format!("/mounts/{index}"), mount, cgroup);
        }
        self.devices();
        self.setup_hooks();
        self.steps.push(Step::EnterRoot { method });
        if self.makes_dev() {
            self.steps.push(Step::ReopenDevNull);
        }
    }

    fn root_of_its_own(&mut self) {
        let asked = propagation(self.linux().rootfs_propagation);
        let private = asked.is_some_and(|asked| asked.kind == PropagationKind::Private);
        if self.request.no_pivot && private {
            let what = "rootfsPropagation of [r]private is not safe without pivot_root";
            self.fail("/linux/rootfsPropagation", what);
        }
        let slave = Propagation { kind: PropagationKind::Slave, recursive: true };
        self.steps.push(Step::IsolateMounts { propagation: asked.unwrap_or(slave) });
        let parent = match asked {
            Some(Propagation { kind: PropagationKind::Slave, .. }) => PropagationKind::Slave,
            _ => PropagationKind::Private,
        };
        self.steps.push(Step::BindRoot { rootfs: self.rootfs(), parent });
    }

    /// The host's own propagation is nobody's to change: the root's is its own, and private until `propagate_root`.
    fn root_on_host(&mut self) {
        if self.config.has_namespace(NamespaceKind::User) {
            let what =
                "the host's mounts cannot be changed from another user namespace: add {\"type\": \"mount\"}";
            self.fail("/linux/namespaces", what);
        }
        let (rootfs, index) = (self.rootfs(), self.before_clone.len());
        let source = OpenSource { source: rootfs.clone(), recursive: true, idmap: None };
        self.before_clone.push(BeforeClone::OpenSource(source));
        self.steps.push(Step::AttachRoot { rootfs, index });
    }

    /// After the mounts, so that hooks can change them; before pivot_root, so that the host's files are there.
    fn setup_hooks(&mut self) {
        let hooks = &self.config.hooks;
        if !hooks.prestart.is_empty() || !hooks.create_runtime.is_empty() {
            self.steps.push(Step::Ask(Question::RuntimeHooks {
                prestart: hooks.prestart.clone(),
                create_runtime: hooks.create_runtime.clone(),
            }));
        }
        if !hooks.create_container.is_empty() {
            let hooks = hooks.create_container.clone();
            self.steps.push(Step::Hooks { moment: HookMoment::CreateContainer, hooks });
        }
    }

    pub(super) fn console(&mut self, process: &Process) {
        if process.terminal {
            let size = process.console_size.unwrap_or_default();
            self.steps.push(Step::Console { width: size.width, height: size.height, mount: true });
        }
    }

    pub(super) fn finish_root_filesystem(&mut self) {
        self.remount_readonly();
        if self.config.root.as_ref().is_some_and(|root| root.readonly) {
            self.steps.push(Step::RemountRootReadonly);
        }
        let umask = self.config.process.as_ref().and_then(|process| process.user.umask);
        self.steps.push(Step::SetUmask { mask: umask.unwrap_or(0o022) });
    }

    /// Names, AppArmor and sysctls: what needs a writable /proc, before parts of it are closed.
    pub(super) fn identity(&mut self, process: &Process) {
        if !self.config.hostname.is_empty() {
            self.steps.push(Step::SetHostname { name: self.config.hostname.clone() });
        }
        if !self.config.domainname.is_empty() {
            self.steps.push(Step::SetDomainname { name: self.config.domainname.clone() });
        }
        if !process.apparmor_profile.is_empty() {
            self.steps.push(Step::ApparmorProfile { profile: process.apparmor_profile.clone() });
        }
        let sysctls: Vec<_> = self
            .linux()
            .sysctl
            .iter()
            .map(|(key, value)| Step::Sysctl { key: key.clone(), value: value.clone() })
            .collect();
        self.steps.extend(sysctls);
    }

    pub(super) fn restrict_paths(&mut self) {
        let linux = self.linux();
        let readonly: Vec<_> =
            linux.readonly_paths.iter().map(|path| Step::ReadonlyPath { path: clean(path) }).collect();
        let mut paths: Vec<_> = linux.masked_paths.iter().map(|path| clean(path)).collect();
        let mut seen = std::collections::BTreeSet::new();
        paths.retain(|path| seen.insert(path.clone()));
        let label = linux.mount_label.clone();
        self.steps.extend(readonly);
        if !paths.is_empty() {
            self.steps.push(Step::MaskPaths { paths, label });
        }
    }

    pub(super) fn propagate_root(&mut self) {
        if let Some(propagation) = propagation(self.linux().rootfs_propagation)
            && matches!(propagation.kind, PropagationKind::Shared | PropagationKind::Unbindable)
        {
            self.steps.push(Step::PropagateRoot { propagation });
        }
    }
}

fn propagation(asked: RootfsPropagation) -> Option<Propagation> {
    use PropagationKind::{Private, Shared, Slave, Unbindable};
    let (kind, recursive) = match asked {
        RootfsPropagation::Unset => return None,
        RootfsPropagation::Shared => (Shared, false),
        RootfsPropagation::Slave => (Slave, false),
        RootfsPropagation::Private => (Private, false),
        RootfsPropagation::Unbindable => (Unbindable, false),
        RootfsPropagation::RecursiveShared => (Shared, true),
        RootfsPropagation::RecursiveSlave => (Slave, true),
        RootfsPropagation::RecursivePrivate => (Private, true),
        RootfsPropagation::RecursiveUnbindable => (Unbindable, true),
    };
    Some(Propagation { kind, recursive })
}
