// SPDX-License-Identifier: Apache-2.0
//! Writing limits and device rules: into a new cgroup, or into one where a container runs.
//!
//! Some files the kernel checks against each other (quota and burst, memory and memory+swap, a period and the parent's
//! share), and which must go first depends on what is there. So nothing is sorted: what the kernel refuses as invalid
//! is asked for again after the rest, for as long as that brings any of it through.

use conex_spec::runtime::{Memory, Resources};

use super::directory::is_refusal;
use super::limits::{self, Otherwise, Setting};
use super::systemd::{Manager, properties};
use super::{Cgroup, Version, devices, directory, is_v2};
use crate::{Error, ErrorKind, Result};

/// One write to come.
struct Write<'a> {
    directory: &'a str,
    controller: &'a str,
    file: &'a str,
    value: String,
}

impl Cgroup {
    /// For a cgroup that nobody is in yet.
    pub fn apply(&self, resources: &Resources) -> Result<()> {
        let version = self.version();
        let settings = self.settings(resources)?;
        write_all(&self.resolve(&settings)?)?;
        self.apply_devices(version, resources)
    }

    /// For one where a container runs: if something of it cannot be had, everything is as it was before. An empty
    /// list of device rules changes none.
    pub fn update(&self, resources: &Resources) -> Result<()> {
        let version = self.version();
        let resources = &self.as_kept(resources);
        self.check_usage(version, &resources.memory)?;
        let settings = self.settings(resources)?;
        let writes = self.resolve(&settings)?;
        let before = writes.iter().map(Write::restoring).collect::<Result<Vec<_>>>()?;
        let done = write_all(&writes)
            .and_then(|()| self.apply_devices(version, resources))
            .and_then(|()| self.tell_unit(version, resources, &writes));
        let Err(error) = done else { return Ok(()) };
        match write_all(&before) {
            Ok(()) => Err(error.wrap("nothing was changed")),
            Err(second) => {
                let left: Vec<_> = before.iter().filter_map(Write::differs).collect();
                let message = format!("{error} (and taking back: {second}); now stands: {}", left.join(", "));
                Err(Error::new(error.kind(), message))
            }
        }
    }

    /// With values that systemd can keep as they are, where it keeps them.
    fn as_kept(&self, resources: &Resources) -> Resources {
        match self.unit {
            Some(_) => properties::with_whole_per_cents(resources),
            None => resources.clone(),
        }
    }

    /// Whatever systemd is not told of it may undo one day; what it is told it writes in its own way (without a quota
    /// it knows no period), so the files have the last word.
    fn tell_unit(&self, version: Version, resources: &Resources, writes: &[Write<'_>]) -> Result<()> {
        let Some(unit) = &self.unit else { return Ok(()) };
        let mut asked = properties::of_limits(version, resources)?;
        if !resources.devices.is_empty() && !unit.of_user {
            asked.extend(properties::of_devices(&resources.devices));
        }
        if asked.is_empty() {
            return Ok(());
        }
        Manager::connect(&unit.managers)?.set_properties(&unit.name, &asked)?;
        write_all(writes)
    }

    /// Which files it has.
    pub fn version(&self) -> Version {
        if is_v2(&self.directories) { Version::V2 } else { Version::V1 }
    }

    /// In the hybrid, what is asked of a controller without a v1 hierarchy goes to the v2 part, if that has it.
    pub(super) fn settings(&self, resources: &Resources) -> Result<Vec<Setting>> {
        let mut settings = limits::settings(self.version(), resources)?;
        let is_homeless = |setting: &Setting| !self.directories.contains_key(&setting.controller);
        let Some(v2) = self.directories.get("").filter(|_| settings.iter().any(is_homeless)) else {
            return Ok(settings);
        };
        if self.version() == Version::V1 {
            let moves = |setting: &Setting| is_homeless(setting) && has_controller(v2, &setting.controller);
            settings.retain(|setting| !moves(setting));
            settings.extend(limits::settings(Version::V2, resources)?.into_iter().filter(moves));
        }
        Ok(settings)
    }

    /// In the hierarchy of its controller.
    pub(super) fn directory_of(&self, setting: &Setting) -> Option<&String> {
        let has = |v2: &&String| self.version() == Version::V2 || has_controller(v2, &setting.controller);
        self.directories.get(&setting.controller).or_else(|| self.directories.get("").filter(has))
    }

    /// Where each setting goes. What cannot be had fails here, before anything is written.
    fn resolve<'a>(&'a self, settings: &'a [Setting]) -> Result<Vec<Write<'a>>> {
        let mut writes = Vec::new();
        for setting in settings {
            let Some(directory) = self.directory_of(setting) else {
                if setting.otherwise == Otherwise::Nothing {
                    continue;
                }
                return Err(self.no_directory(setting));
            };
            let there = setting.otherwise == Otherwise::Fail || directory::has(directory, &setting.file);
            let (file, value) = match &setting.otherwise {
                Otherwise::Write { file, value } if !there => (file, value),
                Otherwise::Nothing if !there => continue,
                _ => (&setting.file, &setting.value),
            };
            let controller = &setting.controller;
            writes.push(Write { directory, controller, file, value: value.clone() });
        }
        Ok(writes)
    }

    fn no_directory(&self, setting: &Setting) -> Error {
        let Setting { controller, file, value, .. } = setting;
        let message = if self.best_effort {
            format!("cannot set {controller} limit: container could not join or create cgroup")
        } else {
            format!(
                "cannot set {file} to {value}: this host has no {controller} cgroup; \
                 mount -t cgroup -o {controller} {controller} /sys/fs/cgroup/{controller}, or leave the limit out"
            )
        };
        Error::new(ErrorKind::Unsupported, message)
    }

    fn apply_devices(&self, version: Version, resources: &Resources) -> Result<()> {
        let key = if version == Version::V2 { "" } else { "devices" };
        let Some(path) = self.directories.get(key).filter(|_| !resources.devices.is_empty()) else {
            return Ok(());
        };
        match devices::apply(
            path,
            self.target.as_ref().filter(|_| version == Version::V2),
            version,
            &resources.devices,
        ) {
            Err(error) if self.best_effort && is_refusal(&error) => Ok(()),
            outcome => outcome,
        }
    }

    /// config-linux.md, `checkBeforeUpdate`: v2 would kill instead of refusing a limit that is too low. v1 refuses.
    fn check_usage(&self, version: Version, memory: &Memory) -> Result<()> {
        let Some(directory) = self.directories.get("") else { return Ok(()) };
        if memory.check_before_update != Some(true) || version == Version::V1 {
            return Ok(());
        }
        let usage =
            directory::read(directory, "memory.current").ok().and_then(|text| text.trim().parse().ok());
        let usage: i64 = usage.unwrap_or_default();
        for (name, limit) in [("memory+swap", memory.swap), ("memory", memory.limit)] {
            if let Some(limit) = limit.filter(|limit| (1..=usage).contains(limit)) {
                let message = format!("rejecting {name} limit {limit} <= usage {usage}");
                return Err(Error::new(ErrorKind::State, message));
            }
        }
        Ok(())
    }
}

fn has_controller(v2: &str, controller: &str) -> bool {
    directory::read_value(v2, "cgroup.controllers")
        .is_ok_and(|list| list.split_whitespace().any(|one| one == controller))
}

/// Until all is written, or a round gets nothing through.
fn write_all(writes: &[Write<'_>]) -> Result<()> {
    let mut left: Vec<&Write<'_>> = writes.iter().collect();
    loop {
        let mut refused = Vec::new();
        for write in &left {
            match directory::write(write.directory, write.file, &write.value) {
                Err(error) if error.errno() == Some(conex_sys::Errno::INVAL) => refused.push((*write, error)),
                outcome => outcome.map_err(|error| write.explain(error))?,
            }
        }
        let again: Vec<_> = refused.iter().map(|(write, _)| *write).collect();
        match refused.into_iter().next() {
            None => return Ok(()),
            Some((write, error)) if again.len() == left.len() => return Err(write.explain(error)),
            Some(_) => left = again,
        }
    }
}

impl<'a> Write<'a> {
    /// The write that takes this one back.
    fn restoring(&self) -> Result<Self> {
        let content = directory::read(self.directory, self.file).map_err(|error| self.explain(error))?;
        Ok(Write { value: limits::restoring(self.file, &self.value, &content), ..*self })
    }

    /// What a file says other than it should.
    fn differs(&self) -> Option<String> {
        let now = directory::read(self.directory, self.file).ok()?;
        (!now.lines().any(|line| line.trim() == self.value.trim()))
            .then(|| format!("{}/{} {:?}", self.directory, self.file, now.trim()))
    }

    /// The kernel's answer with what it may mean.
    fn explain(&self, error: Error) -> Error {
        use conex_sys::Errno;
        match error.errno() {
            Some(Errno::NOENT) => self.missing(),
            Some(Errno::BUSY) if self.file == "memory.limit_in_bytes" => {
                let read = |file| directory::read(self.directory, file).unwrap_or_default();
                let message = format!(
                    "unable to set memory limit to {} (current usage: {}, peak usage: {})",
                    self.value,
                    read("memory.usage_in_bytes").trim(),
                    read("memory.max_usage_in_bytes").trim()
                );
                Error::new(ErrorKind::State, message)
            }
            Some(Errno::INVAL | Errno::NODEV | Errno::RANGE | Errno::NXIO) => match accepted(self.file) {
                "" => error,
                accepted => error.explained(accepted),
            },
            _ => error,
        }
    }

    fn missing(&self) -> Error {
        let Self { directory, controller, file, value } = self;
        let list = |file| directory::read(directory, file).unwrap_or_default();
        let is_v2 = directory::has(directory, "cgroup.controllers");
        let enabled = list("cgroup.controllers").split_whitespace().any(|name| name == *controller);
        let remedy = if is_v2 && !enabled && *controller != "cgroup" {
            let parent = directory.rsplit_once('/').map_or("", |(parent, _)| parent);
            // The top may have both, processes and controllers below.
            let occupied = directory::has(parent, "cgroup.type")
                && directory::read(parent, "cgroup.procs").is_ok_and(|processes| !processes.is_empty());
            if occupied {
                format!(
                    "the {controller} controller is not to be had here, because {parent} has processes of its own: \
                     move them to a cgroup below it, or choose another linux.cgroupsPath"
                )
            } else {
                format!(
                    "the {controller} controller is not to be had here: echo +{controller} > \
                     {parent}/cgroup.subtree_control, unless the kernel lacks it or has given it to cgroup v1"
                )
            }
        } else {
            format!("this kernel has no such file for the {controller} controller")
        };
        Error::new(ErrorKind::NotFound, format!("cannot write {value:?} to {directory}/{file}: {remedy}"))
    }
}

/// What the kernel takes, where its "invalid argument" does not say.
fn accepted(file: &str) -> &'static str {
    match file {
        "cpu.max" | "cpu.cfs_quota_us" | "cpu.cfs_period_us" => {
            "a period is 1000 to 1000000 microseconds, a quota 1000 or more and no larger share than the parent's; \
             the burst is not larger than the quota"
        }
        "cpu.max.burst" | "cpu.cfs_burst_us" => "a burst is not larger than the quota",
        "cpu.weight" | "cpu.shares" => "an idle cgroup has no weight: set cpu.idle to 0",
        "cpu.idle" => "0 or 1",
        "cpuset.cpus" => "only processors that the parent's cpuset.cpus has and that are online",
        "cpuset.mems" => "only memory nodes that the parent's cpuset.mems has and that are online",
        "cpu.rt_runtime_us" | "cpu.rt_period_us" => "not more real time than the parent has left",
        "memory.limit_in_bytes" | "memory.memsw.limit_in_bytes" => "memory+swap is not less than memory",
        "io.max" => "a whole disk's major:minor, see /proc/diskstats",
        _ if file.starts_with("blkio.throttle.") => "a whole disk's major:minor, see /proc/diskstats",
        _ if file.starts_with("blkio.") || file.starts_with("io.") => {
            "a weight is 10 to 1000 (io.weight: 1 to 10000), a device a whole disk whose scheduler has weights"
        }
        _ => "",
    }
}
