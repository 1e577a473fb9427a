// SPDX-License-Identifier: Apache-2.0
//! The filter is compiled here, on the host, so that init only has to load it.

use super::{Draft, Listener, PlanError, SeccompStep, Step};
use crate::seccomp::compile;

impl Draft<'_> {
    pub(super) fn seccomp(&mut self) -> Result<(), PlanError> {
        let Some(profile) = self.linux().seccomp.clone() else { return Ok(()) };
        let filter = compile(&profile).map_err(|error| PlanError::new(format!("seccomp: {error}")))?;
        let listener = filter.notifies().then(|| Listener {
            path: profile.listener_path.clone(),
            metadata: profile.listener_metadata.clone(),
        });
        self.steps.push(Step::Seccomp(SeccompStep { filter, listener }));
        Ok(())
    }
}
