// SPDX-License-Identifier: Apache-2.0
//! What a configuration gives away, on whatever host. A privileged container may be meant to be one; so these are
//! warnings and notes, never errors.

use conex_spec::runtime::{Config, Linux, Mount, NamespaceKind, Process};

use super::Severity::{Note, Warning};
use super::{Report, Severity};

/// With any of these, root in the container can become root on the host, or stop it.
const POWERFUL: [&str; 12] = [
    "CAP_BPF",
    "CAP_DAC_READ_SEARCH",
    "CAP_MAC_ADMIN",
    "CAP_MAC_OVERRIDE",
    "CAP_PERFMON",
    "CAP_SYSLOG",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_MODULE",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_TIME",
];

/// A namespace shared with the host, what that allows, and how much it matters.
const SHARED: [(NamespaceKind, Severity, &str); 6] = [
    (
        NamespaceKind::Mount,
        Warning,
        "mounts made inside appear on the host, and only chroot(2) keeps the container in its root",
    ),
    (NamespaceKind::Pid, Warning, "the host's processes can be seen and signalled"),
    (
        NamespaceKind::Network,
        Warning,
        "the host's interfaces, and abstract sockets of its daemons, can be used",
    ),
    (NamespaceKind::Ipc, Warning, "the host's shared memory can be used"),
    (NamespaceKind::Uts, Note, "the host's name is seen, and with CAP_SYS_ADMIN changed"),
    (NamespaceKind::Cgroup, Note, "the container sees where it is in the host's cgroups"),
];

/// What a writable bind of this, or of anything below where that is said, hands over.
const PRECIOUS: [(&str, &str); 8] = [
    ("/boot", "the host's kernel can be replaced"),
    ("/dev", "every device of the host has a name in there"),
    ("/etc", "the host's configuration can be changed"),
    ("/proc", "the host's settings can be written"),
    ("/sys", "the host's kernel can be configured"),
    ("/usr", "the host's programs can be replaced"),
    ("/root", "keys and start-up files of the host's root"),
    ("/var/lib/kubelet", "secrets of every pod"),
];

/// Who can talk to this can start anything.
const SOCKETS: [&str; 5] = ["docker.sock", "podman.sock", "containerd.sock", "crio.sock", "buildkitd.sock"];

/// Parts of proc and sysfs that leak or reach beyond the container.
const USUALLY_MASKED: [&str; 6] =
    ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"];
const USUALLY_READONLY: [&str; 3] = ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq"];

impl Report {
    pub(super) fn risks(&mut self, config: &Config) {
        self.shared_namespaces(config);
        if let Some(process) = &config.process {
            self.process_risks(config, process);
        }
        for (index, mount) in config.mounts.iter().enumerate() {
            self.mount_risks(index, mount);
        }
        if let Some(linux) = &config.linux {
            self.linux_risks(config, linux);
        }
    }

    fn shared_namespaces(&mut self, config: &Config) {
        for (kind, severity, consequence) in SHARED {
            if !config.has_namespace(kind) {
                self.add(
                    (severity, "host-namespace"),
                    "/linux/namespaces",
                    format!("the host's {kind} namespace is shared: {consequence}"),
                    format!("add {{\"type\": \"{kind}\"}}"),
                );
            }
        }
    }

    fn process_risks(&mut self, config: &Config, process: &Process) {
        if !config.has_namespace(NamespaceKind::User) && process.user.uid == 0 {
            self.add(
                (Note, "root-is-root"),
                "/process/user/uid",
                "without a user namespace, root in the container is root on the host",
                "set another uid, or add a user namespace with id maps",
            );
        }
        if !process.no_new_privileges {
            self.add(
                (Note, "new-privileges"),
                "/process/noNewPrivileges",
                "set-user-id programs in the root file system give privileges",
                "set it to true unless such programs are needed",
            );
        }
        let Some(capabilities) = &process.capabilities else { return };
        let owned = config.creates_namespace(NamespaceKind::User);
        for (index, name) in capabilities.bounding.iter().enumerate() {
            if POWERFUL.contains(&name.as_str()) && !owned {
                self.add(
                    (Warning, "powerful-capability"),
                    format!("/process/capabilities/bounding/{index}"),
                    format!("{name} reaches beyond the container"),
                    "take it out of every set, or add a user namespace",
                );
            }
        }
        if !capabilities.inheritable.is_empty() {
            self.add(
                (Warning, "inheritable-capabilities"),
                "/process/capabilities/inheritable",
                "programs with inheritable file capabilities gain these, also for an ordinary user",
                "leave the set empty; ambient capabilities need it, and little else",
            );
        }
    }

    fn mount_risks(&mut self, index: usize, mount: &Mount) {
        let has = |word: &str| mount.options.iter().any(|option| option == word);
        let is_bind = has("bind") || has("rbind") || mount.kind == "bind";
        let writable = !has("ro") && !has("rro");
        let at = format!("/mounts/{index}");
        if mount.kind == "cgroup" && writable {
            self.add(
                (Warning, "writable-cgroup"),
                &at,
                "the container may change its own limits",
                "add the option \"ro\", unless an init system inside needs to write there",
            );
        }
        if !is_bind {
            return;
        }
        let source = format!("/{}", mount.source.trim_matches('/'));
        let name = source.rsplit('/').next().unwrap_or_default();
        if SOCKETS.contains(&name) {
            // Read-only does not help: connecting is no write.
            let message = format!("{source} lets the container start anything on the host");
            self.add((Warning, "engine-socket"), format!("{at}/source"), message, "take this mount out");
        }
        if !writable {
            return;
        }
        let mend = "add the option \"rro\" (\"ro\" leaves mounts below writable), or bind less";
        if mount.source == "/" {
            let message = "the host's whole file system can be written";
            self.add((Warning, "writable-host-path"), format!("{at}/source"), message, mend);
        }
        if let Some((_, what)) = PRECIOUS.iter().find(|(path, _)| *path == source) {
            let message = format!("{source} of the host can be written: {what}");
            self.add((Warning, "writable-host-path"), format!("{at}/source"), message, mend);
        }
        if has("shared") || has("rshared") {
            self.add(
                (Warning, "shared-propagation"),
                format!("{at}/options"),
                "mounts made below it in the container appear on the host",
                "use \"rslave\" to see the host's, or \"rprivate\"",
            );
        }
    }

    fn linux_risks(&mut self, config: &Config, linux: &Linux) {
        if linux.seccomp.is_none() {
            self.add(
                (Warning, "no-seccomp"),
                "/linux",
                "every system call of the kernel can be reached",
                "add linux.seccomp; docker's or podman's default profile suits most programs",
            );
        }
        self.uncovered_paths(config, linux);
        let resources = linux.resources.clone().unwrap_or_default();
        for (index, rule) in resources.devices.iter().enumerate() {
            let all = matches!(rule.kind.as_str(), "" | "a") && rule.major.is_none_or(|major| major < 0);
            if rule.allow && (all || (rule.kind == "b" && rule.access.contains('w'))) {
                let what = if all { "every device" } else { "block devices, below any file system," };
                self.add(
                    (Warning, "device-access"),
                    format!("/linux/resources/devices/{index}"),
                    format!("{what} may be used"),
                    "allow single character devices only",
                );
            }
        }
        for (limit, name, harm) in [
            (resources.memory.limit, "memory.limit", "use all memory"),
            (resources.pids.limit, "pids.limit", "use up all process ids"),
        ] {
            if limit.is_none_or(|limit| limit <= 0) {
                self.add(
                    (Note, "no-limit"),
                    "/linux/resources",
                    format!("the container may {harm} of the host"),
                    format!("set linux.resources.{name}"),
                );
            }
        }
    }

    /// Only where such a file system is mounted into a namespace that has the host's ids.
    fn uncovered_paths(&mut self, config: &Config, linux: &Linux) {
        if config.has_namespace(NamespaceKind::User) {
            return;
        }
        let mounted = |path: &str| {
            let top = path.split('/').nth(1).unwrap_or_default();
            config.mounts.iter().any(|mount| mount.destination.trim_matches('/') == top)
        };
        let covers = |lists: &[&[String]], path: &str| {
            let below = |over: &String| path == over || path.starts_with(&format!("{over}/"));
            lists.iter().any(|list| list.iter().any(below))
        };
        let masked: &[String] = &linux.masked_paths;
        for path in USUALLY_MASKED.iter().filter(|path| mounted(path) && !covers(&[masked], path)) {
            let message = format!("{path} is not masked");
            self.add((Warning, "unmasked-path"), "/linux/maskedPaths", message, format!("add {path:?}"));
        }
        let either: &[&[String]] = &[masked, &linux.readonly_paths];
        for path in USUALLY_READONLY.iter().filter(|path| mounted(path) && !covers(either, path)) {
            let message = format!("{path} can be written by root in the container");
            self.add((Warning, "writable-proc"), "/linux/readonlyPaths", message, format!("add {path:?}"));
        }
    }
}
