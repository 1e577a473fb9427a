// SPDX-License-Identifier: Apache-2.0
//! What cgroup hierarchies this host has mounted, and where the caller is in each.

use std::collections::BTreeMap;

use conex_sys::mount;
use conex_sys::mountinfo::{self, Mount};

use crate::{Result, Wrap};

/// Where a host without v1 has v2.
const USUAL: &str = "/sys/fs/cgroup";

/// The hierarchies in use for containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    pub version: Version,
    /// v2: exactly one. v1 and hybrid: one per mount, in mount order. Empty where nothing is mounted.
    pub hierarchies: Vec<Hierarchy>,
}

/// Which interface the controllers have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    #[default]
    V2,
    /// Also the hybrid, where v2 is mounted without controllers beside v1.
    V1,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hierarchy {
    /// `cpu`, `cpuacct`, `name=systemd`, …; empty for v2.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub mount_point: String,
    /// What part of the hierarchy is mounted there: `/` outside of a container.
    pub mount_root: String,
    /// Where the caller is, within the hierarchy.
    pub own_path: String,
}

impl Hierarchy {
    /// Where the caller is, below the mount point; empty at the top.
    pub fn own_directory(&self) -> String {
        let root = self.mount_root.trim_end_matches('/');
        let below = self.own_path.strip_prefix(root).unwrap_or(&self.own_path);
        below.trim_end_matches('/').into()
    }
}

impl Layout {
    /// Reads /proc/self/cgroup and, unless v2 is where it is looked for, /proc/self/mountinfo.
    pub fn detect() -> Result<Self> {
        Self::read("/proc/self/cgroup")
    }

    /// The same hierarchies, with the places of another process as the own ones.
    pub fn of_process(pid: i32) -> Result<Self> {
        Self::read(&format!("/proc/{pid}/cgroup"))
    }

    fn read(places: &str) -> Result<Self> {
        let read = |path: &str| conex_sys::file::read_text(path.as_ref()).wrap(|| format!("read {path}"));
        let own = read(places)?;
        // The mounts of a host are many, and the kernel writes a line about each: 20 µs for twenty.
        if mount::is_whole_cgroup2(USUAL.as_ref())
            && let Some(layout) = Self::pure(&own)
        {
            return Ok(layout);
        }
        Ok(Self::parse(&read("/proc/self/mountinfo")?, &own))
    }

    /// v2 alone, all of it in the usual place; `None` for a caller that is not below the root of its cgroup namespace.
    fn pure(own: &str) -> Option<Self> {
        let own_path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
        if own_path.starts_with("/..") {
            return None;
        }
        let hierarchy = Hierarchy {
            controllers: Vec::new(),
            mount_point: USUAL.into(),
            mount_root: "/".into(),
            own_path: own_path.into(),
        };
        Some(Self { version: Version::V2, hierarchies: vec![hierarchy] })
    }

    /// Whether the caller is in this directory of a hierarchy or below it, so that it is there.
    pub fn has_caller_in(&self, directory: &str) -> bool {
        self.hierarchies.iter().any(|hierarchy| {
            let root = hierarchy.mount_root.trim_end_matches('/');
            // From inside a cgroup namespace places outside of it begin with `..`, and are not mounted.
            let is_mounted = hierarchy.own_path.strip_prefix(root).is_some_and(|below| {
                (below.is_empty() || below.starts_with('/')) && !below.starts_with("/..")
            });
            let own = format!("{}{}", hierarchy.mount_point, hierarchy.own_directory());
            let rest = own.strip_prefix(directory);
            is_mounted && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// Absolute directories by controller, as [`super::Cgroup::open`] takes them.
    pub fn own_directories(&self) -> BTreeMap<String, String> {
        let mut directories = BTreeMap::new();
        for hierarchy in &self.hierarchies {
            let directory = format!("{}{}", hierarchy.mount_point, hierarchy.own_directory());
            if hierarchy.controllers.is_empty() {
                directories.insert(String::new(), directory);
            } else {
                directories
                    .extend(hierarchy.controllers.iter().map(|name| (name.clone(), directory.clone())));
            }
        }
        directories
    }

    /// Of several mounts of one hierarchy the first counts.
    fn parse(mounts: &str, own: &str) -> Self {
        let mut hierarchies: Vec<Hierarchy> = Vec::new();
        for hierarchy in mountinfo::parse(mounts).filter_map(|mount| mounted(mount, own)) {
            if !hierarchies.iter().any(|earlier| earlier.controllers == hierarchy.controllers) {
                hierarchies.push(hierarchy);
            }
        }
        let has_v1 = hierarchies.iter().any(|hierarchy| !hierarchy.controllers.is_empty());
        Self { version: if has_v1 { Version::V1 } else { Version::V2 }, hierarchies }
    }
}

/// A mount, if it is a cgroup mount.
fn mounted(mount: Mount<'_>, own: &str) -> Option<Hierarchy> {
    let (controllers, own_path) = match mount.kind {
        "cgroup2" => (Vec::new(), own.lines().find_map(|line| line.strip_prefix("0::"))?),
        "cgroup" => own.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (names, path) = rest.split_once(':')?;
            let all_there = names.split(',').all(|name| mount.filesystem_options.contains(&name));
            (!names.is_empty() && all_there).then(|| (names.split(',').map(String::from).collect(), path))
        })?,
        _ => return None,
    };
    Some(Hierarchy {
        controllers,
        mount_point: mount.point,
        mount_root: mount.root,
        own_path: own_path.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_v2() {
        let mountinfo = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n\
                         31 23 0:27 / /tmp rw - tmpfs tmpfs rw\n";
        let layout = Layout::parse(mountinfo, "0::/user.slice/a.scope\n");
        assert_eq!(layout.version, Version::V2);
        assert_eq!(layout.hierarchies.len(), 1);
        assert_eq!(layout.hierarchies[0].own_directory(), "/user.slice/a.scope");
        assert_eq!(Layout::pure("0::/user.slice/a.scope\n"), Some(layout));
        assert_eq!(Layout::pure("0::/../a.scope\n"), None);
    }

    #[test]
    fn hybrid_with_joined_controllers_seen_from_inside_a_container() {
        let mountinfo = "\
32 31 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 /docker/abc /sys/fs/cgroup/systemd ro - cgroup cgroup rw,xattr,name=systemd
34 31 0:30 /docker/abc /mnt/again ro - cgroup cgroup rw,xattr,name=systemd
35 31 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";
        let own = "4:cpu,cpuacct:/docker/abc/build\n1:name=systemd:/docker/abc\n0::/x\n";
        let layout = Layout::parse(mountinfo, own);
        assert_eq!(layout.version, Version::V1);
        let seen: Vec<_> = layout
            .hierarchies
            .iter()
            .map(|hierarchy| (hierarchy.controllers.join(","), hierarchy.own_directory()))
            .collect();
        let expected = [("cpu,cpuacct", "/build"), ("name=systemd", ""), ("", "/x")];
        assert_eq!(seen, expected.map(|(controllers, own)| (controllers.into(), own.into())));
    }

    #[test]
    fn nothing_mounted() {
        assert_eq!(Layout::parse("", "0::/\n"), Layout::default());
    }
}
