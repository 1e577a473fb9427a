// SPDX-License-Identifier: Apache-2.0
//! The `spec` verb: a `config.json` to start from, the one that people know from other runtimes.
#![expect(clippy::disallowed_methods, reason = "a bundle is the caller's")]

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use conex_spec::json;
use conex_spec::runtime::{
    Capabilities, Config, DeviceRule, IdMapping, Linux, Mount, Namespace, NamespaceKind, Process, Resource,
    Resources, Rlimit, Root, VERSION,
};

use crate::cgroup::{Layout, Version};
use crate::{Error, ErrorKind, Result, Wrap};

/// Writes `<bundle>/config.json`; refuses to overwrite. With `rootless` for the calling user's ids.
pub fn write(bundle: &str, rootless: Option<(u32, u32)>) -> Result<()> {
    let mut config = example();
    // Without cgroup v2 a cgroup namespace would hide nothing that the mount does not.
    if Layout::detect().is_ok_and(|layout| layout.version == Version::V2) {
        config.linux.get_or_insert_default().namespaces.push(new(NamespaceKind::Cgroup));
    }
    if let Some((uid, gid)) = rootless {
        make_rootless(&mut config, uid, gid);
    }
    let path = format!("{bundle}/config.json");
    let opened = std::fs::File::options().write(true).create_new(true).mode(0o666).open(&path);
    let mut file = opened.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Error::new(ErrorKind::Exists, "File config.json exists. Remove it first")
        }
        _ => Error::from(error).wrap(format_args!("create {path}")),
    })?;
    file.write_all(text(&config)?.as_bytes()).wrap(|| format!("write {path}"))
}

/// Indented with tabs, without a newline at the end.
fn text(config: &Config) -> Result<String> {
    json::write_indented(config, "\t")
        .map_err(|error| Error::new(ErrorKind::Os, format!("write config.json: {error}")))
}

fn example() -> Config {
    let capabilities = words("CAP_AUDIT_WRITE CAP_KILL CAP_NET_BIND_SERVICE");
    let process = Process {
        terminal: true,
        args: words("sh"),
        env: words("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM=xterm"),
        cwd: "/".into(),
        no_new_privileges: true,
        capabilities: Some(Capabilities {
            bounding: capabilities.clone(),
            effective: capabilities.clone(),
            permitted: capabilities,
            ..Capabilities::default()
        }),
        rlimits: vec![Rlimit { kind: Resource::Nofile, soft: 1024, hard: 1024 }],
        ..Process::default()
    };
    Config {
        oci_version: VERSION.into(),
        process: Some(process),
        root: Some(Root { path: "rootfs".into(), readonly: true }),
        hostname: "runc".into(),
        mounts: mounts(),
        linux: Some(linux()),
        ..Config::default()
    }
}

fn mounts() -> Vec<Mount> {
    let mount = |destination: &str, kind: &str, source: &str, options: &str| Mount {
        destination: destination.into(),
        kind: kind.into(),
        source: source.into(),
        options: words(options),
        ..Mount::default()
    };
    vec![
        mount("/proc", "proc", "proc", ""),
        mount("/dev", "tmpfs", "tmpfs", "nosuid strictatime mode=755 size=65536k"),
        mount("/dev/pts", "devpts", "devpts", "nosuid noexec newinstance ptmxmode=0666 mode=0620 gid=5"),
        mount("/dev/shm", "tmpfs", "shm", "nosuid noexec nodev mode=1777 size=65536k"),
        mount("/dev/mqueue", "mqueue", "mqueue", "nosuid noexec nodev"),
        mount("/sys", "sysfs", "sysfs", "nosuid noexec nodev ro"),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid noexec nodev relatime ro"),
    ]
}

fn linux() -> Linux {
    use NamespaceKind::{Ipc, Mount, Network, Pid, Uts};
    let deny_all = DeviceRule { allow: false, access: "rwm".into(), ..DeviceRule::default() };
    Linux {
        resources: Some(Resources { devices: vec![deny_all], ..Resources::default() }),
        namespaces: [Pid, Network, Ipc, Uts, Mount].map(new).into(),
        masked_paths: words(
            "/proc/acpi /proc/asound /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list \
             /proc/timer_stats /proc/sched_debug /sys/firmware /proc/scsi",
        ),
        readonly_paths: words("/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger"),
        ..Linux::default()
    }
}

/// What an unprivileged user can have: the own id as root, the host's network and /sys, no limits.
fn make_rootless(config: &mut Config, uid: u32, gid: u32) {
    let linux = config.linux.get_or_insert_default();
    linux.namespaces.retain(|namespace| namespace.kind != NamespaceKind::Network);
    linux.namespaces.push(new(NamespaceKind::User));
    linux.uid_mappings = vec![IdMapping { container_id: 0, host_id: uid, size: 1 }];
    linux.gid_mappings = vec![IdMapping { container_id: 0, host_id: gid, size: 1 }];
    linux.resources = None;
    for mount in &mut config.mounts {
        if mount.destination == "/sys" {
            mount.kind = "none".into();
            mount.source = "/sys".into();
            mount.options = words("rbind nosuid noexec nodev ro");
        }
        // No other id is mapped.
        mount.options.retain(|option| !option.starts_with("gid=") && !option.starts_with("uid="));
    }
}

fn new(kind: NamespaceKind) -> Namespace {
    Namespace { kind, path: String::new() }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use conex_spec::runtime::validate;

    #[test]
    fn what_is_written_is_valid() {
        let mut config = example();
        assert_eq!(validate(&config), []);
        make_rootless(&mut config, 1000, 1000);
        assert_eq!(validate(&config), []);
    }

    #[test]
    fn a_file_is_written_once() {
        let bundle = tempfile::tempdir().unwrap();
        let path = bundle.path().to_str().unwrap();
        write(path, None).unwrap();
        let text = std::fs::read_to_string(bundle.path().join("config.json")).unwrap();
        assert!(
            text.starts_with("{\n\t\"ociVersion\": \"1.3.0\",\n\t\"process\": {\n\t\t\"terminal\": true,\n")
        );
        assert!(text.ends_with("\n}"));
        let error = write(path, None).unwrap_err();
        assert_eq!(error.to_string(), "File config.json exists. Remove it first");
    }

    /// The documents that the golden tests of the plan start from.
    #[test]
    fn the_golden_configurations_are_these() {
        let mut config = example();
        assert_eq!(text(&config).unwrap(), golden("default"));
        make_rootless(&mut config, 1000, 1000);
        assert_eq!(text(&config).unwrap(), golden("rootless"));
    }

    fn golden(name: &str) -> String {
        let path = format!("{}/tests/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap_or_default()
    }
}
