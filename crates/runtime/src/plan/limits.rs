// SPDX-License-Identifier: Apache-2.0
//! Resource limits and scheduling: what is set while there is still the privilege to raise it.

use conex_spec::runtime::Process;

use super::{Draft, Question, Step};

impl Draft<'_> {
    pub(super) fn scheduling(&mut self, process: &Process) {
        if process.no_new_privileges {
            self.steps.push(Step::NoNewPrivileges);
        }
        if let Some(scheduler) = &process.scheduler {
            self.steps.push(Step::Scheduler(scheduler.clone()));
        }
        if let Some(priority) = process.io_priority {
            self.steps.push(Step::IoPriority(priority));
        }
        if let Some(personality) = &self.linux().personality {
            if !personality.flags.is_empty() {
                self.warnings
                    .push(format!("ignoring unsupported personality flags: {:?}", personality.flags));
            }
            let domain = self.linux().personality.as_ref().map(|personality| personality.domain);
            self.steps.extend(domain.map(|domain| Step::Personality { domain }));
        }
        if let Some(policy) = &self.linux().memory_policy {
            let policy = policy.clone();
            self.steps.push(Step::MemoryPolicy(policy));
        }
        if !process.rlimits.is_empty() {
            let limits = process.rlimits.clone();
            // Raising a hard limit takes CAP_SYS_RESOURCE on the host, which a new user namespace does not give.
            self.steps.push(if self.loses_privilege() && !self.host.in_user_namespace {
                Step::Ask(Question::Rlimits { limits })
            } else {
                Step::Rlimits { limits }
            });
        }
    }
}
