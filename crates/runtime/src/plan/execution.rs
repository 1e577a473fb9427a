// SPDX-License-Identifier: Apache-2.0
//! The end of every plan: the wait for the start, and the program with its variables.

use std::collections::BTreeSet;

use conex_spec::runtime::Process;

use super::{Draft, HookMoment, Step};

impl Draft<'_> {
    pub(super) fn execution(&mut self, process: &Process) {
        self.steps.push(Step::AwaitStart);
        let hooks = self.config.hooks.start_container.clone();
        if !hooks.is_empty() {
            self.steps.push(Step::Hooks { moment: HookMoment::StartContainer, hooks });
        }
        self.execute(process);
    }

    pub(super) fn execute(&mut self, process: &Process) {
        let sockets = self.request.sockets;
        let mut env = environment(&process.env);
        if sockets > 0 {
            env.retain(|variable| !["LISTEN_FDS", "LISTEN_PID"].contains(&name_of(variable)));
        }
        self.steps.push(Step::Execute { args: process.args.clone(), env, sockets });
    }
}

/// Of several variables with one name the last counts; an empty HOME is as good as none.
pub(super) fn environment(variables: &[String]) -> Vec<String> {
    let mut known = BTreeSet::new();
    let last = variables.iter().rev().filter(|variable| known.insert(name_of(variable)));
    let mut counting: Vec<_> = last.filter(|variable| *variable != "HOME=").cloned().collect();
    counting.reverse();
    counting
}

fn name_of(variable: &str) -> &str {
    variable.split_once('=').map_or(variable, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_several_variables_counts() {
        let variables = ["A=1", "B=x=y", "A=2", "AB=3", "A="].map(String::from);
        assert_eq!(environment(&variables), ["B=x=y", "AB=3", "A="]);
    }
}
