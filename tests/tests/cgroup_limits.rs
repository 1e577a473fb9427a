// SPDX-License-Identifier: Apache-2.0
//! Limits, as the kernel and the processes inside feel them; on whichever cgroup version this host has.

use std::path::PathBuf;

use conex_testkit::bundle::Bundle;
use conex_testkit::{Output, Run, Sandbox, needs, require};
use serde_json::{Value, json};

/// Where the container's files of one controller are on this host.
fn directory(id: &str, controller: &str) -> PathBuf {
    let v1 = PathBuf::from("/sys/fs/cgroup").join(controller);
    if v1.is_dir() { v1.join(id) } else { PathBuf::from("/sys/fs/cgroup").join(id) }
}

fn is_v2() -> bool {
    PathBuf::from("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// Runs a script under limits, in a cgroup right below the top.
fn limited(sandbox: &Sandbox, script: &str, resources: &Value) -> require::Requirement<Output> {
    let mut bundle = Bundle::create(&sandbox.work(), &["sh", "-c", script])?;
    let id = sandbox.id("c");
    bundle.change(|config| {
        config["linux"]["cgroupsPath"] = format!("/{id}").into();
        config["linux"]["resources"] = resources.clone();
        let some = json!(["CAP_MKNOD", "CAP_KILL", "CAP_SYSLOG"]);
        config["process"]["capabilities"] = json!({ "bounding": some, "effective": some, "permitted": some });
    });
    Ok(sandbox.runtime(["run", &id]).run())
}

/// And what the runtime held open to get it there is not held by who waits for the start.
#[test]
fn root_a_limit_of_no_process_is_one_of_one() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let id = sandbox.id("c");
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sleep", "1000"]));
    bundle.change(|config| {
        config["linux"]["cgroupsPath"] = format!("/{id}").into();
        config["linux"]["resources"] = json!({ "pids": { "limit": 0 } });
    });
    sandbox.runtime(["create", "--pid-file", "pid", &id]).run().success();
    let limit = std::fs::read_to_string(directory(&id, "pids").join("pids.max")).unwrap();
    assert_eq!(limit, "1\n");
    let pid = std::fs::read_to_string(bundle.path.join("pid")).unwrap();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let open: Vec<_> = open.map(|fd| std::fs::read_link(fd.unwrap().path()).unwrap()).collect();
    assert!(!open.iter().any(|file| file.starts_with("/sys/fs/cgroup")), "{open:?}");
    sandbox.runtime(["delete", "--force", &id]).run().success();
    sandbox.finish();
}

#[test]
fn root_limits_stand_in_the_kernels_files() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let id = sandbox.id("c");
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sleep", "1000"]));
    bundle.change(|config| {
        config["linux"]["cgroupsPath"] = format!("/{id}").into();
        config["linux"]["resources"] = json!({
            "memory": { "limit": 67_108_864 }, "pids": { "limit": 33 },
            "cpu": { "shares": 512, "quota": 50_000, "period": 100_000 }
        });
    });
    sandbox.runtime(["create", &id]).run().success();
    let expected: &[(&str, &str, &str)] = if is_v2() {
        &[("", "memory.max", "67108864"), ("", "pids.max", "33"), ("", "cpu.max", "50000 100000")]
    } else {
        &[
            ("memory", "memory.limit_in_bytes", "67108864"),
            ("pids", "pids.max", "33"),
            ("cpu", "cpu.shares", "512"),
            ("cpu", "cpu.cfs_quota_us", "50000"),
        ]
    };
    for (controller, file, value) in expected {
        let path = directory(&id, controller).join(file);
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(text.trim(), *value, "{}", path.display());
    }
    sandbox.runtime(["delete", "--force", &id]).run().success();
    assert!(!directory(&id, "pids").exists());
    sandbox.finish();
}

#[test]
fn root_too_much_memory_ends_the_container_and_too_many_processes_do_not_start() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    // tail keeps what it reads until there is a line.
    let memory = json!({ "memory": { "limit": 33_554_432, "swap": 33_554_432 } });
    let output = needs!(limited(&sandbox, "exec tail /dev/zero", &memory));
    assert_eq!(output.code(), 137, "{output}");
    sandbox.finish();
    let sandbox = Sandbox::new();
    let script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; kill -9 -1; echo survived";
    let output = needs!(limited(&sandbox, script, &json!({ "pids": { "limit": 5 } })));
    assert!(output.stderr.contains("can't fork"), "{output}");
    sandbox.finish();
}

/// The container is made by processes that count in its cgroup already.
#[test]
fn root_half_a_mebibyte_is_enough_to_come_in() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let output = needs!(limited(&sandbox, "exit 7", &json!({ "memory": { "limit": 512 << 10 } })));
    assert_eq!(output.status.code(), Some(7), "{output}");
    sandbox.finish();
}

#[test]
fn root_only_listed_devices_open() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    // 1:1 is the memory, 1:11 the kernel's log, 1:5 a default device under another name.
    let script = "mknod /dev/m c 1 1 && (: < /dev/m) 2>&1; mknod /dev/k c 1 11 && (: < /dev/k) 2>&1 && echo log; \
                  (: > /dev/k) 2>&1; mknod /dev/z c 1 5 && head -c 3 /dev/z | wc -c; echo null > /dev/null && echo fine";
    let rules = json!({ "devices": [
        { "allow": false, "access": "rwm" },
        { "allow": true, "type": "c", "major": 1, "minor": 11, "access": "r" }
    ] });
    let output = needs!(limited(&sandbox, script, &rules)).success();
    let lines: Vec<_> = output.stdout.lines().collect();
    assert_eq!(lines.len(), 5, "{output}");
    assert!(lines[0].ends_with("/dev/m: Operation not permitted"), "{output}");
    assert_eq!(lines[1], "log");
    assert!(lines[2].ends_with("/dev/k: Operation not permitted"), "{output}");
    assert_eq!(lines[3..], ["3", "fine"]);
    sandbox.finish();
}

#[test]
fn root_a_cgroup_in_use_is_not_taken_twice() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let id = sandbox.id("c");
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sleep", "1000"]));
    bundle.change(|config| config["linux"]["cgroupsPath"] = format!("/{id}").into());
    sandbox.runtime(["create", &id]).run().success();
    let second = sandbox.runtime(["create", &sandbox.id("d")]).run().exits(1);
    assert!(second.stderr.contains("container's cgroup is not empty: 1 process(es) found"), "{second}");
    // The one that was there is unharmed.
    let state = sandbox.runtime(["state", &id]).run().success();
    assert!(state.stdout.contains("\"created\""), "{state}");
    sandbox.runtime(["delete", "--force", &id]).run().success();
    sandbox.finish();
}
