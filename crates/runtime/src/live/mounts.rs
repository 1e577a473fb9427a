// SPDX-License-Identifier: Apache-2.0
//! The mounts: what is at each destination now, from `/proc/PID/mountinfo`.
//!
//! A destination may be a symbolic link, and several mounts may lie on one place; so the path is resolved inside the
//! container's root, and the kernel asked which mount that is.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use conex_sys::mountinfo::{self, Mount};
use conex_sys::path::Root;

use super::{Fact, Facts};
use crate::{Result, Wrap};

/// What the options of a mount say of the mount, not of the file system.
const FLAGS: [&str; 5] = ["ro", "nosuid", "nodev", "noexec", "nosymfollow"];

/// The container's tree, held by its root.
struct Tree<'a> {
    root: Root,
    mounts: BTreeMap<u64, Mount<'a>>,
}

impl<'a> Tree<'a> {
    /// The mount that `path` is on; `None` where there is nothing.
    fn at(&self, path: &str) -> Option<&Mount<'a>> {
        let place = self.root.resolve(path).ok()?;
        self.mounts.get(&mount_id(&place)?)
    }

    /// The same, if `path` is where it is mounted and not just a place on it.
    fn mounted_at(&self, path: &str) -> Option<&Mount<'a>> {
        let line = self.at(path)?;
        let above = Path::new(path).parent().and_then(Path::to_str)?;
        (self.at(above) != Some(line)).then_some(line)
    }
}

fn mount_id(place: &OwnedFd) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "the host's procfs")]
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", place.as_raw_fd())).ok()?;
    text.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

impl Facts<'_> {
    pub(super) fn mounts(&mut self) -> Result<()> {
        let root = Root::open_host(Path::new(&format!("/proc/{}/root", self.pid)))
            .wrap(|| "open the container's root")?;
        let text = self.read("mountinfo")?;
        let tree = Tree { root, mounts: mountinfo::parse(&text).map(|mount| (mount.id, mount)).collect() };
        let readonly = self.config.root.as_ref().is_some_and(|root| root.readonly);
        if let Some(root) = tree.at("/") {
            self.add("/root/readonly", readonly, root.options.contains(&"ro"));
        }
        for index in 0..self.config.mounts.len() {
            self.mount(index, &tree);
        }
        self.restricted(&tree);
        Ok(())
    }

    fn mount(&mut self, index: usize, tree: &Tree) {
        let mount = &self.config.mounts[index];
        let has = |word: &str| mount.options.iter().any(|option| option == word);
        // A bind has the type of what it binds, and cgroup stands for either version.
        let any_kind = has("bind") || has("rbind") || ["bind", "cgroup", ""].contains(&mount.kind.as_str());
        let flags: Vec<&str> =
            FLAGS.into_iter().filter(|flag| has(flag) || has(&format!("r{flag}"))).collect();
        let found = tree.mounted_at(&mount.destination);
        let agrees = found.is_some_and(|found| {
            (any_kind || found.kind == mount.kind) && flags.iter().all(|flag| found.options.contains(flag))
        });
        let show = |kind: &str, flags: &[&str]| {
            [&*format!("{}: {kind}", mount.destination)]
                .iter()
                .chain(flags)
                .copied()
                .collect::<Vec<_>>()
                .join(" ")
        };
        let actual = match found {
            None => format!("{}: nothing is mounted there", mount.destination),
            Some(found) => {
                let has: Vec<&str> = FLAGS.into_iter().filter(|flag| found.options.contains(flag)).collect();
                show(found.kind, &has)
            }
        };
        let kind = if has("bind") || has("rbind") || mount.kind.is_empty() { "bind" } else { &mount.kind };
        let asked = show(kind, &flags);
        self.facts.push(Fact { pointer: format!("/mounts/{index}"), asked, actual, agrees });
    }

    /// Masked paths have a mount of their own; read-only ones are on a read-only mount. Or they do not exist.
    fn restricted(&mut self, tree: &Tree) {
        let Some(linux) = &self.config.linux else { return };
        let lists =
            [("maskedPaths", "masked", &linux.masked_paths), ("readonlyPaths", "ro", &linux.readonly_paths)];
        for (name, word, paths) in lists {
            for (index, path) in paths.iter().enumerate() {
                let holds = match (name, tree.at(path)) {
                    (_, None) => continue,
                    ("maskedPaths", Some(_)) => tree.mounted_at(path).is_some(),
                    (_, Some(line)) => line.options.contains(&"ro"),
                };
                let actual = if holds { word } else { "open" };
                self.add(
                    format!("/linux/{name}/{index}"),
                    format!("{path}: {word}"),
                    format!("{path}: {actual}"),
                );
            }
        }
    }
}
