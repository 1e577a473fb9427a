// SPDX-License-Identifier: Apache-2.0
//! config.md, "Process".

use super::Report;
use crate::runtime::{Process, SchedulerFlag, SchedulerPolicy};

impl Report {
    /// `at` is the pointer to the process: `/process`, or empty for a file of its own.
    pub(super) fn process(&mut self, at: &str, process: &Process) {
        if process.cwd.is_empty() {
            self.add(format!("{at}/cwd"), "Cwd property must not be empty");
        } else {
            self.absolute(format!("{at}/cwd"), &process.cwd);
        }
        match process.args.first() {
            None => self.add(format!("{at}/args"), "args must not be empty: the first is the program"),
            Some(name) if name.is_empty() => self.add(format!("{at}/args/0"), "must not be empty"),
            Some(_) => {}
        }
        for (index, argument) in process.args.iter().enumerate() {
            self.no_nul(format!("{at}/args/{index}"), argument);
        }
        for (index, variable) in process.env.iter().enumerate() {
            if variable.find('=').unwrap_or_default() == 0 {
                self.add(format!("{at}/env/{index}"), format!("must be NAME=value, got {variable:?}"));
            }
            self.no_nul(format!("{at}/env/{index}"), variable);
        }
        if process.user.umask.is_some_and(|mask| mask > 0o777) {
            self.add(format!("{at}/user/umask"), "must be at most 511 (octal 777)");
        }
        self.rlimits(at, process);
        self.scheduler(at, process);
        if process.oom_score_adj.is_some_and(|score| !(-1000..=1000).contains(&score)) {
            self.add(format!("{at}/oomScoreAdj"), "must be between -1000 and 1000");
        }
        if let Some(affinity) = &process.exec_cpu_affinity {
            self.list(format!("{at}/execCPUAffinity/initial"), &affinity.initial);
            self.list(format!("{at}/execCPUAffinity/final"), &affinity.last);
        }
        if process.io_priority.is_some_and(|io| !(0..=7).contains(&io.priority)) {
            self.add(format!("{at}/ioPriority/priority"), "must be between 0 and 7");
        }
    }

    fn rlimits(&mut self, at: &str, process: &Process) {
        for (index, limit) in process.rlimits.iter().enumerate() {
            if limit.soft > limit.hard {
                let message = format!("soft limit {} is above the hard limit {}", limit.soft, limit.hard);
                self.add(format!("{at}/rlimits/{index}/soft"), message);
            }
            if process.rlimits[..index].iter().any(|earlier| earlier.kind == limit.kind) {
                self.add(format!("{at}/rlimits/{index}/type"), "is there twice: one of them must go");
            }
        }
    }

    fn scheduler(&mut self, at: &str, process: &Process) {
        let Some(scheduler) = &process.scheduler else { return };
        use SchedulerPolicy::*;
        let policy = scheduler.policy;
        if matches!(policy, SchedOther | SchedBatch) && !(-20..=19).contains(&scheduler.nice) {
            self.add(format!("{at}/scheduler/nice"), "must be between -20 and 19");
        }
        if scheduler.priority != 0 && !matches!(policy, SchedFifo | SchedRr) {
            self.add(format!("{at}/scheduler/priority"), "is only for SCHED_FIFO and SCHED_RR");
        }
        if (scheduler.runtime | scheduler.deadline | scheduler.period) != 0 && policy != SchedDeadline {
            self.add(format!("{at}/scheduler"), "runtime, deadline and period are only for SCHED_DEADLINE");
        }
        for (index, flag) in scheduler.flags.iter().enumerate() {
            if matches!(flag, SchedulerFlag::SchedFlagReclaim | SchedulerFlag::SchedFlagDlOverrun)
                && policy != SchedDeadline
            {
                self.add(format!("{at}/scheduler/flags/{index}"), "is only for SCHED_DEADLINE");
            }
        }
    }
}
