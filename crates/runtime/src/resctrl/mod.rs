// SPDX-License-Identifier: Apache-2.0
//! `linux.intelRdt` (config-linux.md, "IntelRdt"; Documentation/filesystems/resctrl.rst): shares of the caches and of
//! memory bandwidth, through the file system `resctrl`.
//!
//! ```text
//!  <mount point>/             the default group, closID "/"
//!    info/L3 info/MB          what the processor can divide; info/last_cmd_status says what was wrong
//!    <closID or id>/          schemata: L3:0=f0;1=f    tasks: who is in
//!      mon_groups/<id>/       counts this container alone; tasks, mon_data/
//! ```
//!
//! A group of the container's own goes with it; one with a closID is somebody else's to keep. The processor must have
//! the feature and somebody must have mounted the file system: where not, to ask for it is an error.
#![expect(clippy::disallowed_methods, reason = "resctrl is the host's")]

mod schema;
mod stats;

use std::fs;
use std::io::ErrorKind as IoErrorKind;
use std::path::Path;

use conex_spec::runtime::IntelRdt;
use conex_sys::mountinfo;
use serde::Serialize;

pub(crate) use stats::IntelRdtStats;

use crate::record::Record;
use crate::{Error, ErrorKind, Result, Wrap};

/// What a container asks for; part of the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Resctrl {
    /// The group's name; empty for the default group.
    pub group: String,
    /// Made for this container and removed with it.
    pub own: bool,
    /// Lines for `schemata`, in this order.
    pub schemata: Vec<String>,
    /// The monitoring group's name.
    pub monitor: Option<String>,
}

impl Resctrl {
    /// The specification's rules for names and order.
    pub fn of(config: &IntelRdt, id: &str) -> Self {
        let first = [&config.l3_cache_schema, &config.mem_bw_schema].into_iter();
        let lines = first.chain(&config.schemata).filter(|line| !line.is_empty());
        Self {
            group: if config.clos_id.is_empty() { id } else { config.clos_id.trim_matches('/') }.to_owned(),
            own: config.clos_id.is_empty(),
            schemata: lines.cloned().collect(),
            monitor: config.enable_monitoring.then(|| id.to_owned()),
        }
    }

    /// Decides where the container will be, and says so in its record before anything is made.
    pub(crate) fn locate(&self, root: &str, record: &mut Record) -> Result<()> {
        let path = format!("{root}/{}", self.group).trim_end_matches('/').to_owned();
        let exists = Path::new(&path).is_dir();
        if !self.own && !exists && self.schemata.is_empty() {
            let what = format!(
                "linux.intelRdt.closID {:?}: there is no {path}, and no schema to make it with: mkdir {path}, or give schemata",
                self.group
            );
            return Err(Error::new(ErrorKind::NotFound, what));
        }
        if !self.own && exists {
            schema::check(&self.schemata, &read(&path, "schemata")?)
                .wrap(|| format!("linux.intelRdt: {path}"))?;
        }
        record.conex.owns_resctrl = self.own && !exists;
        record.intel_rdt_mon_path =
            self.monitor.as_ref().map(|name| format!("{path}/mon_groups/{name}")).unwrap_or_default();
        record.intel_rdt_path = path;
        Ok(())
    }

    /// Makes what [`Resctrl::locate`] has decided.
    pub(crate) fn make(&self, root: &str, record: &Record) -> Result<()> {
        let explain = |error| explained(root, error);
        let path = &record.intel_rdt_path;
        let is_new = make_directory(path).map_err(explain)?;
        if is_new || self.own {
            write_schemata(path, &self.schemata).map_err(explain)?;
        }
        if !record.intel_rdt_mon_path.is_empty() {
            make_directory(&record.intel_rdt_mon_path).map_err(explain)?;
        }
        Ok(())
    }
}

/// Where the file system is mounted.
pub(crate) fn mount_point() -> Result<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").wrap(|| "read /proc/self/mountinfo")?;
    mounted(&table).ok_or_else(|| {
        let what = "linux.intelRdt: no resctrl file system is mounted: mount -t resctrl resctrl /sys/fs/resctrl \
                    (the processor must have the feature), or leave intelRdt out";
        Error::new(ErrorKind::Unsupported, what)
    })
}

fn mounted(mounts: &str) -> Option<String> {
    mountinfo::parse(mounts).find(|mount| mount.kind == "resctrl").map(|mount| mount.point)
}

/// Puts a process, and all that it will fork, into the container's groups. Nothing to do without any.
pub(crate) fn enter(record: &Record, pid: i32) -> Result<()> {
    for path in [&record.intel_rdt_path, &record.intel_rdt_mon_path] {
        if !path.is_empty() {
            write(path, "tasks", &pid.to_string())?;
        }
    }
    Ok(())
}

/// Removes the groups that go with the container. What is gone already is no error.
pub(crate) fn remove(record: &Record) -> Result<()> {
    let group = if record.conex.owns_resctrl { record.intel_rdt_path.as_str() } else { "" };
    for path in [record.intel_rdt_mon_path.as_str(), group].into_iter().filter(|path| !path.is_empty()) {
        match fs::remove_dir(path) {
            Err(error) if error.kind() != IoErrorKind::NotFound => {
                return Err(Error::from(error).wrap(format_args!("rmdir {path}")));
            }
            _ => {}
        }
    }
    Ok(())
}

/// `update`: other schemata for the group where a container is, by runc's two flags. Returns what they were before.
pub(crate) fn update(record: &Record, config: &mut IntelRdt, l3: &str, bandwidth: &str) -> Result<String> {
    let root = mount_point()?;
    let enabled = |name: &str| Path::new(&format!("{root}/info/{name}")).is_dir();
    let unsupported = |what: &str| Err(Error::new(ErrorKind::Unsupported, what));
    if !l3.is_empty() && !enabled("L3") {
        return unsupported("Intel RDT/CAT: l3 cache schema is not enabled");
    }
    if !bandwidth.is_empty() && !enabled("MB") {
        return unsupported("Intel RDT/MBA: memory bandwidth schema is not enabled");
    }
    for (field, schema) in [(&mut config.l3_cache_schema, l3), (&mut config.mem_bw_schema, bandwidth)] {
        if !schema.is_empty() {
            schema.clone_into(field);
        }
    }
    let earlier = read(&record.intel_rdt_path, "schemata")?;
    let lines = Resctrl::of(config, &record.id).schemata;
    write_schemata(&record.intel_rdt_path, &lines).map_err(|error| explained(&root, error))?;
    Ok(earlier)
}

/// Takes an update back.
pub(crate) fn restore(record: &Record, schemata: &str) -> Result<()> {
    write(&record.intel_rdt_path, "schemata", schemata)
}

/// All lines in one write: the kernel takes all of them or says which it does not.
fn write_schemata(path: &str, lines: &[String]) -> Result<()> {
    match lines {
        [] => Ok(()),
        lines => write(path, "schemata", &(lines.join("\n") + "\n")),
    }
}

/// The kernel's own words on what was wrong.
fn explained(root: &str, error: Error) -> Error {
    let error = error.wrap("linux.intelRdt");
    match read(root, "info/last_cmd_status") {
        Ok(status) if !status.trim().is_empty() => {
            error.explained(format_args!("last_cmd_status: {}", status.trim()))
        }
        _ => error,
    }
}

/// True if it is new.
fn make_directory(path: &str) -> Result<bool> {
    match fs::create_dir(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == IoErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(Error::from(error).wrap(format_args!("mkdir {path}"))),
    }
}

fn read(path: &str, file: &str) -> Result<String> {
    fs::read_to_string(format!("{path}/{file}")).wrap(|| format!("read {path}/{file}"))
}

fn write(path: &str, file: &str, text: &str) -> Result<()> {
    use std::io::Write;
    let opened = fs::OpenOptions::new().write(true).open(format!("{path}/{file}"));
    opened
        .and_then(|mut opened| opened.write_all(text.as_bytes()))
        .wrap(|| format!("write {text:?} to {path}/{file}"))
}

#[cfg(test)]
mod tests;
