// SPDX-License-Identifier: Apache-2.0
use super::*;

fn violations(json: &str) -> Vec<String> {
    let config: Config = serde_json::from_str(json).unwrap();
    validate(&config).into_iter().map(|v| format!("{}: {}", v.pointer, v.message)).collect()
}

const MINIMAL: &str = r#"{"ociVersion":"1.3.0","root":{"path":"rootfs"},"process":{"cwd":"/","args":["sh"]}"#;

/// What the rules say to a valid configuration plus `more` keys.
fn with(more: &str) -> Vec<String> {
    violations(&format!("{MINIMAL},{more}}}"))
}

#[test]
fn the_least_configuration_is_valid() {
    assert_eq!(violations(&format!("{MINIMAL}}}")), Vec::<String>::new());
}

#[test]
fn every_mistake_is_reported() {
    assert_eq!(
        violations(r#"{"ociVersion":"2.0.0","process":{"cwd":"srv","args":[],"env":["=x","A=1"]}}"#),
        [
            "/ociVersion: version 2.0.0 of the specification is not supported, 1.x is",
            "/root: root must be specified: {\"path\": \"rootfs\"}",
            "/process/cwd: must be an absolute path, got \"srv\"",
            "/process/args: args must not be empty: the first is the program",
            "/process/env/0: must be NAME=value, got \"=x\"",
        ]
    );
}

#[test]
fn versions_with_suffixes_pass_and_words_do_not() {
    for (version, valid) in
        [("1.0.2-dev", true), ("1.2.0+dev", true), ("1.0", false), ("", false), ("v1.0.0", false)]
    {
        let json = MINIMAL.replace("1.3.0", version) + "}";
        assert_eq!(violations(&json).is_empty(), valid, "{version}");
    }
}

#[test]
fn namespaces_are_unique_and_their_paths_absolute() {
    assert_eq!(
        with(r#""linux":{"namespaces":[{"type":"pid"},{"type":"network","path":"netns/a"},{"type":"pid"}]}"#),
        [
            "/linux/namespaces/1/path: must be an absolute path, got \"netns/a\"",
            "/linux/namespaces/2/type: duplicated ns \"pid\": one of them must go",
        ]
    );
}

#[test]
fn mappings_need_a_namespace_and_a_namespace_mappings() {
    assert_eq!(
        with(r#""linux":{"uidMappings":[{"containerID":0,"hostID":1000,"size":1}]}"#),
        [
            "/linux/uidMappings: user namespace mappings specified, but user namespace isn't enabled in the config: add {\"type\": \"user\"} to linux.namespaces, or leave it out"
        ]
    );
    assert_eq!(
        with(
            r#""linux":{"namespaces":[{"type":"user"}],"uidMappings":[{"hostID":1000,"size":10},{"containerID":5,"hostID":9,"size":2}]}"#
        ),
        [
            "/linux/uidMappings/1/containerID: overlaps with an earlier range",
            "/linux/gidMappings: must not be empty, for there is a new user namespace",
        ]
    );
}

#[test]
fn a_sysctl_must_belong_to_a_namespace_of_the_container() {
    assert_eq!(
        with(
            r#""linux":{"namespaces":[{"type":"ipc"}],"sysctl":{"kernel.msgmax":"1","net.core.somaxconn":"1","kernel.panic":"1","kernel/../panic":"1"}}"#
        ),
        [
            "/linux/sysctl/kernel.panic: sysctl \"kernel.panic\" is not in a separate kernel namespace: set it on the host",
            "/linux/sysctl/kernel~1..~1panic: \"kernel/../panic\" is no name of a sysctl",
            "/linux/sysctl/net.core.somaxconn: sysctl \"net.core.somaxconn\" not allowed in host network namespace: add {\"type\": \"network\"} to linux.namespaces, or leave it out",
        ]
    );
}

#[test]
fn seccomp_rules_are_checked_one_by_one() {
    assert_eq!(
        with(
            r#""linux":{"seccomp":{"defaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":1,"architectures":["SCMP_ARCH_VAX"],
            "syscalls":[{"names":[],"action":"SCMP_ACT_ERRNO"},
                        {"names":["write"],"action":"SCMP_ACT_NOTIFY","args":[{"index":6,"op":"SCMP_CMP_EQ"}]}]}}"#
        ),
        [
            "/linux/seccomp/defaultErrnoRet: only SCMP_ACT_ERRNO and SCMP_ACT_TRACE take an errno",
            "/linux/seccomp/architectures/0: string SCMP_ARCH_VAX is not a valid arch for seccomp",
            "/linux/seccomp/syscalls/0/names: must name at least one system call",
            "/linux/seccomp/syscalls/1/action: SCMP_ACT_NOTIFY needs a listenerPath",
            "/linux/seccomp/syscalls/1/names: SCMP_ACT_NOTIFY cannot be used for the write syscall",
            "/linux/seccomp/syscalls/1/args/0/index: a system call has arguments 0 to 5",
        ]
    );
}

#[test]
fn mounts_name_their_source_and_type() {
    assert_eq!(
        with(
            r#""mounts":[{"destination":"","type":"tmpfs"},{"destination":"/a","source":"a\u0000b","options":["bind"]},{"destination":"/b"},{"destination":"/c","options":["rbind","idmap"],"source":"/x"}]"#
        ),
        [
            "/mounts/0/destination: must not be empty",
            "/mounts/1/source: must not contain a NUL character",
            "/mounts/2/type: must be given, for this is no bind mount",
            "/mounts/3: idmap needs uidMappings and gidMappings, or a user namespace to take them from",
        ]
    );
}

#[test]
fn limits_hooks_and_names_have_bounds() {
    assert_eq!(
        with(
            r#""hostname":"web","hooks":{"poststop":[{"path":"bin/x","timeout":0}]},"linux":{"netDevices":{"a/b":{}},"timeOffsets":{"realtime":{}}}"#
        ),
        [
            "/hooks/poststop/0/path: must be an absolute path, got \"bin/x\"",
            "/hooks/poststop/0/timeout: must be greater than zero",
            "/hostname: unable to set hostname without a private UTS namespace: add {\"type\": \"uts\"} to linux.namespaces, or leave it out",
            "/linux/timeOffsets/realtime: no such clock, there are monotonic and boottime",
            "/linux/timeOffsets/realtime: time namespace offsets specified, but time namespace isn't enabled in the config: add {\"type\": \"time\"} to linux.namespaces, or leave it out",
            "/linux/netDevices/a~1b: unable to move network devices without a NET namespace: add {\"type\": \"network\"} to linux.namespaces, or leave it out",
            "/linux/netDevices/a~1b: invalid network device name \"a/b\": 1 to 15 characters, no slash, colon or blank",
        ]
    );
    let process = r#"{"cwd":"/","args":["x"],"rlimits":[{"type":"RLIMIT_CORE","soft":2,"hard":1},{"type":"RLIMIT_CORE","soft":0,"hard":1}],"oomScoreAdj":1001}"#;
    let process: Process = serde_json::from_str(process).unwrap();
    let found: Vec<_> = process.validate().into_iter().map(|violation| violation.pointer).collect();
    assert_eq!(found, ["/rlimits/0/soft", "/rlimits/1/type", "/oomScoreAdj"]);
}

#[test]
fn limits_name_files_of_the_kernel_and_no_others() {
    assert_eq!(
        with(
            r#""linux":{"resources":{
            "devices":[{"allow":true},{"allow":true,"type":"u","major":5000000000,"minor":-2,"access":"rx"}],
            "memory":{"swappiness":101},
            "hugepageLimits":[{"pageSize":"2MB","limit":1},{"pageSize":"../x/2MB","limit":1}],
            "unified":{"../a.b":"1","memory.max":"1","nodot":"1"}}}"#
        ),
        [
            "/linux/resources/devices/0: device access field cannot be empty",
            "/linux/resources/devices/1/type: must be one of a, b, c, got \"u\"",
            "/linux/resources/devices/1/access: must be made of r, w, m, got \"rx\"",
            "/linux/resources/devices/1/major: must be between 0 and 4095, or -1 for any, got 5000000000",
            "/linux/resources/devices/1/minor: must be between 0 and 1048575, or -1 for any, got -2",
            "/linux/resources/memory/swappiness: must be between 0 and 100, got 101",
            "/linux/resources/hugepageLimits/1/pageSize: must be a size such as 2MB or 1GB, got \"../x/2MB\"",
            "/linux/resources/unified/..~1a.b: unified resource \"../a.b\" must be a file name (no slashes)",
            "/linux/resources/unified/nodot: unified resource \"nodot\" must be in the form CONTROLLER.PARAMETER",
        ]
    );
}

#[test]
fn lists_and_keys_are_checked() {
    assert_eq!(
        with(r#""annotations":{"":"x","a":""},"linux":{"memoryPolicy":{"mode":"MPOL_BIND","nodes":"0-"}}"#),
        [
            "/annotations: a key must not be empty",
            "/linux/memoryPolicy/nodes: invalid memory policy node: must be a list such as \"0-3,7\", got \"0-\""
        ]
    );
    assert_eq!(
        with(r#""linux":{"memoryPolicy":{"mode":"MPOL_LOCAL","nodes":"0-7"}}"#),
        ["/linux/memoryPolicy/nodes: mode requires 0 nodes but got 8"]
    );
    let process = r#"{"cwd":"/","args":["x"],"execCPUAffinity":{"initial":"x","final":"3-1"}}"#;
    let process: Process = serde_json::from_str(process).unwrap();
    let found: Vec<_> = process.validate().into_iter().map(|violation| violation.pointer).collect();
    assert_eq!(found, ["/execCPUAffinity/initial", "/execCPUAffinity/final"]);
}

#[test]
fn a_class_of_service_is_a_name_and_a_schema_a_line() {
    assert_eq!(
        with(
            r#""linux":{"intelRdt":{"closID":"../x","l3CacheSchema":"L3:0=f\nMB:0=1","memBwSchema":"L3:0=f","schemata":["a","b\n"]}}"#
        ),
        [
            "/linux/intelRdt/closID: must be the name of a directory, or /, got \"../x\"",
            "/linux/intelRdt/memBwSchema: must start with MB:, got \"L3:0=f\"",
            "/linux/intelRdt/l3CacheSchema: must not contain a newline",
            "/linux/intelRdt/schemata/1: must not contain a newline",
        ]
    );
    assert_eq!(with(r#""linux":{"intelRdt":{"closID":"/"}}"#), Vec::<String>::new());
}
