// SPDX-License-Identifier: Apache-2.0
//! `update`: other limits for a container that runs. Not in runtime-spec; runc's verb, with device rules besides.
//!
//! ```text
//!  recorded resources ─┐
//!                      ├─ merged ──► config.json beside the state, for the next update and all who ask
//!  the change ─────────┘     └────► what of it the change touches ──► Cgroup::update, all or nothing
//! ```
//!
//! What the change does not name stays, in the record and in the kernel; zero names nothing where the specification
//! has no zero. A list of devices takes the place of the recorded one; the devices of every container stay allowed.

use conex_spec::runtime::{BlockIo, Cpu, Linux, Memory, Resources, Status, ThrottleDevice, WeightDevice};

use crate::cgroup::ignored;
use crate::cli::Runtime;
use crate::container::Container;
use crate::plan::device_rules;
use crate::{Error, ErrorKind, Result, Wrap, resctrl};

/// What to change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub resources: Resources,
    pub l3_cache_schema: String,
    pub mem_bw_schema: String,
}

/// The verb.
pub(crate) fn update(runtime: &Runtime, id: &str, change: &Change) -> Result<()> {
    let container = Container::open(&runtime.root, id)?.lock()?;
    if container.status()? == Status::Stopped {
        return Err(Error::new(ErrorKind::State, "container not running"));
    }
    let mut config = container.config()?;
    let linux = config.linux.get_or_insert_default();
    let recorded = linux.resources.take().unwrap_or_default();
    let mut resources = change.resources.clone();
    match container.record.conex.unit {
        Some(_) => wake(&recorded, &mut resources),
        None => check_idle(&recorded.cpu, &resources.cpu)?,
    }
    linux.resources = Some(merged(recorded, &resources));
    let cgroup = container.cgroup();
    runtime.warn(&ignored(cgroup.version(), &resources));
    let part = touched(linux, &resources);
    let earlier = update_resctrl(&container, linux, change)?;
    if let Err(error) = cgroup.update(&part).wrap(|| "update") {
        let undone = earlier.map_or(Ok(()), |schemata| resctrl::restore(&container.record, &schemata));
        return Err(match undone {
            Ok(()) => error,
            Err(second) => error.explained(second),
        });
    }
    container.save_config(&config).wrap(|| "the limits are set, but")
}

/// The schemata that were there before, if there are others now.
fn update_resctrl(container: &Container, linux: &mut Linux, change: &Change) -> Result<Option<String>> {
    if change.l3_cache_schema.is_empty() && change.mem_bw_schema.is_empty() {
        return Ok(None);
    }
    let Some(config) = &mut linux.intel_rdt else {
        let what = "updating a non-existent Intel RDT configuration is not supported";
        return Err(Error::new(ErrorKind::Unsupported, what));
    };
    resctrl::update(&container.record, config, &change.l3_cache_schema, &change.mem_bw_schema).map(Some)
}

/// The kernel keeps no weight for an idle cgroup.
fn check_idle(recorded: &Cpu, change: &Cpu) -> Result<()> {
    let weight = change.shares.is_some_and(|shares| shares != 0);
    if weight && change.idle.is_none() && recorded.idle == Some(1) {
        let what = "cpu shares have no effect while cpu.idle is 1: set cpu.idle to 0 with them";
        return Err(Error::new(ErrorKind::Config, what));
    }
    Ok(())
}

/// systemd has one number for both, so there a weight ends the idling.
fn wake(recorded: &Resources, change: &mut Resources) {
    if given(change.cpu.shares).is_some() && recorded.cpu.idle == Some(1) {
        change.cpu.idle.get_or_insert(0);
    }
    let was_idle = recorded.unified.get("cpu.idle").is_some_and(|value| value.trim() == "1");
    if was_idle && change.unified.contains_key("cpu.weight") {
        change.unified.entry("cpu.idle".into()).or_insert_with(|| "0".into());
    }
}

/// The part of the merged resources that must be written. Values that mean something only together come together.
fn touched(merged: &Linux, change: &Resources) -> Resources {
    let all = merged.resources.clone().unwrap_or_default();
    let mut part = change.clone();
    if given(change.memory.limit).or(given(change.memory.swap)).is_some() {
        (part.memory.limit, part.memory.swap) = (all.memory.limit, all.memory.swap);
    }
    part.memory.check_before_update = all.memory.check_before_update;
    if given(change.cpu.quota).is_some() || given(change.cpu.period).is_some() {
        (part.cpu.quota, part.cpu.period) = (all.cpu.quota, all.cpu.period);
    }
    if change.cpu.idle == Some(0) {
        // Becoming idle, the cgroup lost its weight.
        part.cpu.shares = all.cpu.shares;
    }
    if !change.devices.is_empty() {
        part.devices = device_rules(merged);
    }
    part
}

fn merged(mut old: Resources, change: &Resources) -> Resources {
    merge_memory(&mut old.memory, &change.memory);
    merge_cpu(&mut old.cpu, &change.cpu);
    merge_io(&mut old.block_io, &change.block_io);
    old.pids.limit = change.pids.limit.or(old.pids.limit);
    old.network.class_id = given(change.network.class_id).or(old.network.class_id);
    upsert(&mut old.network.priorities, &change.network.priorities, |one| one.name.clone());
    upsert(&mut old.hugepage_limits, &change.hugepage_limits, |one| one.page_size.clone());
    old.rdma.extend(change.rdma.clone());
    old.unified.extend(change.unified.clone());
    if !change.devices.is_empty() {
        old.devices.clone_from(&change.devices);
    }
    old
}

fn merge_memory(old: &mut Memory, change: &Memory) {
    if change.limit == Some(-1) {
        // Without a limit for memory, one for both together would be one for memory.
        old.swap = None;
    }
    old.limit = given(change.limit).or(old.limit);
    old.swap = given(change.swap).or(old.swap);
    old.reservation = given(change.reservation).or(old.reservation);
    old.swappiness = change.swappiness.or(old.swappiness);
    old.disable_oom_killer = change.disable_oom_killer.or(old.disable_oom_killer);
    old.check_before_update = change.check_before_update.or(old.check_before_update);
}

fn merge_cpu(old: &mut Cpu, change: &Cpu) {
    old.shares = given(change.shares).or(old.shares);
    old.quota = given(change.quota).or(old.quota);
    old.period = given(change.period).or(old.period);
    old.burst = change.burst.or(old.burst);
    old.idle = change.idle.or(old.idle);
    old.realtime_runtime = given(change.realtime_runtime).or(old.realtime_runtime);
    old.realtime_period = given(change.realtime_period).or(old.realtime_period);
    for (old, change) in [(&mut old.cpus, &change.cpus), (&mut old.mems, &change.mems)] {
        if !change.is_empty() {
            old.clone_from(change);
        }
    }
}

fn merge_io(old: &mut BlockIo, change: &BlockIo) {
    old.weight = given(change.weight).or(old.weight);
    old.leaf_weight = given(change.leaf_weight).or(old.leaf_weight);
    for device in &change.weight_device {
        let known = old.weight_device.iter().rev().find(|one| number(one) == number(device));
        let (weight, leaf_weight) = known.map_or((None, None), |one| (one.weight, one.leaf_weight));
        let whole = WeightDevice {
            weight: device.weight.or(weight),
            leaf_weight: device.leaf_weight.or(leaf_weight),
            ..*device
        };
        upsert(&mut old.weight_device, &[whole], number);
    }
    let rate_of = |device: &ThrottleDevice| (device.major, device.minor);
    upsert(&mut old.throttle_read_bps_device, &change.throttle_read_bps_device, rate_of);
    upsert(&mut old.throttle_write_bps_device, &change.throttle_write_bps_device, rate_of);
    upsert(&mut old.throttle_read_iops_device, &change.throttle_read_iops_device, rate_of);
    upsert(&mut old.throttle_write_iops_device, &change.throttle_write_iops_device, rate_of);
}

fn number(device: &WeightDevice) -> (i64, i64) {
    (device.major, device.minor)
}

/// Each new one in the place of the old one of the same key, or behind them.
fn upsert<T: Clone, K: PartialEq>(old: &mut Vec<T>, new: &[T], key: impl Fn(&T) -> K) {
    for one in new {
        match old.iter_mut().rev().find(|known| key(known) == key(one)) {
            Some(known) => *known = one.clone(),
            None => old.push(one.clone()),
        }
    }
}

/// Callers write a zero where they have nothing to say.
fn given<T: Default + PartialEq>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(json: &str) -> Resources {
        serde_json::from_str(json).unwrap()
    }

    /// What is recorded and what is written.
    fn after(old: &str, change: &str) -> (Resources, Resources) {
        let change = resources(change);
        let linux = Linux { resources: Some(merged(resources(old), &change)), ..Linux::default() };
        let part = touched(&linux, &change);
        (linux.resources.unwrap(), part)
    }

    #[test]
    fn what_is_not_named_stays_and_is_not_written() {
        let (recorded, written) = after(
            r#"{"memory":{"limit":10,"swap":20},"cpu":{"shares":5,"cpus":"0"},"pids":{"limit":7}}"#,
            r#"{"cpu":{"cpus":"1","shares":0},"memory":{"limit":0,"swap":0}}"#,
        );
        let expected =
            r#"{"memory":{"limit":10,"swap":20},"cpu":{"shares":5,"cpus":"1"},"pids":{"limit":7}}"#;
        assert_eq!(recorded, resources(expected));
        assert_eq!(written.cpu.cpus, "1");
        assert_eq!((written.pids.limit, written.memory.limit), (None, Some(0)));
    }

    #[test]
    fn what_means_something_together_is_written_together() {
        let old = r#"{"memory":{"limit":10,"swap":20},"cpu":{"quota":5,"period":9,"shares":3,"idle":1}}"#;
        let (_, written) = after(old, r#"{"memory":{"swap":30},"cpu":{"period":8}}"#);
        assert_eq!((written.memory.limit, written.memory.swap), (Some(10), Some(30)));
        assert_eq!((written.cpu.quota, written.cpu.period, written.cpu.shares), (Some(5), Some(8), None));
        let (_, written) = after(old, r#"{"cpu":{"idle":0}}"#);
        assert_eq!(written.cpu.shares, Some(3));
        let (recorded, written) = after(old, r#"{"memory":{"limit":-1}}"#);
        assert_eq!((recorded.memory.swap, written.memory.swap), (None, None));
    }

    #[test]
    fn devices_are_known_by_their_numbers() {
        let (recorded, written) = after(
            r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":100,"leafWeight":50}],
                "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1},{"major":8,"minor":16,"rate":2}]}}"#,
            r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":200}],
                "throttleReadBpsDevice":[{"major":8,"minor":16,"rate":3},{"major":9,"minor":0,"rate":4}]}}"#,
        );
        let io = &recorded.block_io;
        assert_eq!((io.weight_device[0].weight, io.weight_device[0].leaf_weight), (Some(200), Some(50)));
        let rates: Vec<_> = io.throttle_read_bps_device.iter().map(|device| device.rate).collect();
        assert_eq!(rates, [1, 3, 4]);
        assert_eq!(written.block_io.throttle_read_bps_device.len(), 2);
    }

    #[test]
    fn a_list_of_rules_replaces_the_list_and_keeps_the_defaults() {
        let (recorded, written) = after(
            r#"{"devices":[{"allow":true,"type":"c","major":7,"access":"r"}]}"#,
            r#"{"devices":[{"allow":true,"type":"c","major":9,"access":"r"}]}"#,
        );
        assert_eq!(recorded.devices.len(), 1);
        assert_eq!(written.devices[0].major, Some(9));
        assert!(written.devices.iter().any(|rule| (rule.major, rule.minor) == (Some(1), Some(3))));
        assert!(!written.devices.iter().any(|rule| rule.major == Some(7)));
        // No list is no change, not an empty list.
        let (recorded, written) = after(r#"{"devices":[{"allow":true,"access":"r"}]}"#, "{}");
        assert_eq!((recorded.devices.len(), written.devices.len()), (1, 0));
    }

    #[test]
    fn under_systemd_a_weight_ends_the_idling() {
        for (old, change, expected) in [
            (r#"{"cpu":{"idle":1}}"#, r#"{"cpu":{"shares":5}}"#, r#"{"cpu":{"shares":5,"idle":0}}"#),
            (r#"{"cpu":{"idle":1}}"#, r#"{"cpu":{"shares":5,"idle":1}}"#, r#"{"cpu":{"shares":5,"idle":1}}"#),
            (
                r#"{"unified":{"cpu.idle":"1"}}"#,
                r#"{"unified":{"cpu.weight":"8"}}"#,
                r#"{"unified":{"cpu.idle":"0","cpu.weight":"8"}}"#,
            ),
            (r#"{"cpu":{"idle":1}}"#, r#"{"pids":{"limit":5}}"#, r#"{"pids":{"limit":5}}"#),
        ] {
            let mut change = resources(change);
            wake(&resources(old), &mut change);
            assert_eq!(change, resources(expected));
        }
    }

    #[test]
    fn shares_of_an_idle_container_are_refused() {
        let cpu = |json| serde_json::from_str::<Cpu>(json).unwrap();
        check_idle(&cpu(r#"{"idle":1}"#), &cpu(r#"{"shares":5}"#)).unwrap_err();
        for (old, change) in [
            (r#"{"idle":1}"#, r#"{"shares":0}"#),
            (r#"{"idle":1}"#, r#"{"shares":5,"idle":0}"#),
            ("{}", r#"{"shares":5}"#),
        ] {
            check_idle(&cpu(old), &cpu(change)).unwrap();
        }
    }
}
