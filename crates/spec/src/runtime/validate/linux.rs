// SPDX-License-Identifier: Apache-2.0
//! config-linux.md, and the rules that tie hostname, sysctls and paths to namespaces.

use super::{Report, token};
use crate::runtime::{Config, DeviceKind, Linux, MemoryPolicy, MemoryPolicyMode, NamespaceKind, number_list};

impl Report {
    pub(super) fn linux(&mut self, config: &Config) {
        for (name, value) in [("hostname", &config.hostname), ("domainname", &config.domainname)] {
            if !value.is_empty() && !config.has_namespace(NamespaceKind::Uts) {
                self.add(
                    format!("/{name}"),
                    format!("unable to set {name} without a private UTS namespace: {}", missing("uts")),
                );
            }
        }
        let Some(linux) = &config.linux else { return };
        self.namespaces(linux);
        self.user_namespace(config, linux);
        self.time_namespace(linux);
        self.paths(config, linux);
        self.devices(linux);
        if let Some(rdt) = &linux.intel_rdt {
            self.intel_rdt(rdt);
        }
        if let Some(resources) = &linux.resources {
            self.resources("/linux/resources", resources);
        }
        self.net_devices(config, linux);
        for (key, value) in &linux.sysctl {
            let at = format!("/linux/sysctl/{}", token(key));
            self.no_nul(&at, value);
            if let Some(message) = sysctl_refused(key, config) {
                self.add(at, message);
            }
        }
        if let Some(policy) = &linux.memory_policy {
            self.memory_policy(policy);
        }
        if let Some(seccomp) = &linux.seccomp {
            self.seccomp(seccomp);
        }
        self.no_nul("/linux/cgroupsPath", &linux.cgroups_path);
    }

    /// set_mempolicy(2): which modes are about nodes.
    fn memory_policy(&mut self, policy: &MemoryPolicy) {
        let at = "/linux/memoryPolicy/nodes";
        let without_nodes = [MemoryPolicyMode::MpolDefault, MemoryPolicyMode::MpolLocal];
        match number_list(&policy.nodes) {
            Err(message) => self.add(at, format!("invalid memory policy node: {message}")),
            Ok(nodes) if !nodes.is_empty() && without_nodes.contains(&policy.mode) => {
                self.add(at, format!("mode requires 0 nodes but got {}", nodes.len()));
            }
            Ok(_) => {}
        }
    }

    fn namespaces(&mut self, linux: &Linux) {
        for (index, namespace) in linux.namespaces.iter().enumerate() {
            if linux.namespaces[..index].iter().any(|earlier| earlier.kind == namespace.kind) {
                let message = format!("duplicated ns {:?}: one of them must go", namespace.kind.name());
                self.add(format!("/linux/namespaces/{index}/type"), message);
            }
            if !namespace.path.is_empty() {
                self.absolute(format!("/linux/namespaces/{index}/path"), &namespace.path);
            }
        }
    }

    fn user_namespace(&mut self, config: &Config, linux: &Linux) {
        self.mappings("/linux/uidMappings", &linux.uid_mappings);
        self.mappings("/linux/gidMappings", &linux.gid_mappings);
        let creates = config.creates_namespace(NamespaceKind::User);
        for (name, mappings) in [("uidMappings", &linux.uid_mappings), ("gidMappings", &linux.gid_mappings)] {
            let at = format!("/linux/{name}");
            if creates && mappings.is_empty() {
                self.add(at, "must not be empty, for there is a new user namespace");
            } else if !mappings.is_empty() && !config.has_namespace(NamespaceKind::User) {
                let message = format!(
                    "user namespace mappings specified, but user namespace isn't enabled in the config: {}",
                    missing("user")
                );
                self.add(at, message);
            }
        }
    }

    fn time_namespace(&mut self, linux: &Linux) {
        let namespace = linux.namespaces.iter().find(|namespace| namespace.kind == NamespaceKind::Time);
        for (clock, offset) in &linux.time_offsets {
            let at = format!("/linux/timeOffsets/{}", token(clock));
            if !["monotonic", "boottime"].contains(&clock.as_str()) {
                self.add(at.clone(), "no such clock, there are monotonic and boottime");
            }
            if offset.nanosecs >= 1_000_000_000 {
                self.add(format!("{at}/nanosecs"), "must be less than a second");
            }
            match namespace {
                None => self.add(
                    at,
                    format!(
                        "time namespace offsets specified, but time namespace isn't enabled in the config: {}",
                        missing("time")
                    ),
                ),
                Some(joined) if !joined.path.is_empty() => {
                    self.add(
                        at,
                        "both namespace path and time offsets specified -- you may only provide one",
                    );
                }
                Some(_) => {}
            }
        }
    }

    fn paths(&mut self, config: &Config, linux: &Linux) {
        for (name, paths) in [("maskedPaths", &linux.masked_paths), ("readonlyPaths", &linux.readonly_paths)]
        {
            for (index, path) in paths.iter().enumerate() {
                self.absolute(format!("/linux/{name}/{index}"), path);
            }
            if !paths.is_empty() && !config.has_namespace(NamespaceKind::Mount) {
                let message = format!(
                    "unable to restrict sys entries without a private MNT namespace: {}",
                    missing("mount")
                );
                self.add(format!("/linux/{name}"), message);
            }
        }
    }

    fn devices(&mut self, linux: &Linux) {
        for (index, device) in linux.devices.iter().enumerate() {
            let at = format!("/linux/devices/{index}");
            self.absolute(format!("{at}/path"), &device.path);
            for (name, number, highest) in [("major", device.major, 0xfff), ("minor", device.minor, 0xf_ffff)]
            {
                if device.kind != DeviceKind::Fifo && !(0..=highest).contains(&number) {
                    self.add(format!("{at}/{name}"), format!("must be between 0 and {highest}"));
                }
            }
        }
    }

    fn net_devices(&mut self, config: &Config, linux: &Linux) {
        for (host_name, device) in &linux.net_devices {
            let at = format!("/linux/netDevices/{}", token(host_name));
            if !config.has_namespace(NamespaceKind::Network) {
                let message =
                    format!("unable to move network devices without a NET namespace: {}", missing("network"));
                self.add(&*at, message);
            }
            if !is_interface_name(host_name) {
                self.add(&*at, format!("invalid network device name {host_name:?}: {INTERFACE}"));
            }
            if !device.name.is_empty() && !is_interface_name(&device.name) {
                self.add(
                    format!("{at}/name"),
                    format!("invalid network device name {:?}: {INTERFACE}", device.name),
                );
            }
        }
    }
}

/// How to mend a property that needs a namespace.
fn missing(namespace: &str) -> String {
    format!("add {{\"type\": \"{namespace}\"}} to linux.namespaces, or leave it out")
}

/// What [`is_interface_name`] asks for.
const INTERFACE: &str = "1 to 15 characters, no slash, colon or blank";

/// The kernel's dev_valid_name().
fn is_interface_name(name: &str) -> bool {
    (1..16).contains(&name.len())
        && name != "."
        && name != ".."
        && !name.contains(|c: char| c == '/' || c == ':' || c == '\0' || c.is_ascii_whitespace())
}

/// Only what a namespace of the container's own keeps from the host may be set.
fn sysctl_refused(key: &str, config: &Config) -> Option<String> {
    const IPC: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    let name =
        if key.find('/') < key.find('.') && key.contains('/') { key.replace('/', ".") } else { key.into() };
    if name.split('.').any(|part| part.is_empty() || part == "..") {
        return Some(format!("{key:?} is no name of a sysctl"));
    }
    let has = |kind| config.has_namespace(kind);
    if IPC.contains(&name.as_str()) || name.starts_with("fs.mqueue.") {
        return (!has(NamespaceKind::Ipc)).then(|| {
            format!("sysctl {key:?} is not allowed in the hosts ipc namespace: {}", missing("ipc"))
        });
    }
    if name.starts_with("net.") {
        return (!has(NamespaceKind::Network)).then(|| {
            format!("sysctl {key:?} not allowed in host network namespace: {}", missing("network"))
        });
    }
    if name.starts_with("user.") {
        return (!has(NamespaceKind::User)).then(|| {
            format!("setting ucounts without a user namespace not allowed: {key}: {}", missing("user"))
        });
    }
    match name.as_str() {
        "kernel.domainname" if has(NamespaceKind::Uts) => None,
        "kernel.hostname" if has(NamespaceKind::Uts) => Some(format!(
            "sysctl {key:?} is not allowed as it conflicts with the OCI \"hostname\" field: set that"
        )),
        _ => Some(format!("sysctl {key:?} is not in a separate kernel namespace: set it on the host")),
    }
}
