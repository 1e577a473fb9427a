// SPDX-License-Identifier: Apache-2.0
//! `pause` and `resume`: the cgroup's freezer.

use conex_spec::runtime::Status;
use conex_sys::Errno;

use crate::cli::Runtime;
use crate::container::Container;
use crate::{Error, ErrorKind, Result};

/// Stops every process of the container where it is.
pub(crate) fn pause(runtime: &Runtime, id: &str) -> Result<()> {
    let container = Container::open(&runtime.root, id)?;
    match container.status()? {
        Status::Running | Status::Created => {
            container.cgroup().freeze().map_err(|error| or_deleted(error.wrap("pause the container")))
        }
        _ => Err(Error::new(ErrorKind::State, "container not running")),
    }
}

/// Lets them go on.
pub(crate) fn resume(runtime: &Runtime, id: &str) -> Result<()> {
    let container = Container::open(&runtime.root, id)?;
    match container.status()? {
        Status::Paused => {
            container.cgroup().thaw().map_err(|error| or_deleted(error.wrap("resume the container")))
        }
        _ => Err(Error::new(ErrorKind::State, "container not paused")),
    }
}

/// Somebody may delete it at any moment; then its cgroup is gone.
fn or_deleted(error: Error) -> Error {
    let gone = matches!(error.errno(), Some(Errno::NOENT | Errno::NODEV));
    if gone { error.wrap("container not running") } else { error }
}
