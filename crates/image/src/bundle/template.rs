// SPDX-License-Identifier: Apache-2.0
//! What a configuration says where neither image nor caller says anything: the default sandbox, and umoci's.

use conex_spec::runtime::{
    Capabilities, Config, DeviceRule, Linux, Mount, Namespace, NamespaceKind, Process, Resource, Resources,
    Rlimit, Root,
};

/// The version whose features are used, not the newest one: older runtimes shall take the document.
const VERSION: &str = "1.0.2";

/// Where programs are looked for.
pub(super) const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Podman's set: what programs of images need that were made to run as root.
const CAPABILITIES: [&str; 11] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// Files of /proc and /sys that tell of the host, or steer it.
const MASKED: [&str; 13] = [
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/dev/block",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
];

const READ_ONLY: [&str; 6] =
    ["/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The sandbox of `conex run`. `rootless`: the runtime is root only in a user namespace, which may know few ids.
pub(super) fn container(rootless: bool) -> Config {
    let capabilities = owned(&CAPABILITIES);
    let mut mounts = mounts(&["mode=755", "size=65536k"]);
    if rootless {
        mounts.iter_mut().for_each(drop_ids);
    }
    Config {
        oci_version: VERSION.to_owned(),
        process: Some(Process {
            env: vec![PATH.to_owned()],
            cwd: "/".to_owned(),
            capabilities: Some(Capabilities {
                bounding: capabilities.clone(),
                effective: capabilities.clone(),
                permitted: capabilities,
                inheritable: Vec::new(),
                ambient: Vec::new(),
            }),
            ..Process::default()
        }),
        root: Some(Root { path: "rootfs".to_owned(), readonly: false }),
        mounts,
        linux: Some(Linux {
            masked_paths: owned(&MASKED),
            readonly_paths: owned(&READ_ONLY),
            namespaces: namespaces(),
            resources: Some(no_devices()),
            ..Linux::default()
        }),
        ..Config::default()
    }
}

/// The document that `umoci unpack` starts from.
pub(super) fn umoci() -> Config {
    let capabilities = owned(&["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    Config {
        oci_version: VERSION.to_owned(),
        process: Some(Process {
            terminal: true,
            args: vec!["sh".to_owned()],
            env: vec![PATH.to_owned(), "TERM=xterm".to_owned()],
            cwd: "/".to_owned(),
            capabilities: Some(Capabilities {
                bounding: capabilities.clone(),
                effective: capabilities.clone(),
                inheritable: capabilities.clone(),
                permitted: capabilities.clone(),
                ambient: capabilities,
            }),
            rlimits: vec![Rlimit { kind: Resource::Nofile, soft: 1024, hard: 1024 }],
            no_new_privileges: true,
            ..Process::default()
        }),
        root: Some(Root { path: "rootfs".to_owned(), readonly: false }),
        hostname: "umoci-default".to_owned(),
        mounts: mounts(&["mode=755", "size=65536k"]),
        linux: Some(Linux {
            masked_paths: owned(&[
                "/proc/kcore",
                "/proc/latency_stats",
                "/proc/timer_list",
                "/proc/timer_stats",
                "/proc/sched_debug",
                "/sys/firmware",
                "/proc/scsi",
            ]),
            readonly_paths: owned(&READ_ONLY),
            namespaces: namespaces(),
            resources: Some(no_devices()),
            ..Linux::default()
        }),
        ..Config::default()
    }
}

/// Changes umoci's document for a container in a user namespace of one's own (`--rootless`).
/// `resolv_conf` has the options that a bind mount of that file must keep, if there is one.
pub(super) fn make_rootless(config: &mut Config, resolv_conf: Option<Vec<String>>) {
    config.mounts.retain(|mount| !mount.destination.starts_with("/sys"));
    config.mounts.iter_mut().for_each(drop_ids);
    config.mounts.push(mount("/sys", "bind", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"]));
    if let Some(mut options) = resolv_conf {
        options.extend(owned(&["rbind", "ro"]));
        config.mounts.push(Mount { options, ..mount("/etc/resolv.conf", "bind", "/etc/resolv.conf", &[]) });
    }
    if let Some(process) = &mut config.process {
        process.user.additional_gids.clear();
    }
    if let Some(linux) = &mut config.linux {
        linux.namespaces.retain(|n| !matches!(n.kind, NamespaceKind::Network | NamespaceKind::User));
        linux.namespaces.push(Namespace { kind: NamespaceKind::User, path: String::new() });
        linux.resources = None;
    }
}

/// `uid=` and `gid=` name ids that may not exist in a user namespace.
fn drop_ids(mount: &mut Mount) {
    mount.options.retain(|option| !option.starts_with("gid=") && !option.starts_with("uid="));
}

fn mounts(dev: &[&str]) -> Vec<Mount> {
    let dev = [&["nosuid", "strictatime"], dev].concat();
    vec![
        mount("/proc", "proc", "proc", &[]),
        mount("/dev", "tmpfs", "tmpfs", &dev),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ]
}

pub(super) fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.to_owned(),
        kind: kind.to_owned(),
        source: source.to_owned(),
        options: owned(options),
        ..Mount::default()
    }
}

fn namespaces() -> Vec<Namespace> {
    use NamespaceKind::{Cgroup, Ipc, Network, Pid, Uts};
    let kinds = [Cgroup, Pid, Network, Ipc, Uts, NamespaceKind::Mount];
    kinds.into_iter().map(|kind| Namespace { kind, path: String::new() }).collect()
}

fn no_devices() -> Resources {
    let none = DeviceRule { allow: false, access: "rwm".to_owned(), ..DeviceRule::default() };
    Resources { devices: vec![none], ..Resources::default() }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
