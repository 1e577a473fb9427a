// SPDX-License-Identifier: Apache-2.0
//! One entry of `mounts` becomes one mount, or for cgroup v1 a small tree of them.

use std::path::Path;

use conex_spec::runtime::{self as spec, NamespaceKind};

use super::mount_options::{self, NODEV, NOEXEC, NOSUID, NOSYMFOLLOW, Options, RDONLY};
use super::{
    BeforeClone, Draft, IdMap, IdMapSource, Mount, MountAttr, MountSource, OpenSource, Question, Step,
    TargetRule,
};
use crate::cgroup::{CgroupPlan, Version};

/// Below /proc only what lxcfs emulates may be covered; anything else could feign the kernel's answers.
const MOUNTABLE_BELOW_PROC: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

impl Draft<'_> {
    /// `at` is where the configuration has it.
    pub(super) fn mount(&mut self, at: &str, mount: &spec::Mount, cgroup: &CgroupPlan) {
        let options = Options::parse(&mount.options);
        let target = self.inside(&mount.destination);
        if let Err(what) = check_target(mount, &target, &options) {
            self.fail(format!("{at}/destination"), what);
        }
        if mount.kind == "cgroup" && !options.bind {
            if self.running {
                self.fail(format!("{at}/type"), "cgroup is only mounted when a container is made: bind it");
            }
            self.mount_cgroup(&target, &options, cgroup);
            return;
        }
        let planned = if options.bind {
            self.bind(at, mount, target, options)
        } else {
            self.filesystem(mount, target, options)
        };
        let path = planned.target.clone();
        self.steps.push(Step::Mount(planned));
        let label = &self.linux().mount_label;
        // The queues' file system is as old as its namespace: too late for an option.
        if mount.kind == "mqueue" && !label.is_empty() {
            let label = label.clone();
            self.steps.push(Step::LabelMount { path, label });
        }
    }

    /// A path in the container. Some callers name it as it is on the host, behind the root filesystem's own.
    fn inside(&self, destination: &str) -> String {
        let (target, root) = (clean(destination), clean(&self.rootfs()));
        match target.strip_prefix(&root) {
            Some(inside) if inside.starts_with('/') => inside.to_owned(),
            _ => target,
        }
    }

    fn filesystem(&self, mount: &spec::Mount, target: String, options: Options) -> Mount {
        let real = matches!(mount.kind.as_str(), "proc" | "sysfs");
        let mut data = options.data;
        let mut attr = MountAttr { set: options.attr.set, clear: 0 };
        if is_made_readonly_later(&mount.kind, &target) {
            attr.set &= !RDONLY;
        } else if attr.set & RDONLY != 0 {
            data.push(("ro".into(), None));
        }
        let label = &self.linux().mount_label;
        if !label.is_empty() && !real && mount.kind != "mqueue" {
            data.push(("context".into(), Some(label.clone())));
        }
        let name = if mount.source.is_empty() { mount.kind.clone() } else { mount.source.clone() };
        Mount {
            source: MountSource::Filesystem { kind: mount.kind.clone(), name, options: data },
            target,
            target_rule: if real { TargetRule::RealDirectory } else { TargetRule::Directory },
            attr: if options.remount { options.attr } else { attr },
            reset: 0,
            keeps_locks: false,
            recursive_attr: options.recursive_attr,
            propagation: options.propagation,
            copy_up: options.copy_up && mount.kind == "tmpfs",
            remount: options.remount,
        }
    }

    fn bind(&mut self, at: &str, mount: &spec::Mount, target: String, options: Options) -> Mount {
        let path = self.on_host(&mount.source);
        let idmap = self.idmap(at, mount, &options);
        let recursive = options.recursive_bind;
        let keeps_locks = self.loses_privilege();
        let source = if idmap.is_some() || keeps_locks || self.running {
            self.open(OpenSource { source: path, recursive, idmap })
        } else {
            MountSource::Bind { path, recursive }
        };
        Mount {
            source,
            target,
            target_rule: TargetRule::LikeSource,
            attr: options.attr,
            reset: if keeps_locks { reset(options.attr) & NOSYMFOLLOW } else { reset(options.attr) },
            keeps_locks,
            recursive_attr: options.recursive_attr,
            propagation: options.propagation,
            copy_up: false,
            remount: false,
        }
    }

    /// Has the parent open it: before the clone, or where it will only be then, when its turn comes.
    fn open(&mut self, wanted: OpenSource) -> MountSource {
        let path = wanted.source.clone();
        if !self.running && Path::new(&clean(&path)).starts_with(clean(&self.rootfs())) {
            self.steps.push(Step::Ask(Question::OpenSource(wanted)));
            return MountSource::Answered { path };
        }
        let index = self.before_clone.len();
        self.before_clone.push(BeforeClone::OpenSource(wanted));
        MountSource::Opened { index, path }
    }

    fn idmap(&mut self, at: &str, mount: &spec::Mount, options: &Options) -> Option<IdMap> {
        if !options.idmap && mount.uid_mappings.is_empty() {
            return None;
        }
        if self.host.euid != 0 {
            self.fail(at, "id-mapped mounts are not supported for rootless containers");
        }
        let mapping = match self.config.namespace(NamespaceKind::User) {
            _ if !mount.uid_mappings.is_empty() => {
                IdMapSource::Maps { uid: mount.uid_mappings.clone(), gid: mount.gid_mappings.clone() }
            }
            Some(joined) if !joined.path.is_empty() => IdMapSource::Namespace { path: joined.path.clone() },
            _ => {
                let linux = self.linux();
                if linux.uid_mappings.is_empty() {
                    let what =
                        "idmap needs uidMappings and gidMappings, or a user namespace to take them from";
                    self.fail(at, what);
                }
                IdMapSource::Maps { uid: linux.uid_mappings.clone(), gid: linux.gid_mappings.clone() }
            }
        };
        Some(IdMap { mapping, recursive: options.recursive_idmap })
    }

    /// What the container sees below /sys/fs/cgroup.
    fn mount_cgroup(&mut self, target: &str, options: &Options, cgroup: &CgroupPlan) {
        match self.host.cgroup.version {
            Version::V2 => self.mount_cgroup2(target, options, cgroup),
            Version::V1 => self.mount_cgroup1(target, options, cgroup),
        }
    }

    fn mount_cgroup2(&mut self, target: &str, options: &Options, cgroup: &CgroupPlan) {
        let hierarchy = self.host.cgroup.hierarchies.first();
        let everything = hierarchy.map_or("/sys/fs/cgroup", |hierarchy| &hierarchy.mount_point);
        let own = cgroup.directories.get("").map_or(everything, String::as_str);
        let fallback = if self.config.has_namespace(NamespaceKind::Cgroup) { own } else { everything };
        self.steps.push(Step::Mount(Mount {
            source: MountSource::Cgroup2 {
                options: options.data.clone(),
                fallback: fallback.into(),
                mask_if_missing: self.host.rootless,
            },
            target: target.into(),
            target_rule: TargetRule::Directory,
            attr: MountAttr { set: options.attr.set, clear: 0 },
            reset: 0,
            keeps_locks: false,
            recursive_attr: options.recursive_attr,
            propagation: options.propagation.clone(),
            copy_up: false,
            remount: false,
        }));
    }

    /// A tmpfs with one directory per hierarchy: a mount of its own in a cgroup namespace, else a bind of the
    /// container's directory, which is the caller's where cgroups are disabled. Hierarchies of several controllers get
    /// a link for each.
    fn mount_cgroup1(&mut self, target: &str, options: &Options, cgroup: &CgroupPlan) {
        let base = NOSUID | NODEV | NOEXEC;
        let readonly = options.attr.set & RDONLY;
        let mount = |source, target: String, target_rule, set| {
            Step::Mount(Mount {
                source,
                target,
                target_rule,
                attr: MountAttr { set, clear: 0 },
                reset: 0,
                keeps_locks: false,
                recursive_attr: MountAttr::default(),
                propagation: options.propagation.clone(),
                copy_up: false,
                remount: false,
            })
        };
        let filesystem = |kind: &str, name: &str, words: &str| MountSource::Filesystem {
            kind: kind.into(),
            name: name.into(),
            options: words
                .split(',')
                .map(|word| match word.split_once('=') {
                    Some((key, value)) => (key.into(), Some(value.into())),
                    None => (word.into(), None),
                })
                .collect(),
        };
        let tmpfs = filesystem("tmpfs", "tmpfs", "mode=755");
        self.steps.push(mount(tmpfs, target.into(), TargetRule::Directory, base));
        let own_namespace = self.config.has_namespace(NamespaceKind::Cgroup);
        for hierarchy in
            self.host.cgroup.hierarchies.iter().filter(|hierarchy| !hierarchy.controllers.is_empty())
        {
            let name = hierarchy.mount_point.rsplit('/').next().unwrap_or_default();
            let place = format!("{target}/{name}");
            let source = if own_namespace {
                let name = if hierarchy.controllers[0] == "name=systemd" { "systemd" } else { "cgroup" };
                filesystem("cgroup", name, &hierarchy.controllers.join(","))
            } else {
                let fallback = format!("{}{}", hierarchy.mount_point, hierarchy.own_directory());
                let path = cgroup.directories.get(&hierarchy.controllers[0]).unwrap_or(&fallback).clone();
                MountSource::CgroupBind { path, fallback }
            };
            self.steps.push(mount(source, place, TargetRule::Directory, base | readonly));
            for controller in hierarchy.controllers.iter().filter(|controller| *controller != name) {
                if !controller.starts_with("name=") {
                    self.steps
                        .push(Step::Symlink { path: format!("{target}/{controller}"), target: name.into() });
                }
            }
        }
        if readonly != 0 {
            self.steps.push(Step::RemountReadonly {
                path: target.into(),
                attr: MountAttr { set: base | RDONLY, clear: 0 },
            });
        }
    }

    /// What had to stay writable until everything was in place.
    pub(super) fn remount_readonly(&mut self) {
        for mount in &self.config.mounts {
            let options = Options::parse(&mount.options);
            let target = self.inside(&mount.destination);
            let later = !options.bind && is_made_readonly_later(&mount.kind, &target);
            if later && options.attr.set & RDONLY != 0 {
                self.steps.push(Step::RemountReadonly {
                    path: target,
                    attr: MountAttr { set: options.attr.set, clear: 0 },
                });
            }
        }
    }
}

/// Files are still made in there while the container is set up.
fn is_made_readonly_later(kind: &str, target: &str) -> bool {
    kind == "tmpfs" || target == "/dev"
}

/// What a bind mount that asks for some attributes loses of the others.
fn reset(attr: MountAttr) -> u64 {
    if attr == MountAttr::default() {
        return 0;
    }
    (RDONLY | NOSUID | NODEV | NOEXEC | NOSYMFOLLOW) & !(attr.set | attr.clear)
}

fn check_target(mount: &spec::Mount, target: &str, options: &Options) -> Result<(), String> {
    let reason = match target {
        "/" => "it is the root itself",
        // A bind is let through here: only init can see whether its source is a procfs.
        "/proc" if !options.bind && mount.kind != "proc" => "it is not of type proc",
        _ if target.starts_with("/proc/") && !MOUNTABLE_BELOW_PROC.contains(&target) => "it is inside /proc",
        _ => return Ok(()),
    };
    Err(format!("\"{target}\" cannot be mounted because {reason}"))
}

/// Absolute, without `.`, `..` and doubled slashes. Symbolic links are init's business.
pub(super) fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The words of a mount's attributes, for a runbook.
pub(super) fn attribute_words(mount: &Mount) -> Vec<String> {
    let mut words = mount_options::words(mount.attr, "");
    words.extend(mount_options::words(mount.recursive_attr, "r"));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_without_leaving_the_root() {
        for (path, cleaned) in
            [("/a//b/./c/", "/a/b/c"), ("a/../../b", "/b"), ("/..", "/"), ("", "/"), ("/proc/../x", "/x")]
        {
            assert_eq!(clean(path), cleaned);
        }
    }

    #[test]
    fn a_bind_that_asks_for_nothing_resets_nothing() {
        assert_eq!(reset(MountAttr::default()), 0);
        let asked = MountAttr { set: RDONLY, clear: NOEXEC };
        assert_eq!(reset(asked), NOSUID | NODEV | NOSYMFOLLOW);
    }
}
