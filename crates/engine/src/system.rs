// SPDX-License-Identifier: Apache-2.0
//! What this host offers, and what conex does where something is missing.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde::Serialize;

use crate::{Engine, userns};

/// From now on, what this process holds is in no core dump, and no other process of the user's reads it. For verbs that
/// handle passwords and private keys and need no user namespace, which such a process cannot make.
pub fn keep_secrets() -> crate::Result<()> {
    Ok(conex_sys::process::set_undumpable()?)
}

/// `conex system info`
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Info {
    /// Of this program.
    pub version: String,
    /// `uname -r`
    pub kernel: String,
    /// `x86_64`, …
    pub architecture: String,
    /// Whether an ordinary user asks.
    pub rootless: bool,
    /// Where images and containers are.
    pub store: String,
    /// Where the runtime keeps its state.
    pub run_root: String,
    /// How layers become a root filesystem.
    pub driver: &'static str,
    /// `v2`, `v1`, `hybrid`, `none`.
    pub cgroups: &'static str,
    /// The program that runs containers.
    pub runtime: String,
    /// The first line of its `--version`.
    pub runtime_version: String,
    /// One row for each thing the kernel may lack.
    pub features: Vec<Feature>,
}

/// Something that kernels have or have not.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Feature {
    /// `overlay lowerdir+`
    pub name: &'static str,
    /// Since which Linux.
    pub since: &'static str,
    /// Whether it is here.
    pub available: bool,
    /// What is done without it.
    pub fallback: &'static str,
}

/// The effective user id, for those who may not ask the kernel themselves.
pub fn effective_user() -> u32 {
    conex_sys::credentials::effective_user()
}

/// The effective group id.
pub fn effective_group() -> u32 {
    conex_sys::credentials::effective_group()
}

/// Looks at the host.
pub fn info(engine: &Engine, version: &str, rootless: bool) -> Info {
    let kernel = read("/proc/sys/kernel/osrelease");
    let runtime = engine.runtime();
    let answer = runtime.output(runtime.command(&["--version"]).stderr(Stdio::null()));
    let words = answer.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let first_line = |text: String| text.lines().next().unwrap_or_default().to_owned();
    Info {
        version: version.to_owned(),
        features: features(&kernel),
        kernel,
        architecture: std::env::consts::ARCH.to_owned(),
        rootless,
        store: engine.settings.root.display().to_string(),
        run_root: engine.settings.run_root.display().to_string(),
        driver: "overlay",
        cgroups: cgroups(),
        runtime: runtime.program.display().to_string(),
        runtime_version: words.map_or_else(|error| error.to_string(), first_line),
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn cgroups() -> &'static str {
    let has = |path: &str| Path::new("/sys/fs/cgroup").join(path).exists();
    match (has("cgroup.controllers"), has("unified/cgroup.controllers"), has("memory") || has("pids")) {
        (true, ..) => "v2",
        (_, true, _) => "hybrid",
        (.., true) => "v1",
        _ => "none",
    }
}

/// docs/kernel-features.md as far as a person may ask. What can be looked at is; system calls are told by the
/// kernel's version.
fn features(kernel: &str) -> Vec<Feature> {
    let at_least = |major, minor| version(kernel) >= (major, minor);
    let row = |name, since, available, fallback| Feature { name, since, available, fallback };
    let overlay = read("/proc/filesystems")
        .lines()
        .any(|line| line.trim() == "nodev\toverlay" || line.ends_with("\toverlay"));
    let user_namespaces =
        read("/proc/sys/user/max_user_namespaces") != "0" && Path::new("/proc/self/ns/user").exists();
    vec![
        row("user namespaces", "3.8", user_namespaces || !userns::is_initial(), "none for ordinary users"),
        row("seccomp filters", "3.17", Path::new("/proc/sys/kernel/seccomp").exists(), "none"),
        row("overlayfs", "3.18", overlay, "none: load the module overlay"),
        row("cgroup v2", "4.5", ["v2", "hybrid"].contains(&cgroups()), "cgroup v1 controllers"),
        row("fsopen, open_tree, move_mount", "5.2", at_least(5, 2), "none"),
        row(
            "openat2, RESOLVE_IN_ROOT",
            "5.6",
            at_least(5, 6),
            "each component is opened and checked by itself",
        ),
        row("clone3 into a cgroup", "5.7", at_least(5, 7), "the process is moved before it goes on"),
        row("overlayfs in a user namespace", "5.11", at_least(5, 11), "none for ordinary users"),
        row("close_range with CLOEXEC", "5.11", at_least(5, 11), "one by one through /proc/self/fd"),
        row("mount_setattr", "5.12", at_least(5, 12), "none: bind mounts with flags fail"),
        row("cgroup.kill", "5.14", at_least(5, 14), "freeze, then a signal for each process"),
        row("overlayfs lowerdir+", "6.5", at_least(6, 5), "one lowerdir option, limited in length"),
    ]
}

fn version(kernel: &str) -> (u32, u32) {
    let mut numbers = kernel.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_versions_compare_as_numbers() {
        assert!(version("6.18.5-cloud-amd64") > version("6.9.0"));
        assert_eq!(version("nonsense"), (0, 0));
    }
}
