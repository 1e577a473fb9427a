// SPDX-License-Identifier: Apache-2.0
//! Runtime bundles: `config.json` beside a `rootfs/` of busybox, as a JSON value that a test may bend.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::busybox;
use crate::require::Requirement;

/// A bundle directory.
#[derive(Clone, Debug)]
pub struct Bundle {
    pub path: PathBuf,
    pub config: Value,
}

impl Bundle {
    /// With a busybox rootfs and a small configuration that runs `words`.
    pub fn create(path: &Path, words: &[&str]) -> Requirement<Self> {
        busybox::rootfs(&path.join("rootfs"))?;
        let bundle = Self { path: path.to_owned(), config: config(words) };
        bundle.write();
        Ok(bundle)
    }

    /// Changes the configuration and writes it.
    pub fn change(&mut self, change: impl FnOnce(&mut Value)) -> &mut Self {
        change(&mut self.config);
        self.write();
        self
    }

    /// Writes `config.json`.
    pub fn write(&self) {
        let bytes = serde_json::to_vec_pretty(&self.config).expect("a JSON value can be written");
        fs::write(self.path.join("config.json"), bytes).expect("write config.json");
    }
}

/// Five namespaces, the usual mounts, no capabilities but three, no seccomp: what `runc spec` writes, in short.
pub fn config(words: &[&str]) -> Value {
    let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let mount = |destination: &str, kind: &str, options: &str| {
        json!({ "destination": destination, "type": kind, "source": kind,
                "options": options.split(',').collect::<Vec<_>>() })
    };
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": words,
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"],
            "cwd": "/",
            "capabilities": { "bounding": caps, "effective": caps, "permitted": caps },
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": false },
        "hostname": "conex",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            mount("/dev", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
            mount("/dev/pts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620"),
            mount("/dev/shm", "tmpfs", "nosuid,noexec,nodev,mode=1777,size=65536k"),
            mount("/dev/mqueue", "mqueue", "nosuid,noexec,nodev"),
            mount("/sys", "sysfs", "nosuid,noexec,nodev,ro"),
        ],
        "linux": {
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" }
            ],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/sysrq-trigger"],
            "readonlyPaths": ["/proc/bus", "/proc/sys"],
        },
    })
}
