// SPDX-License-Identifier: Apache-2.0
//! Making a container's cgroup: directories with their parents and controllers, or a scope of systemd's.

use std::collections::BTreeSet;
use std::path::Path;

use conex_spec::runtime::Resources;
use conex_sys::file::{self, Access};

use super::directory::is_refusal;
use super::systemd::{self, Manager, Unit, properties};
use super::{Cgroup, CgroupPlan, Driver, Layout, Version, directory, is_v2, limits, threaded};
use crate::{Error, ErrorKind, Result, Wrap};

impl Cgroup {
    /// Makes the directories and writes the limits, before a process is in there. With systemd that takes a process:
    /// there is nothing yet but for [`Cgroup::start_unit`].
    pub fn create(plan: &CgroupPlan) -> Result<Self> {
        let mut cgroup = Self { best_effort: plan.best_effort, ..Self::default() };
        match plan.driver {
            Driver::Cgroupfs => {}
            Driver::Disabled => return Ok(cgroup),
            Driver::Systemd => {
                // It would put the stage beside whoever is there, and into what is frozen, never to move again.
                Self::open(plan.directories.clone()).check_unused()?;
                return Ok(cgroup);
            }
        }
        if !cgroup.make_directories(plan)? {
            cgroup.check_unused()?;
        }
        let v2 = is_v2(&plan.directories);
        // Beside v1, nobody without privilege may be put into the v2 part.
        if let Some(directory) = cgroup.directories.get("").filter(|_| v2 || !plan.best_effort) {
            cgroup.target =
                Some(file::open(directory.as_ref(), Access::Read).wrap(|| format!("open {directory}"))?);
        }
        cgroup.apply(&plan.resources)?;
        cgroup.leave_ajar(&plan.resources)?;
        match (plan.owner, cgroup.directories.get("")) {
            (Some(owner), Some(directory)) if v2 => give_to(directory, owner)?,
            _ => {}
        }
        Ok(cgroup)
    }

    /// True if all of them are new, so that nobody can be in there.
    fn make_directories(&mut self, plan: &CgroupPlan) -> Result<bool> {
        let v2 = is_v2(&plan.directories);
        // In the hybrid v2 has what v1 has not.
        let needs_v2 = v2
            || limits::settings(Version::V1, &plan.resources)?
                .iter()
                .any(|setting| !plan.directories.contains_key(&setting.controller));
        let mut all_new = true;
        for (controller, path) in &plan.directories {
            match make_with_parents(path, needs_v2 && controller.is_empty(), controller, &plan.resources) {
                // Somebody else's of the same name: as good as one that could not be made.
                Ok(_) if plan.best_effort && !may_enter(path) => {}
                Ok(is_new) => {
                    all_new &= is_new;
                    self.directories.insert(controller.clone(), path.clone());
                }
                // In the hybrid nothing depends on the v2 part.
                Err(_) if !v2 && controller.is_empty() => {}
                Err(error) if plan.best_effort && is_refusal(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all_new)
    }

    /// Has systemd make the unit around a process, which then makes the container's: what it starts is in the unit too.
    pub fn start_unit(plan: &CgroupPlan, process: i32) -> Result<Self> {
        let unit = plan.unit.as_ref().ok_or_else(|| Error::new(ErrorKind::Os, "the plan has no unit"))?;
        let version = if is_v2(&plan.directories) { Version::V2 } else { Version::V1 };
        let resources = properties::with_whole_per_cents(&plan.resources);
        let mut asked = properties::of_limits(version, &resources)?;
        // A user's systemd has no right to filter devices.
        if !unit.of_user {
            asked.extend(properties::of_devices(&resources.devices));
        }
        let mut manager = Manager::connect(&unit.managers)?;
        manager.start(unit, version, process.unsigned_abs(), asked)?;
        let mut cgroup = Self { best_effort: plan.best_effort, unit: Some(unit.record()), ..Self::default() };
        match cgroup.settle_in_unit(plan, unit, &resources, process) {
            Ok(()) => Ok(cgroup),
            Err(error) => {
                // The first error is the one to tell; and without a process the scope ends by itself.
                drop(manager.stop(&unit.name));
                Err(error)
            }
        }
    }

    /// The limits once more, through the kernel's files: systemd rounds, and does not know all of them.
    fn settle_in_unit(
        &mut self,
        plan: &CgroupPlan,
        unit: &Unit,
        resources: &Resources,
        process: i32,
    ) -> Result<()> {
        let v2 = is_v2(&plan.directories);
        if v2 {
            // Below a user's own systemd the plan could only guess.
            self.directories = Layout::of_process(process)?.own_directories();
            let ends_well = |path: &String| path.ends_with(&format!("/{}", unit.name));
            if !self.directories.values().all(ends_well) {
                let what =
                    format!("unit {:?} is there, but its process is in {:?}", unit.name, self.directories);
                return Err(Error::new(ErrorKind::Os, what));
            }
            for directory in self.directories.values() {
                for controller in limits::controllers(resources)? {
                    bring_down(directory, &controller);
                }
            }
        } else {
            // systemd takes care of those controllers alone that it has properties for.
            self.make_directories(plan)?;
            self.enter(process)?;
        }
        self.apply(resources)?;
        self.leave_ajar(resources)?;
        match (plan.owner, self.directories.get("")) {
            (Some(owner), Some(directory)) if v2 => give_to(directory, owner),
            _ => Ok(()),
        }
    }

    /// The process that makes the container's counts as long as it is there. A limit of a single one leaves no room
    /// for both: it is lifted until [`Cgroup::close`]. (v1 counts nobody who walks in.)
    pub(super) fn leave_ajar(&self, resources: &Resources) -> Result<()> {
        match self.directory_to_be_born_in() {
            Some(directory) if is_for_one(resources) => directory::write(directory, "pids.max", "max"),
            _ => Ok(()),
        }
    }

    /// The container's first process is born.
    pub fn close(&self, plan: &CgroupPlan) -> Result<()> {
        match self.directory_to_be_born_in() {
            Some(directory) if is_for_one(&plan.resources) && self.is_entered_at_birth() => {
                directory::write(directory, "pids.max", "1")
            }
            _ => Ok(()),
        }
    }
}

fn is_for_one(resources: &Resources) -> bool {
    match resources.unified.get("pids.max") {
        Some(limit) => matches!(limit.trim(), "0" | "1"),
        None => matches!(resources.pids.limit, Some(0 | 1)),
    }
}

/// Directories above a container's that are not there yet, the lowest first: what making it will add. The caller's own
/// cgroups need no look.
pub fn missing_parents(plan: &CgroupPlan, layout: &Layout) -> Vec<String> {
    let is_there = |path: &str| layout.has_caller_in(path) || Path::new(path).is_dir();
    let mut missing = Vec::new();
    // A slice is systemd's, but of v1's hierarchies it does not know all.
    let ours = |controller: &str| match plan.driver {
        Driver::Cgroupfs => true,
        Driver::Systemd => !is_v2(&plan.directories) && !systemd::MANAGED.contains(&controller),
        Driver::Disabled => false,
    };
    let directories = plan.directories.iter().filter(|(controller, _)| ours(controller));
    let distinct: BTreeSet<_> = directories.map(|(_, directory)| directory).collect();
    for path in distinct {
        let mut path = path.as_str();
        while let Some((parent, _)) = path.rsplit_once('/').filter(|(parent, _)| !is_there(parent)) {
            if parent.is_empty() {
                break;
            }
            missing.push(parent.to_owned());
            path = parent;
        }
    }
    missing
}

/// On the way down v2 needs its controllers passed on, and v1's cpuset its processors and memory nodes. True if the
/// directory is new.
fn make_with_parents(path: &str, v2: bool, controller: &str, resources: &Resources) -> Result<bool> {
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    if parent.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, format!("no cgroup filesystem around {path}")));
    }
    let is_new = match directory::make(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if make_with_parents(parent, v2, controller, resources)? {
                directory::mark(parent);
            }
            directory::make(path)?
        }
        outcome => outcome?,
    };
    if v2 && !(is_new && pass_controllers_on(parent, resources)?) {
        threaded::settle(path, resources)?;
    }
    if is_new && controller == "cpuset" {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            inherit(path, file)?;
        }
    }
    Ok(is_new)
}

/// A cpuset without processors or memory takes no process: it gets what is above it, as far up as others have left
/// theirs empty too.
fn fill_cpuset(path: &str, file: &str) -> Result<String> {
    let own = directory::read_value(path, file)?;
    if own.is_empty() { inherit(path, file) } else { Ok(own) }
}

fn inherit(path: &str, file: &str) -> Result<String> {
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let inherited = fill_cpuset(parent, file)?;
    directory::write(path, file, &inherited)?;
    Ok(inherited)
}

/// A controller that cannot be had (processes in the parent, no right) is missed only when a limit needs it. False if
/// what is below may be threaded.
fn pass_controllers_on(parent: &str, resources: &Resources) -> Result<bool> {
    let Ok(available) = directory::read_value(parent, "cgroup.controllers") else { return Ok(false) };
    let enabled = directory::read_value(parent, "cgroup.subtree_control").unwrap_or_default();
    let is_enabled = |controller: &&str| enabled.split_whitespace().any(|enabled| enabled == *controller);
    let mut missing: Vec<_> =
        available.split_whitespace().filter(|controller| !is_enabled(controller)).collect();
    let has_all_kinds = available.split_whitespace().any(|controller| !threaded::has(controller));
    if missing.is_empty() {
        return Ok(has_all_kinds);
    }
    let add = |controllers: &[&str]| {
        let words: Vec<_> = controllers.iter().map(|controller| format!("+{controller}")).collect();
        directory::write(parent, "cgroup.subtree_control", &words.join(" "))
    };
    match add(&missing) {
        Ok(()) => return Ok(has_all_kinds),
        // It has processes. Of the controllers that it can still pass on each makes what is below threaded.
        Err(error) if error.errno() == Some(conex_sys::Errno::BUSY) => {
            let wanted = limits::controllers(resources)?;
            let possible = wanted.iter().all(|controller| threaded::has(controller));
            missing.retain(|controller| possible && wanted.contains(*controller));
        }
        Err(_) => {}
    }
    for one in missing {
        add(&[one]).ok();
    }
    Ok(false)
}

/// Passes on a controller from as far up as it takes: systemd does so with those alone that it has properties for. One
/// that cannot be had is missed when its limit is written.
fn bring_down(directory: &str, controller: &str) {
    let listed = directory::read_value(directory, "cgroup.controllers");
    if listed.is_ok_and(|listed| listed.split_whitespace().all(|one| one != controller)) {
        let parent = directory.rsplit_once('/').map_or("", |(parent, _)| parent);
        bring_down(parent, controller);
        directory::write(parent, "cgroup.subtree_control", &format!("+{controller}")).ok();
    }
}

/// config-linux.md, "Cgroup ownership": the directory and the files that the kernel says are safe to delegate.
fn give_to(directory: &str, uid: u32) -> Result<()> {
    let listed = std::fs::read_to_string("/sys/kernel/cgroup/delegate");
    let files = listed.unwrap_or_else(|_| "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n".into());
    std::os::unix::fs::chown(directory, Some(uid), None).wrap(|| format!("chown {directory}"))?;
    for file in files.lines() {
        let path = format!("{directory}/{file}");
        match std::os::unix::fs::chown(&path, Some(uid), None) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::from(error).wrap(format_args!("chown {path}")));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether the caller may move processes into a cgroup.
fn may_enter(directory: &str) -> bool {
    file::open(format!("{directory}/cgroup.procs").as_ref(), Access::Write).is_ok()
}
