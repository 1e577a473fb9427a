// SPDX-License-Identifier: Apache-2.0
//! Threaded cgroups (the kernel's cgroup-v2.rst, "Threads"): what v2 has instead of the usual ones below a cgroup with
//! processes of its own.
//!
//! ```text
//!  engine       has processes; passes pids on, which makes it "domain threaded"
//!   └─ box      "domain invalid", and takes nobody until it is made "threaded"
//! ```
//!
//! Only some controllers are there, the list of processes cannot be read, and they cannot all be killed at once.

use std::collections::BTreeSet;

use conex_spec::runtime::Resources;

use super::{directory, limits};
use crate::{Error, ErrorKind, Result};

/// Whether a threaded cgroup can have a controller.
pub(super) fn has(controller: &str) -> bool {
    ["cpu", "cpuset", "perf_event", "pids"].contains(&controller)
}

/// Makes a cgroup one that takes processes, if its limits allow for that.
pub(super) fn settle(path: &str, resources: &Resources) -> Result<()> {
    // The top of a hierarchy has no type.
    let kind = directory::read(path, "cgroup.type").unwrap_or_default();
    let state = match kind.trim() {
        "domain invalid" => "an invalid state",
        "threaded" => "threaded mode",
        _ => return Ok(()),
    };
    if let Some(controller) = limits::controllers(resources)?.iter().find(|controller| !has(controller)) {
        let what = format!(
            "cannot enter cgroupv2 {path:?} with domain controllers -- it is in {state}: a cgroup above has processes of \
             its own, or is threaded; choose another linux.cgroupsPath, move those processes to a cgroup below, or \
             leave out the {controller} limits"
        );
        return Err(Error::new(ErrorKind::Unsupported, what));
    }
    if kind.trim() == "domain invalid" { directory::write(path, "cgroup.type", "threaded") } else { Ok(()) }
}

/// The processes that threads in the file `cgroup.threads` belong to. Gone ones are left out.
pub(super) fn processes(threads: &str) -> Vec<i32> {
    let process_of = |thread: &str| {
        let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
    };
    threads.lines().filter_map(process_of).collect::<BTreeSet<i32>>().into_iter().collect()
}
