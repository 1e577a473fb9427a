// SPDX-License-Identifier: Apache-2.0
//! Limits and device rules as properties of a unit (systemd.resource-control(5), org.freedesktop.systemd1(5)). Pure.
//!
//! The values for the kernel's files are translated, so that there is one table for what the specification calls
//! limits and for what stands in `unified`. A file without a property is left to be written to the kernel alone;
//! all the others are written there too, for systemd rounds. So the properties are what systemd shows, keeps, and
//! writes once more when it reloads.

use conex_spec::runtime::{Cpu, DeviceRule, Resources};

use super::Property;
use crate::Result;
use crate::cgroup::Version;
use crate::cgroup::limits::{self, Setting};
use crate::dbus::Value;

/// What systemd calls "infinity".
const INFINITY: u64 = u64::MAX;
/// The kernel's own period, in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;

/// Limits as properties. Values that are none stay out: writing the file will name them.
pub(in crate::cgroup) fn of_limits(version: Version, resources: &Resources) -> Result<Vec<Property>> {
    let settings = limits::settings(version, resources)?;
    let idle = settings.iter().any(|setting| setting.file == "cpu.idle" && setting.value.trim() == "1");
    let mut properties = Vec::new();
    for setting in &settings {
        match version {
            // systemd takes only one of the two.
            Version::V2 if idle && setting.file == "cpu.weight" => {}
            Version::V2 => v2(setting, &mut properties),
            Version::V1 => v1(setting, &resources.cpu, &mut properties),
        }
    }
    Ok(properties)
}

fn v2(setting: &Setting, properties: &mut Vec<Property>) {
    let value = setting.value.trim();
    let mut number = |name: &str| {
        properties.extend(or_infinity(value).map(|number| Property::new(name, Value::Uint64(number))));
    };
    match setting.file.as_str() {
        "memory.max" => number("MemoryMax"),
        "memory.high" => number("MemoryHigh"),
        "memory.low" => number("MemoryLow"),
        "memory.min" => number("MemoryMin"),
        "memory.swap.max" => number("MemorySwapMax"),
        "cpu.weight" => number("CPUWeight"),
        "cpu.idle" if value == "1" => {
            properties.push(Property { since: 252, ..Property::new("CPUWeight", Value::Uint64(0)) });
        }
        "cpu.max" => {
            let mut words = value.split_ascii_whitespace();
            let quota = words.next().and_then(or_infinity);
            let period = words.next().map_or(Some(DEFAULT_PERIOD), |period| period.parse().ok());
            if let (Some(quota), Some(period)) = (quota, period) {
                properties.extend(cpu_quota(quota, period));
            }
        }
        "pids.max" => properties.extend(tasks(value)),
        "cpuset.cpus" => properties.extend(mask("AllowedCPUs", value)),
        "cpuset.mems" => properties.extend(mask("AllowedMemoryNodes", value)),
        // Only a unit that is made takes this one.
        "memory.oom.group" if value == "0" || value == "1" => {
            let policy = if value == "1" { "kill" } else { "continue" };
            let property = Property::new("OOMPolicy", Value::text(policy));
            properties.push(Property { since: 253, at_start_only: true, ..property });
        }
        _ => {}
    }
}

fn v1(setting: &Setting, cpu: &Cpu, properties: &mut Vec<Property>) {
    let value = setting.value.trim();
    let mut number = |name: &str| {
        properties.extend(or_infinity(value).map(|number| Property::new(name, Value::Uint64(number))));
    };
    match setting.file.as_str() {
        "memory.limit_in_bytes" => number("MemoryLimit"),
        "cpu.shares" => number("CPUShares"),
        "blkio.weight" | "blkio.bfq.weight" => number("BlockIOWeight"),
        // The quota comes with its period or without, and the period without its quota too.
        "cpu.cfs_quota_us" => {
            let period = cpu.period.filter(|period| *period != 0).unwrap_or(DEFAULT_PERIOD);
            properties.extend(or_infinity(value).into_iter().flat_map(|quota| cpu_quota(quota, period)));
        }
        "cpu.cfs_period_us" if cpu.quota.unwrap_or_default() == 0 => {
            properties.extend(value.parse().into_iter().flat_map(|period| cpu_quota(INFINITY, period)));
        }
        "pids.max" => properties.extend(tasks(value)),
        "cpuset.cpus" => properties.extend(mask("AllowedCPUs", value)),
        "cpuset.mems" => properties.extend(mask("AllowedMemoryNodes", value)),
        _ => {}
    }
}

/// `max` of cgroup v2, and the -1 of v1.
fn or_infinity(value: &str) -> Option<u64> {
    if value == "max" || value == "-1" { Some(INFINITY) } else { value.parse().ok() }
}

/// Zero would be refused.
fn tasks(value: &str) -> Option<Property> {
    or_infinity(value).map(|limit| Property::new("TasksMax", Value::Uint64(limit.max(1))))
}

/// Per second of the clock rather than per period, in whole per cent.
fn cpu_quota(quota: u64, period: u64) -> [Property; 2] {
    let per_second = match quota {
        INFINITY => INFINITY,
        quota => round_up(per_second(quota, period.max(1))),
    };
    [
        Property::new("CPUQuotaPeriodUSec", Value::Uint64(period)),
        Property::new("CPUQuotaPerSecUSec", Value::Uint64(per_second)),
    ]
}

fn per_second(quota: u64, period: u64) -> u64 {
    u64::try_from(u128::from(quota) * 1_000_000 / u128::from(period)).unwrap_or(INFINITY)
}

/// systemd keeps a quota in per cent: 10 ms of a second.
fn round_up(microseconds: u64) -> u64 {
    microseconds.div_ceil(10_000).saturating_mul(10_000)
}

/// The same limits with a quota that systemd can keep, lest its next word change the kernel's file.
pub(in crate::cgroup) fn with_whole_per_cents(resources: &Resources) -> Resources {
    let mut resources = resources.clone();
    let period = resources.cpu.period.filter(|period| *period != 0).unwrap_or(DEFAULT_PERIOD);
    if let Some(quota) =
        resources.cpu.quota.and_then(|quota| u64::try_from(quota).ok()).filter(|quota| *quota > 0)
    {
        let exact = per_second(quota, period);
        let kept = round_up(exact);
        if kept != exact {
            let quota = u128::from(kept) * u128::from(period) / 1_000_000;
            resources.cpu.quota = i64::try_from(quota).ok();
        }
    }
    resources
}

/// A list such as `0-3,8` as bits, the lowest first.
fn mask(name: &str, list: &str) -> Option<Property> {
    /// The kernel's CONFIG_NR_CPUS ends here.
    const MOST: usize = 8192;
    let mut bits = Vec::new();
    for range in list.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        for bit in first..=last {
            bits.resize(bits.len().max(bit / 8 + 1), 0_u8);
            bits[bit / 8] |= 1 << (bit % 8);
        }
    }
    let bytes = bits.into_iter().map(Value::Byte).collect();
    Some(Property::new(name, Value::Array("y".into(), bytes)))
}

/// Device rules as a list of what is allowed. systemd knows no denials among them: where a later rule takes back a part
/// of an earlier one, and where only the minor number is given, more is allowed here than by the rules, and the exact filter
/// that the container gets besides has the last word.
pub(in crate::cgroup) fn of_devices(rules: &[DeviceRule]) -> Vec<Property> {
    let mut allowed: Vec<(String, String)> = Vec::new();
    let mut everything = false;
    for rule in rules {
        let all = matches!(rule.kind.as_str(), "" | "a");
        if all && rule.major.is_none() && rule.minor.is_none() {
            everything = rule.allow;
            allowed.clear();
            continue;
        }
        let kinds: &[_] = if all { &["b", "c"] } else { &[rule.kind.as_str()] };
        for kind in kinds {
            let path = device(kind, rule);
            match rule.allow {
                true => allowed.push((path, rule.access.clone())),
                false => take_back(&mut allowed, &path, &rule.access),
            }
        }
    }
    let entry = |(path, access)| Value::Struct(vec![Value::Text(path), Value::Text(access)]);
    let list = |entries| Property::new("DeviceAllow", Value::Array("(ss)".into(), entries));
    let policy = |word: &str| Property::new("DevicePolicy", Value::text(word));
    if everything {
        return vec![list(Vec::new()), policy("auto")];
    }
    // The empty list takes back what the unit had before.
    vec![policy("strict"), list(Vec::new()), list(allowed.into_iter().map(entry).collect())]
}

fn device(kind: &str, rule: &DeviceRule) -> String {
    let kind = if kind == "b" { "block" } else { "char" };
    let number = |number: Option<i64>| number.filter(|number| *number >= 0);
    match (number(rule.major), number(rule.minor)) {
        (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
        (Some(major), None) => format!("{kind}-{major}"),
        (None, _) => format!("{kind}-*"),
    }
}

fn take_back(allowed: &mut Vec<(String, String)>, path: &str, access: &str) {
    for (_, had) in allowed.iter_mut().filter(|(allowed, _)| allowed == path) {
        had.retain(|letter| !access.contains(letter));
    }
    allowed.retain(|(_, access)| !access.is_empty());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(properties: &[Property]) -> Vec<String> {
        properties.iter().map(|property| format!("{} {:?}", property.name, property.value)).collect()
    }

    fn of(version: Version, resources: &str) -> Vec<String> {
        show(&of_limits(version, &serde_json::from_str(resources).unwrap()).unwrap())
    }

    const EVERYTHING: &str = r#"{
        "memory": {"limit": 67108864, "reservation": 1024, "swap": 100663296},
        "cpu": {"shares": 1024, "quota": 50000, "period": 200000, "cpus": "0-1,9", "mems": "0"},
        "pids": {"limit": 0}, "blockIO": {"weight": 500}
    }"#;

    #[test]
    fn limits_of_v2() {
        assert_eq!(
            of(Version::V2, EVERYTHING),
            [
                "MemorySwapMax Uint64(33554432)",
                "MemoryMax Uint64(67108864)",
                "MemoryLow Uint64(1024)",
                "CPUWeight Uint64(100)",
                "CPUQuotaPeriodUSec Uint64(200000)",
                "CPUQuotaPerSecUSec Uint64(250000)",
                "AllowedCPUs Array(\"y\", [Byte(3), Byte(2)])",
                "AllowedMemoryNodes Array(\"y\", [Byte(1)])",
                "TasksMax Uint64(1)",
            ]
        );
    }

    #[test]
    fn limits_of_v1() {
        assert_eq!(
            of(Version::V1, EVERYTHING),
            [
                "MemoryLimit Uint64(67108864)",
                "CPUShares Uint64(1024)",
                "CPUQuotaPeriodUSec Uint64(200000)",
                "CPUQuotaPerSecUSec Uint64(250000)",
                "BlockIOWeight Uint64(500)",
                "AllowedCPUs Array(\"y\", [Byte(3), Byte(2)])",
                "AllowedMemoryNodes Array(\"y\", [Byte(1)])",
                "TasksMax Uint64(1)",
            ]
        );
        assert_eq!(
            of(Version::V1, r#"{"cpu": {"period": 50000}, "memory": {"limit": -1}}"#),
            [
                "MemoryLimit Uint64(18446744073709551615)",
                "CPUQuotaPeriodUSec Uint64(50000)",
                "CPUQuotaPerSecUSec Uint64(18446744073709551615)",
            ]
        );
    }

    #[test]
    fn unified_files_have_the_same_table() {
        let unified = r#"{"unified": {
            "memory.high": " 20971520 ", "memory.min": "131072", "memory.max": "max", "memory.swap.max": "0",
            "cpu.max": "max 5000", "cpu.weight": "42", "pids.max": "99", "cpuset.cpus": "3-1", "io.max": "8:0 rbps=1",
            "memory.oom.group": "1"
        }}"#;
        assert_eq!(
            of(Version::V2, unified),
            [
                "CPUQuotaPeriodUSec Uint64(5000)",
                "CPUQuotaPerSecUSec Uint64(18446744073709551615)",
                "CPUWeight Uint64(42)",
                "MemoryHigh Uint64(20971520)",
                "MemoryMax Uint64(18446744073709551615)",
                "MemoryMin Uint64(131072)",
                "OOMPolicy Text(\"kill\")",
                "MemorySwapMax Uint64(0)",
                "TasksMax Uint64(99)",
            ]
        );
        // Idle is a weight of zero, and no other beside it.
        assert_eq!(
            of(Version::V2, r#"{"unified": {"cpu.idle": "1", "cpu.weight": "42"}}"#),
            ["CPUWeight Uint64(0)"]
        );
        assert_eq!(of(Version::V2, r#"{"cpu": {"idle": 1, "shares": 512}}"#), ["CPUWeight Uint64(0)"]);
    }

    #[test]
    fn a_quota_is_in_whole_per_cents_for_both() {
        let resources =
            |quota| Resources { cpu: Cpu { quota: Some(quota), ..Cpu::default() }, ..Resources::default() };
        for (asked, kept) in [(50_000, 50_000), (12_345, 13_000), (1, 1000), (-1, -1), (0, 0)] {
            assert_eq!(with_whole_per_cents(&resources(asked)).cpu.quota, Some(kept), "{asked}");
        }
        assert_eq!(
            show(&of_limits(Version::V2, &resources(12_345)).unwrap()),
            ["CPUQuotaPeriodUSec Uint64(100000)", "CPUQuotaPerSecUSec Uint64(130000)"]
        );
    }

    #[test]
    fn devices_are_a_list_that_is_never_shorter_than_the_rules() {
        let rule = |allow, kind: &str, major, minor, access: &str| DeviceRule {
            allow,
            kind: kind.into(),
            major,
            minor,
            access: access.into(),
        };
        let rules = [
            rule(true, "c", Some(9), Some(9), "r"),
            rule(false, "a", None, None, "rwm"),
            rule(true, "c", Some(1), Some(3), "rwm"),
            rule(true, "b", Some(8), None, "r"),
            rule(true, "c", None, Some(7), "m"),
            rule(true, "c", Some(1), Some(5), "rw"),
            rule(false, "c", Some(1), Some(5), "w"),
        ];
        assert_eq!(
            show(&of_devices(&rules)),
            [
                "DevicePolicy Text(\"strict\")",
                "DeviceAllow Array(\"(ss)\", [])",
                "DeviceAllow Array(\"(ss)\", [Struct([Text(\"/dev/char/1:3\"), Text(\"rwm\")]), \
                 Struct([Text(\"block-8\"), Text(\"r\")]), Struct([Text(\"char-*\"), Text(\"m\")]), \
                 Struct([Text(\"/dev/char/1:5\"), Text(\"r\")])])",
            ]
        );
        let open = [rule(false, "a", None, None, "rwm"), rule(true, "a", None, None, "rwm")];
        assert_eq!(
            show(&of_devices(&open)),
            ["DeviceAllow Array(\"(ss)\", [])", "DevicePolicy Text(\"auto\")"]
        );
    }
}
