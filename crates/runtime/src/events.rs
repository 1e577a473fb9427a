// SPDX-License-Identifier: Apache-2.0
//! `events`: what a container uses, now or again and again, and when its memory ran out. Not in runtime-spec; runc's
//! verb and format, one JSON object a line:
//!
//! ```text
//!  {"type":"stats","id":"web","data":{"cpu":{…},"cpuset":{…},"memory":{…},"pids":{…},"blkio":{…},
//!                                     "hugetlb":{…},"intel_rdt":{…},"network_interfaces":[…]}}
//!  {"type":"oom","id":"web"}
//! ```
//!
//! It sleeps until the next reading is due, the kernel tells of an out-of-memory, or the container's init ends.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use conex_spec::json;
use conex_spec::runtime::Status;
use conex_sys::poll::{Events, poll};
use serde::Serialize;

use crate::cgroup::Stats;
use crate::cli::Runtime;
use crate::container::Container;
use crate::interfaces::{self, Interface};
use crate::resctrl::IntelRdtStats;
use crate::{Error, ErrorKind, Result};

#[derive(Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data>,
}

#[derive(Serialize)]
struct Data {
    #[serde(flatten)]
    stats: Stats,
    intel_rdt: IntelRdtStats,
    network_interfaces: Option<Vec<Interface>>,
}

/// One reading, as a line.
pub(crate) fn stats(runtime: &Runtime, id: &str) -> Result<String> {
    reading(&open(runtime, id)?)
}

/// A reading after each `interval`, and every out-of-memory, until the container ends or `tell` says that nobody
/// listens any more.
pub(crate) fn events(
    runtime: &Runtime,
    id: &str,
    interval: Duration,
    tell: impl Fn(&str) -> Result<bool>,
) -> Result<()> {
    let container = open(runtime, id)?;
    let mut watch = container.cgroup().watch_oom()?;
    // Only now: from here on nothing is missed, and if init ended before, this says so.
    let Some(init) = container.init()? else { return Ok(()) };
    let mut next = Instant::now() + interval;
    loop {
        let mut polled = vec![(init.as_fd(), Events::IN)];
        polled.extend(watch.as_ref().map(|watch| watch.polled()));
        let ready = poll(&polled, Some(next.saturating_duration_since(Instant::now())))?;
        let told = ready.get(1).is_some_and(|events| !events.is_empty());
        if let Some(watch) = watch.as_mut().filter(|_| told)
            && watch.happened()?
            && !tell(&line(&Event { kind: "oom", id, data: None })?)?
        {
            return Ok(());
        }
        if !ready[0].is_empty() {
            return Ok(());
        }
        if Instant::now() >= next {
            next += interval;
            if !tell(&reading(&container)?)? {
                return Ok(());
            }
        }
    }
}

fn open(runtime: &Runtime, id: &str) -> Result<Container> {
    let container = Container::open(&runtime.root, id)?;
    match container.status()? {
        Status::Stopped => {
            Err(Error::new(ErrorKind::State, format!("container with id {id} is not running")))
        }
        _ => Ok(container),
    }
}

fn reading(container: &Container) -> Result<String> {
    let data = Data {
        stats: container.cgroup().stats()?,
        intel_rdt: IntelRdtStats::of(&container.record)?,
        network_interfaces: interfaces::of_process(container.record.init_process_pid)?,
    };
    line(&Event { kind: "stats", id: &container.record.id, data: Some(data) })
}

fn line(event: &Event<'_>) -> Result<String> {
    let text = json::write(event).map_err(|error| Error::new(ErrorKind::Os, error.to_string()))?;
    Ok(text + "\n")
}
