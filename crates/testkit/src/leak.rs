// SPDX-License-Identifier: Apache-2.0
//! What a test has left behind: mounts, cgroups, processes, interfaces, runtime state. Everything of a sandbox
//! carries its tag in a name, a path or an environment, so tests that run side by side do not see each other.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::run::poll;
use crate::sandbox::PREFIX;

/// Everything that is left of a sandbox, in words; waits a little for what is just going away.
pub fn left_behind(tag: &str, sandbox: &Path) -> Vec<String> {
    let mut left = Vec::new();
    poll(Duration::from_secs(5), || {
        left = [mounts(tag), cgroups(tag), processes(tag), state(&sandbox.join("run"))].concat();
        left.is_empty().then_some(())
    });
    left
}

/// What a whole run of tests could leave on the host, with or without a tag.
#[derive(Debug)]
pub struct Traces(BTreeSet<String>);

impl Traces {
    /// Mounts, cgroups and interfaces of the host, and processes of the programs under test.
    pub fn of_host() -> Self {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mounts =
            table.lines().filter_map(|line| line.split(' ').nth(4)).map(|point| format!("mount {point}"));
        let links = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
        let links = links.map(|entry| format!("interface {}", entry.file_name().to_string_lossy()));
        let mut traces: BTreeSet<String> = mounts.chain(links).collect();
        traces.extend(cgroups("/sys/fs/cgroup/")); // every one has that in its path
        traces.extend(own_processes());
        Self(traces)
    }

    /// What is there now and was not there then; waits a little for what is just going away.
    pub fn new_since(&self) -> Vec<String> {
        let mut left = Vec::new();
        poll(Duration::from_secs(10), || {
            left = Self::of_host().0.difference(&self.0).cloned().collect();
            left.is_empty().then_some(())
        });
        left
    }
}

/// Processes that run one of the programs under test.
fn own_processes() -> Vec<String> {
    let names = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    let ours = names.filter_map(|proc| {
        let program = fs::read_link(proc.join("exe")).ok()?;
        let name = program.file_name()?.to_string_lossy().into_owned();
        let known = ["conex", "conex-runtime"].iter().any(|own| name.trim_end_matches(" (deleted)") == *own);
        known.then(|| format!("process {} {}", proc.file_name().unwrap_or_default().to_string_lossy(), name))
    });
    ours.collect()
}

/// Kills, unmounts and removes what carries the tag, so that one failing test does not fail the next.
pub fn clean_up(tag: &str, sandbox: &Path) {
    for (pid, _) in tagged_processes(tag) {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
    poll(Duration::from_secs(5), || tagged_processes(tag).is_empty().then_some(()));
    for mount in mount_points(tag).iter().rev() {
        let _ = std::process::Command::new("umount").args(["--lazy", mount]).status();
    }
    remove_cgroups(tag);
    let _ = fs::remove_dir_all(sandbox);
}

/// Removes the cgroups that a peer leaves behind by custom: the empty parent it was told to use.
pub fn remove_cgroups(tag: &str) {
    for cgroup in tagged_cgroups(tag).iter().rev() {
        let _ = fs::remove_dir(cgroup);
    }
}

fn mounts(tag: &str) -> Vec<String> {
    mount_points(tag).into_iter().map(|point| format!("mount {point}")).collect()
}

fn mount_points(tag: &str) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let tagged = table.lines().filter(|line| line.contains(tag));
    tagged.filter_map(|line| line.split(' ').nth(4)).map(str::to_owned).collect()
}

fn cgroups(tag: &str) -> Vec<String> {
    tagged_cgroups(tag).iter().map(|path| format!("cgroup {}", path.display())).collect()
}

/// Parents before children.
fn tagged_cgroups(tag: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = open.pop() {
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            if entry.path().to_string_lossy().contains(tag) {
                found.push(entry.path());
            }
            open.push(entry.path());
        }
    }
    found.sort();
    found
}

fn processes(tag: &str) -> Vec<String> {
    tagged_processes(tag).into_iter().map(|(pid, words)| format!("process {pid:?}: {words}")).collect()
}

/// Processes whose words, environment, directories or mounts carry the tag; never our own threads or parents.
fn tagged_processes(tag: &str) -> Vec<(Pid, String)> {
    let own_mounts = fs::read_link("/proc/self/ns/mnt").ok();
    let own = std::process::id().to_string();
    let numeric = |name: &str| name.parse::<i32>().ok().and_then(Pid::from_raw);
    let names = fs::read_dir("/proc").into_iter().flatten().flatten();
    names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| *name != own)
        .filter_map(|name| Some((numeric(&name)?, PathBuf::from("/proc").join(&name))))
        .filter(|(_, proc)| is_tagged(proc, tag, own_mounts.as_deref()))
        .map(|(pid, proc)| {
            let words = fs::read(proc.join("cmdline")).unwrap_or_default();
            (pid, String::from_utf8_lossy(&words).replace('\0', " "))
        })
        .collect()
}

fn is_tagged(proc: &Path, tag: &str, own_mounts: Option<&Path>) -> bool {
    let zombie = fs::read_to_string(proc.join("stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')));
    if zombie {
        return false;
    }
    let has =
        |name, word: &str| fs::read(proc.join(name)).is_ok_and(|bytes| contains(&bytes, word.as_bytes()));
    let in_bytes = |name| has(name, tag);
    let in_link = |name| fs::read_link(proc.join(name)).is_ok_and(|to| to.to_string_lossy().contains(tag));
    let elsewhere = fs::read_link(proc.join("ns/mnt")).is_ok_and(|ns| Some(ns.as_path()) != own_mounts);
    in_bytes("cmdline")
        || in_bytes("environ")
        || in_link("cwd")
        || in_link("root")
        || in_bytes("cgroup")
        // A new mount namespace begins with copies of all mounts of the host, those of other tests among them.
        || (elsewhere && in_bytes("mountinfo") && !has("environ", PREFIX))
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// Containers that a runtime or the engine still keeps state of: `run/<runtime>/<id>`.
fn state(run: &Path) -> Vec<String> {
    let children = |path: &Path| -> Vec<PathBuf> {
        fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let states = children(run).into_iter().flat_map(|runtime| children(&runtime));
    states.filter(|path| path.is_dir()).map(|path| format!("state {}", path.display())).collect()
}
