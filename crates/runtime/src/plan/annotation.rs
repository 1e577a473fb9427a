// SPDX-License-Identifier: Apache-2.0
//! crun's annotations, `run.oci.*` (crun(1)): the two that mean something here, and why the others do not.

use super::Draft;

/// The process keeps the groups of the runtime's caller.
pub(super) const KEEP_GROUPS: &str = "run.oci.keep_original_groups";
/// A name of a system call that this runtime does not know is an error.
pub(super) const FAIL_UNKNOWN: &str = "run.oci.seccomp_fail_unknown_syscall";

/// What all of crun's begin with.
pub(crate) const PREFIX: &str = "run.oci.";

/// Those that change what a container may do.
pub(crate) const UNSAFE: [&str; 2] = [KEEP_GROUPS, "org.systemd.property."];

/// By what stands behind the prefix: what to do instead, or why there is nothing.
const IGNORED: [(&str, &str); 11] = [
    ("delegate-cgroup", "mount a cgroup filesystem and give the container a cgroup namespace"),
    ("handler", "this runtime runs no foreign code in its own process"),
    ("hooks.stderr", "what a hook says is part of the error if it fails; redirect it in the hook"),
    ("hooks.stdout", "what a hook says is part of the error if it fails; redirect it in the hook"),
    ("mount_context_type", "linux.mountLabel is passed as context"),
    ("pidfd_receiver", "use --pidfd-socket"),
    ("seccomp.plugins", "use linux.seccomp.listenerPath"),
    ("seccomp.receiver", "use linux.seccomp.listenerPath"),
    ("seccomp_bpf_data", "a filter is compiled from linux.seccomp, so that it can be checked"),
    ("systemd.force_cgroup_v1", "cgroups are mounted as the configuration says"),
    ("systemd.subgroup", "a container's scope has no cgroup between it and the container's"),
];

/// Why an annotation of crun's does nothing; `None` if it does something, or is not crun's.
pub(crate) fn ignored(key: &str) -> Option<&'static str> {
    let name = key.strip_prefix(PREFIX).filter(|_| key != KEEP_GROUPS && key != FAIL_UNKNOWN)?;
    let known = IGNORED.iter().find(|(known, _)| *known == name);
    Some(known.map_or("this runtime does not know it", |(_, reason)| reason))
}

impl Draft<'_> {
    /// Anything but 0 switches it on.
    pub(super) fn annotated(&self, key: &str) -> bool {
        self.config.annotations.get(key).is_some_and(|value| value != "0")
    }
}
