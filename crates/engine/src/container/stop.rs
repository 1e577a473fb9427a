// SPDX-License-Identifier: Apache-2.0
//! Ending a container: its stop signal, patience, SIGKILL.

use std::time::{Duration, Instant};

use conex_sys::signal::KILL;

use super::{Container, Record, State};
use crate::{Engine, Error, ErrorKind, Result};

/// How long the kernel may take to end what got SIGKILL, and the monitor to clean up after it.
const AFTER_KILL: Duration = Duration::from_secs(30);

/// Sends the container's stop signal, and SIGKILL `timeout` later if it still runs. Not an error if it does not run.
pub fn stop(engine: &Engine, container: &Container, timeout: Option<Duration>) -> Result<()> {
    let record = container.required_record()?;
    if !container.state(&record, &engine.settings.run_root)?.is_alive() {
        return Ok(());
    }
    let timeout = timeout.unwrap_or(Duration::from_secs(record.stop_timeout));
    if !timeout.is_zero() {
        send(engine, container, &record, record.stop_signal)?;
        if has_ended(engine, container, &record, timeout)? {
            return Ok(());
        }
    }
    end(engine, container, &record)
}

/// Sends a signal to a container that runs.
pub fn kill(engine: &Engine, container: &Container, signal: i32) -> Result<()> {
    let record = container.required_record()?;
    match container.state(&record, &engine.settings.run_root)? {
        State::Running | State::Paused => send(engine, container, &record, signal),
        state => {
            let message = format!("container {} is not running: it is {}", record.name, state.word());
            Err(Error::new(ErrorKind::State, message))
        }
    }
}

/// SIGKILL, and waiting until nothing is left of its process. The signal is sent again and again: a container whose
/// starter was killed may just be being created, and its runtime does not know it yet.
pub(super) fn end(engine: &Engine, container: &Container, record: &Record) -> Result<()> {
    let deadline = Instant::now() + AFTER_KILL;
    let mut patience = Duration::from_millis(20);
    loop {
        send(engine, container, record, KILL)?;
        if has_ended(engine, container, record, patience)? {
            return Ok(());
        }
        if Instant::now() > deadline {
            let message =
                format!("container {} does not end after {} s of SIGKILL", record.name, AFTER_KILL.as_secs());
            return Err(Error::new(ErrorKind::Os, message));
        }
        patience = (patience * 2).min(Duration::from_secs(2));
    }
}

/// A container that has ended in the meantime has got its wish.
fn send(engine: &Engine, container: &Container, record: &Record, signal: i32) -> Result<()> {
    let runtime = engine.runtime_of(record);
    match runtime.check(&mut runtime.command(&["kill", &container.id, &signal.to_string()])) {
        Err(error) if matches!(error.kind(), ErrorKind::State | ErrorKind::NotFound) => Ok(()),
        result => result,
    }
}

/// Waits for the monitor where there is one, else for the process itself.
fn has_ended(engine: &Engine, container: &Container, record: &Record, timeout: Duration) -> Result<bool> {
    if container.is_monitored()? {
        return container.wait_for_monitor(Some(timeout));
    }
    engine.runtime_of(record).wait_for_end(&container.id, timeout)
}
