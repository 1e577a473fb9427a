// SPDX-License-Identifier: Apache-2.0
//! `pause` and `resume`: the cgroup's freezer.

use conex_spec::runtime::Status;

use crate::cli::Runtime;
use crate::container::Container;
use crate::{Error, ErrorKind, Result, Wrap};

/// Stops every process of the container where it is.
pub(crate) fn pause(runtime: &Runtime, id: &str) -> Result<()> {
    let container = Container::open(&runtime.root, id)?;
    match container.status()? {
        Status::Running | Status::Created => container.cgroup().freeze().wrap(|| "pause the container"),
        _ => Err(Error::new(ErrorKind::State, "container not running")),
    }
}

/// Lets them go on.
pub(crate) fn resume(runtime: &Runtime, id: &str) -> Result<()> {
    let container = Container::open(&runtime.root, id)?;
    match container.status()? {
        Status::Paused => container.cgroup().thaw().wrap(|| "resume the container"),
        _ => Err(Error::new(ErrorKind::State, "container not paused")),
    }
}
