// SPDX-License-Identifier: Apache-2.0
//! Golden lines: what is written for each resource of the specification, in both versions.

use super::v2::{io_weight, weight_from_shares};
use super::*;

fn lines(version: Version, json: &str) -> Vec<String> {
    let resources: Resources = serde_json::from_str(json).unwrap();
    match settings(version, &resources) {
        Ok(settings) => settings.iter().map(shown).collect(),
        Err(error) => vec![error.to_string()],
    }
}

fn shown(setting: &Setting) -> String {
    let first = format!("{} {}", setting.file, setting.value);
    match &setting.otherwise {
        Otherwise::Fail => first,
        Otherwise::Nothing => first + " (if there)",
        Otherwise::Write { file, value } => format!("{first} or {file} {value}"),
    }
}

#[test]
fn memory_and_swap() {
    let limited = r#"{"memory":{"limit":100,"swap":150,"reservation":50,"swappiness":10}}"#;
    assert_eq!(lines(Version::V2, limited), ["memory.swap.max 50", "memory.max 100", "memory.low 50"]);
    assert_eq!(
        lines(Version::V1, limited),
        [
            "memory.memsw.limit_in_bytes 150",
            "memory.limit_in_bytes 100",
            "memory.soft_limit_in_bytes 50",
            "memory.swappiness 10"
        ]
    );
    let unlimited = r#"{"memory":{"limit":-1}}"#;
    assert_eq!(lines(Version::V2, unlimited), ["memory.swap.max max (if there)", "memory.max max"]);
    assert_eq!(
        lines(Version::V1, unlimited),
        ["memory.memsw.limit_in_bytes -1 (if there)", "memory.limit_in_bytes -1"]
    );
    let no_swap = r#"{"memory":{"limit":100,"swap":100}}"#;
    assert_eq!(lines(Version::V2, no_swap), ["memory.swap.max 0 (if there)", "memory.max 100"]);
    let only_swap = r#"{"memory":{"limit":-1,"swap":70}}"#;
    assert_eq!(lines(Version::V2, only_swap), ["memory.swap.max 70", "memory.max max"]);
    assert_eq!(lines(Version::V2, r#"{"memory":{"limit":0,"swap":0,"reservation":0}}"#), [""; 0]);
}

#[test]
fn memory_that_makes_no_sense() {
    for version in [Version::V1, Version::V2] {
        assert_eq!(
            lines(version, r#"{"memory":{"limit":100,"swap":50}}"#),
            ["linux.resources: memory+swap limit should be >= memory limit"]
        );
    }
    assert_eq!(
        lines(Version::V2, r#"{"memory":{"swap":50}}"#),
        ["linux.resources: unable to set swap limit without memory limit"]
    );
    assert_eq!(
        lines(Version::V2, r#"{"memory":{"limit":-2,"swap":50}}"#),
        ["linux.resources: invalid memory value: -2"]
    );
    assert_eq!(
        lines(Version::V1, r#"{"memory":{"swappiness":101}}"#),
        ["linux.resources: invalid memory swappiness value: 101 (valid range is 0-100)"]
    );
}

#[test]
fn out_of_memory_without_a_killer_is_v1() {
    let json = r#"{"memory":{"disableOOMKiller":true}}"#;
    assert_eq!(lines(Version::V1, json), ["memory.oom_control 1"]);
    assert_eq!(lines(Version::V2, json), [""; 0]);
}

#[test]
fn cpu() {
    let json = r#"{"cpu":{"shares":1024,"quota":50000,"burst":7,"cpus":"0-1","mems":"0"}}"#;
    assert_eq!(
        lines(Version::V2, json),
        ["cpu.weight 100", "cpu.max 50000 100000", "cpu.max.burst 7", "cpuset.cpus 0-1", "cpuset.mems 0"]
    );
    assert_eq!(
        lines(Version::V1, json),
        [
            "cpu.shares 1024",
            "cpu.cfs_quota_us 50000",
            "cpu.cfs_burst_us 7",
            "cpuset.cpus 0-1",
            "cpuset.mems 0"
        ]
    );
    let json = r#"{"cpu":{"quota":-1,"period":200000}}"#;
    assert_eq!(lines(Version::V2, json), ["cpu.max max 200000"]);
    assert_eq!(lines(Version::V1, json), ["cpu.cfs_period_us 200000", "cpu.cfs_quota_us -1"]);
    let json = r#"{"cpu":{"realtimeRuntime":950,"realtimePeriod":1000}}"#;
    assert_eq!(lines(Version::V1, json), ["cpu.rt_period_us 1000", "cpu.rt_runtime_us 950"]);
    assert_eq!(lines(Version::V2, json), [""; 0]);
}

#[test]
fn an_idle_group_has_no_weight() {
    let json = r#"{"cpu":{"shares":1024,"idle":1}}"#;
    assert_eq!(lines(Version::V2, json), ["cpu.idle 1"]);
    assert_eq!(lines(Version::V1, json), ["cpu.idle 1"]);
    let json = r#"{"cpu":{"shares":1024,"idle":0}}"#;
    assert_eq!(lines(Version::V2, json), ["cpu.idle 0", "cpu.weight 100"]);
}

#[test]
fn shares_that_v1_would_change() {
    assert_eq!(
        lines(Version::V1, r#"{"cpu":{"shares":262145}}"#),
        ["linux.resources: the maximum allowed cpu-shares is 262144"]
    );
    assert_eq!(
        lines(Version::V1, r#"{"cpu":{"shares":1}}"#),
        ["linux.resources: the minimum allowed cpu-shares is 2"]
    );
}

#[test]
fn weights_meet_at_the_ends_and_at_the_default() {
    let pairs = [
        (1, 1),
        (2, 1),
        (3, 2),
        (10, 4),
        (100, 17),
        (512, 59),
        (1024, 100),
        (2048, 174),
        (10_240, 639),
        (262_143, 10_000),
        (262_144, 10_000),
        (u64::MAX, 10_000),
    ];
    for (shares, weight) in pairs {
        assert_eq!(weight_from_shares(shares), weight, "{shares}");
    }
    assert_eq!([10, 100, 500, 1000].map(io_weight), [1, 910, 4950, 10_000]);
}

#[test]
fn processes() {
    for (limit, value) in [(7, "7"), (0, "1"), (-1, "max")] {
        for version in [Version::V1, Version::V2] {
            let json = format!(r#"{{"pids":{{"limit":{limit}}}}}"#);
            assert_eq!(lines(version, &json), [format!("pids.max {value}")]);
        }
    }
}

#[test]
fn block_io() {
    let json = r#"{"blockIO":{"weight":500,"leafWeight":300,
        "weightDevice":[{"major":8,"minor":0,"weight":600,"leafWeight":200}],
        "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":600}],
        "throttleWriteBpsDevice":[{"major":8,"minor":16,"rate":0}],
        "throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":30}],
        "throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":40}]}}"#;
    assert_eq!(
        lines(Version::V2, json),
        [
            "io.bfq.weight 500 or io.weight 4950",
            "io.bfq.weight 8:0 600 or io.weight 8:0 5960",
            "io.max 8:0 rbps=600",
            "io.max 8:16 wbps=max",
            "io.max 8:0 riops=30",
            "io.max 8:0 wiops=40"
        ]
    );
    assert_eq!(
        lines(Version::V1, json),
        [
            "blkio.bfq.weight 500 or blkio.weight 500",
            "blkio.leaf_weight 300",
            "blkio.bfq.weight_device 8:0 600 or blkio.weight_device 8:0 600",
            "blkio.leaf_weight_device 8:0 200",
            "blkio.throttle.read_bps_device 8:0 600",
            "blkio.throttle.write_bps_device 8:16 0",
            "blkio.throttle.read_iops_device 8:0 30",
            "blkio.throttle.write_iops_device 8:0 40"
        ]
    );
}

#[test]
fn huge_pages_rdma_and_network() {
    let json = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4}],
        "rdma":{"mlx5_1":{"hcaHandles":3},"mlx5_2":{"hcaHandles":1,"hcaObjects":2}},
        "network":{"classID":1048577,"priorities":[{"name":"lo","priority":5}]}}"#;
    let rdma = ["rdma.max mlx5_1 hca_handle=3", "rdma.max mlx5_2 hca_handle=1 hca_object=2"];
    let pages = ["hugetlb.2MB.max 4", "hugetlb.2MB.rsvd.max 4 (if there)"];
    assert_eq!(lines(Version::V2, json), [pages, rdma].concat());
    let pages = ["hugetlb.2MB.limit_in_bytes 4", "hugetlb.2MB.rsvd.limit_in_bytes 4 (if there)"];
    let network = ["net_cls.classid 1048577", "net_prio.ifpriomap lo 5"];
    assert_eq!(lines(Version::V1, json), [network, pages, rdma].concat());
}

#[test]
fn unified_is_taken_as_it_is() {
    let json = r#"{"unified":{"memory.high":"1\n2"}}"#;
    assert_eq!(lines(Version::V2, json), ["memory.high 1", "memory.high 2"]);
    assert_eq!(lines(Version::V1, json), ["linux.resources: unified needs cgroup v2, and this host has v1"]);
}

#[test]
fn a_weight_beside_idle_is_left_out_and_told() {
    let idle = "cpu.idle 1";
    for json in [
        r#"{"cpu":{"idle":1,"shares":512}}"#,
        r#"{"unified":{"cpu.idle":"1","cpu.weight":"8"}}"#,
        r#"{"cpu":{"idle":1},"unified":{"cpu.weight":"8"}}"#,
    ] {
        assert_eq!(lines(Version::V2, json), [idle], "{json}");
        let told = ignored(Version::V2, &serde_json::from_str(json).unwrap());
        assert_eq!(told, ["unable to apply both cpu.weight and cpu.idle: an idle cgroup has no weight"]);
    }
    let json = r#"{"unified":{"cpu.idle":"0","cpu.weight":"8"}}"#;
    assert_eq!(lines(Version::V2, json), ["cpu.idle 0", "cpu.weight 8"]);
}

#[test]
fn what_a_version_lacks_is_told() {
    let json = r#"{"memory":{"swappiness":1,"disableOOMKiller":true,"kernel":5},"cpu":{"realtimeRuntime":1},
        "blockIO":{"leafWeight":10},"network":{"classID":1,"priorities":[{"name":"lo","priority":1}]}}"#;
    let resources: Resources = serde_json::from_str(json).unwrap();
    assert_eq!(ignored(Version::V1, &resources), ["Kernel memory settings are ignored and will be removed"]);
    let v2 = ignored(Version::V2, &resources);
    assert_eq!(v2.len(), 7, "{v2:?}");
    assert_eq!(v2[1], "linux.resources.memory.swappiness: cgroup v2 has no such thing, ignored");
    assert_eq!(ignored(Version::V2, &Resources::default()), [""; 0]);
}
