// SPDX-License-Identifier: Apache-2.0
//! Starting a container: monitor, `runtime create`, and once everybody listens, `runtime start`.

use std::time::SystemTime;

use super::attach::Attachment;
use super::create::create_locked;
use super::{Container, Options, Record, State, monitor, remove};
use crate::{Engine, Error, ErrorKind, Result};

/// Whether somebody wants the container's output from its first byte on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// Connected before the process starts.
    Yes,
    /// It goes to the log only.
    No,
}

/// Starts a container that was created or has ended.
pub fn start(engine: &Engine, container: &Container, attach: Attach) -> Result<Option<Attachment>> {
    let _lock = container.lock()?;
    let mut record = container.required_record()?;
    start_locked(engine, container, &mut record, attach)
}

/// Makes a container and starts it. Nobody can take it for garbage in between, and if it cannot be started, one
/// with `--rm` is gone again.
pub fn run(
    engine: &Engine,
    options: &Options,
    attach: Attach,
) -> Result<(Container, Record, Option<Attachment>)> {
    let (container, mut record, lock) = create_locked(engine, options)?;
    match start_locked(engine, &container, &mut record, attach) {
        Ok(attachment) => Ok((container, record, attachment)),
        Err(error) if record.auto_remove => {
            // The first error is the one to tell; what cannot be removed now, the next command removes.
            let _swept_later = remove::end_and_discard(engine, &container, &record, lock);
            Err(error)
        }
        Err(error) => Err(error),
    }
}

fn start_locked(
    engine: &Engine,
    container: &Container,
    record: &mut Record,
    attach: Attach,
) -> Result<Option<Attachment>> {
    match container.state(record, &engine.settings.run_root)? {
        State::Running | State::Paused => {
            let message = format!("container {} is already running", record.name);
            return Err(Error::new(ErrorKind::State, message));
        }
        State::Created if container.is_monitored()? => {}
        State::Created | State::Exited(_) => {
            if record.started.take().is_some() {
                container.write_record(record)?;
            }
            monitor::launch(engine, container, record)?;
        }
    }
    let attachment = match attach {
        Attach::Yes => Some(Attachment::connect(container, record)?),
        Attach::No => None,
    };
    let runtime = engine.runtime_of(record);
    runtime.check(&mut runtime.command(&["start", &container.id]))?;
    record.started = Some(SystemTime::now().into());
    container.write_record(record)?;
    Ok(attachment)
}
