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

/// In the hybrid a controller without a hierarchy of v1 is in the v2 part.
#[test]
fn root_huge_pages_are_limited_in_the_part_that_has_them() {
    needs!(require::root());
    let v2 = PathBuf::from("/sys/fs/cgroup/unified");
    let controllers = std::fs::read_to_string(v2.join("cgroup.controllers")).unwrap_or_default();
    let size = "/sys/kernel/mm/hugepages/hugepages-2048kB";
    if !controllers.contains("hugetlb") || !PathBuf::from(size).exists() {
        let reason = "needs a hybrid host with huge pages of 2 MiB counted by cgroup v2";
        return require::print_skip("root_huge_pages_are_limited_in_the_part_that_has_them", reason);
    }
    let sandbox = Sandbox::new();
    let id = sandbox.id("c");
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sleep", "1000"]));
    bundle.change(|config| {
        config["linux"]["cgroupsPath"] = format!("/{id}").into();
        config["linux"]["resources"] = json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 4 << 20 }],
                                               "pids": { "limit": 9 } });
    });
    sandbox.runtime(["run", "-d", &id]).run().success();
    let read = |file: &str| std::fs::read_to_string(v2.join(&id).join(file)).unwrap();
    assert_eq!(read("hugetlb.2MB.max"), "4194304\n");
    assert_eq!(read("hugetlb.2MB.rsvd.max"), "4194304\n");
    assert_eq!(read("cgroup.procs").lines().count(), 1);
    let live = sandbox.runtime(["state", "--live", &id]).run().success();
    assert!(live.stdout.contains("hugetlb.2MB.max: 4194304"), "{live}");
    let change = br#"{"hugepageLimits":[{"pageSize":"2MB","limit":0}]}"#;
    sandbox
        .runtime(["update", "-r", "-", &id])
        .run_with(change, std::time::Duration::from_secs(60))
        .success();
    assert_eq!(read("hugetlb.2MB.max"), "0\n");
    sandbox.runtime(["delete", "--force", &id]).run().success();
    sandbox.finish();
}

/// The first makes the directories above, the last one takes them away.
#[test]
fn root_a_parent_made_on_the_way_goes_with_the_last_container_below() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sleep", "1000"]));
    let above = sandbox.id("above");
    let there = || directory(&above, "pids").exists();
    let ids = ["a", "b", "c"].map(|name| sandbox.id(name));
    for id in &ids {
        bundle.change(|config| config["linux"]["cgroupsPath"] = format!("/{above}/deep/{id}").into());
        sandbox.runtime(["run", "-d", id]).run().success();
    }
    for id in &ids {
        assert!(there());
        sandbox.runtime(["delete", "--force", id]).run().success();
    }
    assert!(!there());
    // One that was there before is somebody else's.
    std::fs::create_dir(directory(&above, "pids")).unwrap();
    sandbox.runtime(["run", "-d", &ids[0]]).run().success();
    sandbox.runtime(["delete", "--force", &ids[0]]).run().success();
    std::fs::remove_dir(directory(&above, "pids")).unwrap();
    sandbox.finish();
}

/// config-linux.md, "Cgroup ownership", behind a mount of cgroup v2 alone: with a cgroup namespace and a writable
/// mount the directory and what the kernel lists is the container's root's, and nothing else.
#[test]
fn root_a_container_owns_its_cgroup_where_it_may_write_to_it() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let script =
        "stat -c '%u %n' . cgroup.procs cgroup.threads cgroup.subtree_control cgroup.freeze cgroup.max.depth";
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sh", "-c", script]));
    let rootfs = bundle.path.join("rootfs");
    std::fs::create_dir_all(rootfs.join("sys/fs/cgroup")).unwrap();
    std::fs::create_dir_all(rootfs.join("dev")).unwrap();
    for name in ["", "dev"] {
        std::os::unix::fs::chown(rootfs.join(name), Some(500_000), Some(500_000)).unwrap();
    }
    let mut owners = |options: Value| {
        bundle.change(|config| {
            let linux = &mut config["linux"];
            linux["namespaces"] =
                ["user", "mount", "pid", "ipc", "uts", "cgroup"].map(|kind| json!({ "type": kind })).into();
            linux["uidMappings"] = json!([{ "containerID": 0, "hostID": 500_000, "size": 1000 }]);
            linux["gidMappings"] = linux["uidMappings"].clone();
            linux["cgroupsPath"] = format!("/{}", sandbox.id("own")).into();
            config["process"]["cwd"] = json!("/sys/fs/cgroup");
            config["mounts"] = json!([{ "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options }]);
        });
        let alone = "umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"";
        let runtime = sandbox.runtime(["run", &sandbox.id("own")]);
        let mut command = sandbox.command("unshare");
        command
            .args(["--mount", "--propagation", "private", "sh", "-c", alone, "sh"])
            .arg(runtime.get_program());
        command.args(runtime.get_args()).current_dir(&bundle.path).run().success().stdout
    };
    let nobody = "65534";
    let [own, others] = ["0", nobody].map(|uid| move |file: &str| format!("{uid} {file}\n"));
    let delegated = [".", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"];
    let rest = ["cgroup.freeze", "cgroup.max.depth"].map(others).concat();
    assert_eq!(owners(json!(["rw"])), delegated.map(own).concat() + &rest);
    assert_eq!(owners(json!(["ro"])), delegated.map(others).concat() + &rest);
    sandbox.finish();
}

/// With CLONE_INTO_CGROUP, behind a mount of cgroup v2 alone: nobody is moved there by a write, and who comes in enters
/// the namespaces by one setns.
#[test]
fn root_processes_are_born_in_their_cgroup() {
    needs!(require::root());
    let strace = needs!(require::program("strace"));
    let sandbox = Sandbox::new();
    let id = sandbox.id("born");
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["true"]));
    bundle.change(|config| config["linux"]["cgroupsPath"] = format!("/{id}").into());
    let alone = |before: &[&str], words: &[&str]| {
        let script = "umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"";
        let runtime = sandbox.runtime(words);
        let mut command = sandbox.command("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]).args(before);
        command.arg(runtime.get_program()).args(runtime.get_args()).current_dir(&bundle.path).run().success();
    };
    let traced = |words: &[&str]| {
        let (calls, strace) = (sandbox.path("calls"), strace.to_str().unwrap());
        let trace = ["-f", "-e", "trace=clone3,setns,open,openat,openat2,creat", "-o"];
        alone(&[&[strace][..], &trace, &[calls.to_str().unwrap()]].concat(), words);
        std::fs::read_to_string(calls).unwrap()
    };
    // How many lines have all of these words.
    let count = |calls: &str, words: &[&str]| {
        calls.lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
    };
    let moves = |calls: &str| {
        let writing = ["O_WRONLY", "O_RDWR", "creat("];
        writing.iter().map(|flag| count(calls, &["cgroup.procs", flag])).sum::<usize>()
    };
    let run = traced(&["run", &id]);
    assert_eq!(count(&run, &[" clone3({", "CLONE_INTO_CGROUP"]), 1, "{run}");
    assert_eq!(moves(&run), 0, "{run}");

    bundle.config["process"]["args"] = json!(["sleep", "1000"]);
    bundle.write();
    alone(&[], &["run", "--detach", &id]);
    let exec = traced(&["exec", &id, "true"]);
    assert_eq!(count(&exec, &[" clone3({", "CLONE_INTO_CGROUP"]), 1, "{exec}");
    assert_eq!(count(&exec, &[" setns("]), 1, "{exec}");
    assert_eq!(moves(&exec), 0, "{exec}");
    alone(&[], &["delete", "--force", &id]);
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
