// SPDX-License-Identifier: Apache-2.0
//! runtime.md, "Delete": what `create` made is taken away, then the poststop hooks run.
#![expect(clippy::disallowed_methods, reason = "the state root is the host's")]

use conex_spec::runtime::{Hooks, Status};

use crate::cli::Runtime;
use crate::container::{Container, check_id};
use crate::{Error, ErrorKind, Result, Wrap};
use crate::{hooks, host_root};

/// The verb. With `force` a running container is killed first, and a missing one is no error.
pub(crate) fn delete(runtime: &Runtime, id: &str, force: bool) -> Result<()> {
    let container = match Container::open(&runtime.root, id) {
        Err(error) if force && error.kind() == ErrorKind::NotFound => return remove_remains(runtime, id),
        // A record that cannot be read names nothing that could be ended; it must not stay for ever.
        Err(error) if force && error.kind() == ErrorKind::Config => {
            return Container::remove_unreadable(&runtime.root, id);
        }
        outcome => outcome?,
    };
    if force {
        // Before the lock: a `create` that hangs holds it, and ends when its init does.
        container.kill_init()?;
    }
    let container = match container.lock() {
        // A failing `create` has cleaned up meanwhile.
        Err(error) if force && error.kind() == ErrorKind::NotFound => return Ok(()),
        outcome => outcome?,
    };
    let status = container.status()?;
    if !force && !matches!(status, Status::Stopped | Status::Created) {
        let what = format!("cannot delete container {id} that is not stopped: {status}");
        return Err(Error::new(ErrorKind::State, what));
    }
    // A configuration that cannot be read must not keep a container from going away.
    let hooks = container.config().map(|config| config.hooks).unwrap_or_default();
    destroy(runtime, container, &hooks)
}

/// Takes everything away. A failing poststop hook is only worth a warning.
pub(crate) fn destroy(runtime: &Runtime, container: Container, hooks: &Hooks) -> Result<()> {
    let state = container.state(Status::Stopped);
    let left = container.record.conex.root_mount.as_ref().and_then(host_root::out_of_sight);
    container.destroy()?;
    runtime.warn(left.as_slice());
    runtime.warn(&hooks::run_poststop(&hooks.poststop, &state));
    Ok(())
}

/// A directory without a state: its `create` was killed at the very beginning.
fn remove_remains(runtime: &Runtime, id: &str) -> Result<()> {
    check_id(id)?;
    let directory = runtime.root.join(id);
    if !directory.exists() {
        return Ok(());
    }
    Container::new(&runtime.root, id)?.destroy().wrap(|| format!("delete {id}"))
}
