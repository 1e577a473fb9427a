// SPDX-License-Identifier: Apache-2.0
//! What must be in /dev (config-linux.md, "Default Devices"), and which devices may be opened.

use conex_spec::runtime::{Device, DeviceKind, DeviceRule, Linux, NamespaceKind};

use super::mount_options::Options;
use super::mounts::clean;
use super::{DeviceNode, Draft, Step};

/// Character devices that every container has, with mode 0666.
const DEFAULTS: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/random", 1, 8),
    ("/dev/full", 1, 7),
    ("/dev/tty", 5, 0),
    ("/dev/zero", 1, 5),
    ("/dev/urandom", 1, 9),
];

/// Allowed besides the default devices: ptys, their multiplexer, and tun, which callers have come to rely on.
const ALSO_ALLOWED: [(i64, Option<i64>); 3] = [(136, None), (5, Some(2)), (10, Some(200))];

impl Draft<'_> {
    /// Nodes and links, unless the container brings a whole /dev along.
    pub(super) fn devices(&mut self) {
        if !self.makes_dev() {
            return;
        }
        let bind = self.host.in_user_namespace || self.config.has_namespace(NamespaceKind::User);
        for (path, major, minor) in default_devices(self.linux()) {
            let node = DeviceNode {
                path: path.into(),
                kind: DeviceKind::Char,
                major,
                minor,
                mode: 0o666,
                uid: 0,
                gid: 0,
                bind,
                default: true,
            };
            self.steps.push(Step::Device(node));
        }
        // `LinkPtmx` gives the only one that makes sense.
        let own = self.linux().devices.iter().filter(|device| clean(&device.path) != "/dev/ptmx");
        let own: Vec<_> = own.map(|device| node(device, bind)).collect();
        self.steps.extend(own.into_iter().map(Step::Device));
        self.steps.push(Step::LinkPtmx);
        let mut links = vec![
            ("/dev/fd", "/proc/self/fd"),
            ("/dev/stdin", "/proc/self/fd/0"),
            ("/dev/stdout", "/proc/self/fd/1"),
            ("/dev/stderr", "/proc/self/fd/2"),
        ];
        if self.host.kcore {
            links.push(("/dev/core", "/proc/kcore"));
        }
        self.steps.extend(
            links
                .into_iter()
                .map(|(path, target)| Step::Symlink { path: path.into(), target: target.into() }),
        );
    }

    pub(super) fn makes_dev(&self) -> bool {
        !self
            .config
            .mounts
            .iter()
            .any(|mount| clean(&mount.destination) == "/dev" && Options::parse(&mount.options).bind)
    }
}

/// A device of the configuration takes the place of a default one of the same path.
fn default_devices(linux: &Linux) -> Vec<(&'static str, u32, u32)> {
    DEFAULTS.into_iter().filter(|(path, ..)| !linux.devices.iter().any(|own| own.path == *path)).collect()
}

/// The configuration's rules, then those that every container has. What no rule names is denied.
pub fn device_rules(linux: &Linux) -> Vec<DeviceRule> {
    let own = linux.resources.iter().flat_map(|resources| &resources.devices).cloned();
    let allow = |kind: &str, major, minor, access: &str| DeviceRule {
        allow: true,
        kind: kind.into(),
        major,
        minor,
        access: access.into(),
    };
    let mut rules: Vec<_> = own.collect();
    rules.extend(["c", "b"].map(|kind| allow(kind, None, None, "m")));
    rules.extend(
        default_devices(linux)
            .into_iter()
            .map(|(_, major, minor)| allow("c", Some(major.into()), Some(minor.into()), "rwm")),
    );
    rules.extend(ALSO_ALLOWED.map(|(major, minor)| allow("c", Some(major), minor, "rwm")));
    rules
}

fn node(device: &Device, bind: bool) -> DeviceNode {
    DeviceNode {
        path: clean(&device.path),
        kind: device.kind,
        major: u32::try_from(device.major).unwrap_or_default(),
        minor: u32::try_from(device.minor).unwrap_or_default(),
        mode: device.file_mode.unwrap_or(0o666) & 0o7777,
        uid: device.uid.unwrap_or_default(),
        gid: device.gid.unwrap_or_default(),
        bind: bind && device.kind != DeviceKind::Fifo,
        default: false,
    }
}
