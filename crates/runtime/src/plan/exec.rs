// SPDX-License-Identifier: Apache-2.0
//! The plan of a further process in a container: the chapters of [`super::plan`] that describe a process, and none
//! of those that make a container.

use conex_spec::runtime::{Config, NamespaceKind, Process};

use super::{AfterClone, BeforeClone, Draft, Host, Plan, PlanError, Request, Step};

/// Decides everything about an `exec`. `config` is the container's, `process` the new one.
pub fn plan_exec(
    config: &Config,
    process: &Process,
    request: &Request,
    host: &Host,
) -> Result<Plan, PlanError> {
    let config = Config { process: Some(process.clone()), ..config.clone() };
    let mut draft = Draft::new(&config, request, host);
    let name = format!("_ses.{}", request.id);
    draft.steps.push(Step::JoinKeyring { name, label: process.selinux_label.clone() });
    draft.console(process);
    draft.steps.push(Step::SetUmask { mask: process.user.umask.unwrap_or(0o022) });
    if !process.apparmor_profile.is_empty() {
        draft.steps.push(Step::ApparmorProfile { profile: process.apparmor_profile.clone() });
    }
    draft.scheduling(process);
    // What the container's own process was told about setgroups(2) holds here as well.
    let id_maps = if config.has_namespace(NamespaceKind::User) { draft.id_maps() } else { None };
    draft.credentials(process, id_maps.as_ref());
    draft.steps.push(Step::AwaitStart);
    draft.execute(process);
    for step in &mut draft.steps {
        if let Step::Console { mount, .. } = step {
            *mount = false;
        }
    }
    if !draft.errors.is_empty() {
        return Err(draft.give_up());
    }
    let mut after_clone = vec![AfterClone::EnterCgroup];
    if process.exec_cpu_affinity.is_none() {
        after_clone.push(AfterClone::FreeAffinity);
    }
    after_clone.extend(draft.linux().intel_rdt.as_ref().map(|_| AfterClone::EnterResctrl));
    after_clone.extend(process.oom_score_adj.map(|value| AfterClone::AdjustOomScore { value }));
    let (mut before_clone, steps, warnings) = (draft.before_clone, draft.steps, draft.warnings);
    if let Some(affinity) = &process.exec_cpu_affinity {
        if !affinity.initial.is_empty() {
            before_clone.push(BeforeClone::SetAffinity { cpus: affinity.initial.clone() });
        }
        if !affinity.last.is_empty() {
            after_clone.push(AfterClone::SetAffinity { cpus: affinity.last.clone() });
        }
    }
    Ok(Plan { before_clone, after_clone, steps, warnings, ..Plan::default() })
}
