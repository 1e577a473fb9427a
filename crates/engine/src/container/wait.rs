// SPDX-License-Identifier: Apache-2.0
//! Waiting until a container has ended.

use super::{Container, Exit, State};
use crate::{Engine, Result};

/// How the container ended. `None`: that is not known.
pub fn wait(engine: &Engine, container: &Container) -> Result<Option<Exit>> {
    let record = container.required_record()?;
    container.wait_for_monitor(None)?;
    match container.state(&record, &engine.settings.run_root)? {
        State::Exited(exit) => Ok(exit),
        State::Created => Ok(None),
        State::Running | State::Paused => {
            // Its monitor was killed: the process itself can still be waited for.
            engine.runtime_of(&record).wait_for_end(&container.id, std::time::Duration::MAX)?;
            container.exit()
        }
    }
}
