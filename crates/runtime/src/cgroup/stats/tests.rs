// SPDX-License-Identifier: Apache-2.0
//! Golden readings of directories as kernels write them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::*;

fn directory_with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, text)| fs::write(directory.path().join(name), text).unwrap());
    directory
}

fn stats(directories: &[(&str, &Path)]) -> Value {
    let named = directories.iter().map(|(name, path)| ((*name).into(), path.to_str().unwrap().to_owned()));
    serde_json::to_value(Cgroup::open(named.collect()).stats().unwrap()).unwrap()
}

#[test]
fn v2() {
    let files = [
        (
            "cpu.stat",
            "usage_usec 7\nuser_usec 5\nsystem_usec 2\nnr_periods 4\nnr_throttled 3\nthrottled_usec 9\n",
        ),
        (
            "cpu.pressure",
            "some avg10=1.50 avg60=0.25 avg300=0.00 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
        ),
        ("cpuset.cpus.effective", "0-1,3\n"),
        ("cpuset.mems.effective", "0\n"),
        ("memory.current", "100\n"),
        ("memory.max", "max\n"),
        ("memory.peak", "120\n"),
        ("memory.swap.current", "10\n"),
        ("memory.swap.max", "50\n"),
        ("memory.stat", "anon 60\nfile 40\n"),
        ("pids.current", "3\n"),
        ("pids.max", "max\n"),
        ("io.stat", "8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=5 dios=0\n259:3 \n"),
        ("hugetlb.2MB.max", "max\n"),
        ("hugetlb.2MB.rsvd.max", "max\n"),
        ("hugetlb.2MB.rsvd.current", "2097152\n"),
        ("hugetlb.2MB.events", "max 6\n"),
    ];
    let directory = directory_with(&files);
    let mut found = stats(&[("", directory.path())]);
    let cpuset = found.as_object_mut().unwrap().remove("cpuset").unwrap();
    assert_eq!((&cpuset["cpus"], &cpuset["mems"]), (&json!([0, 1, 3]), &json!([0])));
    let entry = |op: &str, value: u64| {
        let mut entry = json!({ "major": 8, "op": op });
        if value > 0 {
            entry["value"] = value.into();
        }
        entry
    };
    let expected = json!({
        "cpu": {
            "usage": { "total": 7000, "kernel": 2000, "user": 5000 },
            "throttling": { "periods": 4, "throttledPeriods": 3, "throttledTime": 9000 },
            "psi": { "some": { "avg10": 1.5, "avg60": 0.25, "avg300": 0.0, "total": 77 } }
        },
        "memory": {
            "cache": 40,
            "usage": { "limit": u64::MAX, "usage": 100, "max": 120, "failcnt": 0 },
            "swap": { "limit": u64::MAX, "usage": 110, "failcnt": 0 },
            "raw": { "anon": 60, "file": 40 }
        },
        "pids": { "current": 3 },
        "blkio": {
            "ioServiceBytesRecursive": [entry("Read", 4096), entry("Write", 0)],
            "ioServicedRecursive": [entry("Read", 1), entry("Write", 0)]
        },
        "hugetlb": { "2MB": { "usage": 2_097_152, "failcnt": 6 } }
    });
    assert_eq!(found, expected);
}

#[test]
fn v1() {
    let memory = directory_with(&[
        ("memory.limit_in_bytes", "33554432\n"),
        ("memory.usage_in_bytes", "100\n"),
        ("memory.max_usage_in_bytes", "200\n"),
        ("memory.failcnt", "5\n"),
        // A kernel without a limit for its own memory.
        ("memory.kmem.usage_in_bytes", "7\n"),
        ("memory.stat", "cache 9\nhierarchical_memory_limit 33554432\n"),
    ]);
    let cpu = directory_with(&[
        ("cpu.stat", "nr_periods 2\nnr_throttled 1\nthrottled_time 30\n"),
        ("cpuacct.stat", "user 3\nsystem 2\n"),
        ("cpuacct.usage", "60000000\n"),
        ("cpuacct.usage_percpu", "50000000 10000000 \n"),
        ("cpuacct.usage_all", "cpu user system\n0 30 20\n1 10 0\n"),
    ]);
    let blkio = directory_with(&[
        ("blkio.bfq.io_serviced_recursive", "Total 0\n"),
        ("blkio.throttle.io_serviced_recursive", "8:0 Read 1\n8:0 Total 1\nTotal 1\n"),
        ("blkio.throttle.io_service_bytes_recursive", "8:0 Read 512\nTotal 512\n"),
    ]);
    let pids = directory_with(&[("pids.current", "1\n"), ("pids.max", "20\n")]);
    let found = stats(&[
        ("memory", memory.path()),
        ("cpu", cpu.path()),
        ("cpuacct", cpu.path()),
        ("blkio", blkio.path()),
        ("pids", pids.path()),
    ]);
    assert_eq!(
        found["cpu"],
        json!({
            "usage": {
                "total": 60_000_000, "percpu": [50_000_000, 10_000_000], "percpu_kernel": [20, 0],
                "percpu_user": [30, 10], "kernel": 20_000_000, "user": 30_000_000
            },
            "throttling": { "periods": 2, "throttledPeriods": 1, "throttledTime": 30 }
        })
    );
    assert_eq!(
        found["memory"],
        json!({
            "cache": 9,
            "usage": { "limit": 33_554_432, "usage": 100, "max": 200, "failcnt": 5 },
            "kernel": { "limit": 0, "usage": 7, "failcnt": 0 },
            "raw": { "cache": 9, "hierarchical_memory_limit": 33_554_432 }
        })
    );
    assert_eq!(
        found["blkio"],
        json!({
            "ioServiceBytesRecursive": [{ "major": 8, "op": "Read", "value": 512 }],
            "ioServicedRecursive": [
                { "major": 8, "op": "Read", "value": 1 }, { "major": 8, "op": "Total", "value": 1 }
            ]
        })
    );
    assert_eq!(found["pids"], json!({ "current": 1, "limit": 20 }));
}

#[test]
fn a_file_that_makes_no_sense_is_named() {
    let directory = directory_with(&[("pids.current", "many\n")]);
    let path = directory.path().to_str().unwrap();
    let error = Cgroup::open([(String::new(), path.to_owned())].into()).stats().unwrap_err();
    assert_eq!(error.to_string(), format!("{path}/pids.current: expected a number, found \"many\""));
}
