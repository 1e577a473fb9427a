// SPDX-License-Identifier: Apache-2.0
//! Mounts of a container that runs: what `mounts add` and `mounts remove` do in its namespaces, as steps.

use conex_spec::runtime::{Config, Mount};

use super::mounts::clean;
use super::{Draft, Host, Plan, PlanError, Request, Step};
use crate::cgroup::CgroupPlan;

/// `config` is the container's. Pointers in the error are into the list.
pub fn plan_mounts(
    config: &Config,
    mounts: &[Mount],
    request: &Request,
    host: &Host,
) -> Result<Plan, PlanError> {
    let config = Config { mounts: mounts.to_vec(), ..config.clone() };
    let mut draft = Draft { running: true, ..Draft::new(&config, request, host) };
    for (index, mount) in mounts.iter().enumerate() {
        draft.mount(&format!("/{index}"), mount, &CgroupPlan::default());
    }
    draft.remount_readonly();
    draft.steps.push(Step::AwaitStart);
    if !draft.errors.is_empty() {
        return Err(draft.give_up());
    }
    Ok(Plan { before_clone: draft.before_clone, steps: draft.steps, ..Plan::default() })
}

/// The last of the list goes first: it may lie on one before it.
pub fn plan_unmounts(mounts: &[Mount]) -> Plan {
    let unmount = |mount: &Mount| Step::Unmount { path: clean(&mount.destination) };
    let steps = mounts.iter().rev().map(unmount).chain([Step::AwaitStart]).collect();
    Plan { steps, ..Plan::default() }
}
