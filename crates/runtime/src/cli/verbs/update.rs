// SPDX-License-Identifier: Apache-2.0
//! `update`, with runc's flags. Of a file of resources and the other flags, only the file counts.

use std::str::FromStr;

use conex_spec::runtime::Resources;

use super::Verb;
use crate::cli::flags::option;
use crate::cli::grammar::{Flag, Parsed, usage};
use crate::update::{self, Change};
use crate::{Result, bundle};

pub(super) const VERB: Verb = Verb {
    name: "update",
    flags: FLAGS,
    usage: "[flags] ID",
    help: "change the limits of a container",
    run: |runtime, parsed| {
        update::update(runtime, &parsed.positional[0], &change(parsed)?)?;
        Ok(0)
    },
    ..Verb::OF_ONE_CONTAINER
};

const FLAGS: &[Flag] = &[
    option("resources", "FILE", "a JSON file like config.json's linux.resources, or - for standard input")
        .or('r'),
    option("blkio-weight", "N", "share of block I/O, 10 to 1000"),
    option("cpu-period", "US", "period of the CPU quota, in microseconds"),
    option("cpu-quota", "US", "CPU time in each period, in microseconds; -1 for no limit"),
    option("cpu-burst", "US", "unused CPU time that may be kept for later periods, in microseconds"),
    option("cpu-share", "N", "share of CPU time (1024 is usual)"),
    option("cpu-rt-period", "US", "period of the real-time quota, in microseconds (cgroup v1)"),
    option("cpu-rt-runtime", "US", "real-time CPU time in each period, in microseconds (cgroup v1)"),
    option("cpu-idle", "0|1", "1: only CPU time that nobody else wants"),
    option("cpuset-cpus", "LIST", "processors to use, such as 0-3,7"),
    option("cpuset-mems", "LIST", "memory nodes to use"),
    option("memory", "BYTES", "memory limit; k, m, g, t as units; -1 for none"),
    option("memory-reservation", "BYTES", "memory that is taken back last"),
    option("memory-swap", "BYTES", "limit of memory and swap together; -1 for none"),
    option("kernel-memory", "BYTES", ""),
    option("kernel-memory-tcp", "BYTES", ""),
    option("pids-limit", "N", "most processes; -1 for no limit"),
    option("l3-cache-schema", "SCHEMA", "Intel RDT: the share of the L3 cache, such as L3:0=f0;1=f"),
    option("mem-bw-schema", "SCHEMA", "Intel RDT: the share of memory bandwidth, such as MB:0=20;1=70"),
];

fn change(parsed: &Parsed) -> Result<Change> {
    let word = |name| parsed.value(name).unwrap_or_default().to_owned();
    let resources = match parsed.value("resources").filter(|file| !file.is_empty()) {
        Some(file) => bundle::load_resources(file)?,
        None => resources(parsed)?,
    };
    let (l3_cache_schema, mem_bw_schema) = (word("l3-cache-schema"), word("mem-bw-schema"));
    Ok(Change { resources, l3_cache_schema, mem_bw_schema })
}

fn resources(parsed: &Parsed) -> Result<Resources> {
    let mut resources = Resources::default();
    resources.block_io.weight = number(parsed, "blkio-weight")?;
    let cpu = &mut resources.cpu;
    cpu.period = number(parsed, "cpu-period")?;
    cpu.quota = number(parsed, "cpu-quota")?;
    cpu.burst = number(parsed, "cpu-burst")?;
    cpu.shares = number(parsed, "cpu-share")?;
    cpu.realtime_period = number(parsed, "cpu-rt-period")?;
    cpu.realtime_runtime = number(parsed, "cpu-rt-runtime")?;
    cpu.idle = number(parsed, "cpu-idle")?;
    cpu.cpus = parsed.value("cpuset-cpus").unwrap_or_default().to_owned();
    cpu.mems = parsed.value("cpuset-mems").unwrap_or_default().to_owned();
    let memory = &mut resources.memory;
    memory.limit = bytes(parsed, "memory")?;
    memory.reservation = bytes(parsed, "memory-reservation")?;
    memory.swap = bytes(parsed, "memory-swap")?;
    memory.kernel = bytes(parsed, "kernel-memory")?;
    memory.kernel_tcp = bytes(parsed, "kernel-memory-tcp")?;
    resources.pids.limit = number(parsed, "pids-limit")?;
    Ok(resources)
}

fn number<T: FromStr>(parsed: &Parsed, name: &str) -> Result<Option<T>> {
    let read = |text: &str| {
        text.parse().map_err(|_| usage(format!("invalid value for {name}: {text:?} is no such number")))
    };
    parsed.value(name).filter(|text| !text.is_empty()).map(read).transpose()
}

fn bytes(parsed: &Parsed, name: &str) -> Result<Option<i64>> {
    let read = |text: &str| {
        size(text).ok_or_else(|| {
            usage(format!("invalid value for {name}: {text:?} is no size such as 512m, or -1"))
        })
    };
    parsed.value(name).filter(|text| !text.is_empty()).map(read).transpose()
}

/// `1.5g`, `64KiB`, `100 mb`: a number of bytes, units of 1024 in any case, with or without `b` or `ib`.
fn size(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let end = text.rfind(|c: char| c.is_ascii_digit() || c == '.')? + 1;
    let (number, unit) = text.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let power = match unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit) {
        "" if unit != "ib" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let number: f64 = number.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)?;
    let bytes = number * 1024_f64.powi(power);
    // A number that large would be no limit.
    (bytes < 9e18).then_some(bytes as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("67108864", 67_108_864),
            ("50M", 52_428_800),
            ("1.5g", 1_610_612_736),
            ("64KiB", 65_536),
            ("10 mb", 10_485_760),
            ("7b", 7),
            ("-1", -1),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "m", "-2", "1x", "1mm", "1 ib", "nan", "inf", "99999999p", "1 2", "0x10"] {
            assert_eq!(size(text), None, "{text}");
        }
    }
}
