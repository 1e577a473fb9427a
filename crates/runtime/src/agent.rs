// SPDX-License-Identifier: Apache-2.0
//! config-linux.md, "The Container Process State": the descriptor of a seccomp filter's notifications goes to the agent
//! that listens at `listenerPath`, with who the process is.
//!
//! ```text
//!  init: seccomp(NEW_LISTENER) ──Listener(step, fd)──► runtime ──connect, one message, close──► agent
//!                              ◄────────Done──────────          {"fds":["seccompFd"],"pid":…} + SCM_RIGHTS
//! ```

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use conex_spec::json;
use conex_spec::runtime::{ProcessState, State, VERSION};
use conex_sys::socket;

use crate::plan::{Plan, Step};
use crate::{Error, ErrorKind, Result, Wrap};

/// Hands over the descriptor that the step of this number has made in process `pid`.
pub(crate) fn hand_over(
    plan: &Plan,
    step: usize,
    descriptor: &OwnedFd,
    pid: i32,
    state: State,
) -> Result<()> {
    let Some(Step::Seccomp(seccomp)) = plan.steps.get(step) else {
        return Err(Error::new(ErrorKind::Os, format!("step {step} loads no filter")));
    };
    let listener = seccomp.listener.clone().unwrap_or_default();
    let message = ProcessState {
        oci_version: VERSION.into(),
        fds: vec!["seccompFd".into()],
        pid,
        metadata: listener.metadata,
        state,
    };
    let message = json::write(&message).map_err(|error| Error::new(ErrorKind::Os, error.to_string()))?;
    let path = Path::new(&listener.path);
    socket::connect(path)
        .and_then(|agent| socket::send(agent.as_fd(), message.as_bytes(), Some(descriptor.as_fd())))
        .wrap(|| format!("failed to connect with seccomp agent at {}", path.display()))
}
