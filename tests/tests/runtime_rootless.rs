// SPDX-License-Identifier: Apache-2.0
//! Containers of an ordinary user: with one id, with a subordinate range, and without one.

use conex_testkit::bundle::Bundle;
use conex_testkit::user::{Range, User};
use conex_testkit::{Run, Sandbox, needs, require};
use serde_json::{Value, json};

fn rootless(bundle: &mut Bundle, mappings: Value) {
    bundle.change(|config| {
        config["linux"]["namespaces"].as_array_mut().expect("a list").push(json!({ "type": "user" }));
        config["linux"]["uidMappings"] = mappings.clone();
        config["linux"]["gidMappings"] = mappings;
    });
}

fn one_id(user: &User<'_>) -> Value {
    json!([{ "containerID": 0, "hostID": user.uid, "size": 1 }])
}

fn range(user: &User<'_>) -> Value {
    json!([{ "containerID": 0, "hostID": user.uid, "size": 1 },
           { "containerID": 1, "hostID": 700_000, "size": 65_536 }])
}

#[test]
fn root_a_user_with_one_id_runs_and_enters_a_container() {
    needs!(require::root());
    needs!(require::userns());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sleep", "1000"]));
    let user = sandbox.user(Range::Missing);
    rootless(&mut bundle, one_id(&user));
    user.own(&bundle.path);
    let runtime = |words: &[&str]| user.runtime(words).run();

    runtime(&["create", "early"]).success();
    // Who comes in sees the process that waits, and nothing of the host through it.
    let script = "tr '\\0' ' ' < /proc/1/cmdline | grep -c sleep; readlink /proc/1/exe; \
                  for fd in /proc/1/fd/*; do [ -e $fd/self/exe ] && echo a procfs; [ -S $fd ] && echo a socket; done; \
                  for fd in 0 1 2 3 4 5 6 7 8 9; do ls /proc/1/fd/$fd/..; done 2>/dev/null | grep -x early; echo end";
    let seen = runtime(&["exec", "early", "sh", "-c", script]).success().stdout;
    assert!(seen.ends_with("\nend\n"), "{seen}");
    assert!(!seen.contains("procfs") && !seen.contains("socket") && !seen.contains("early"), "{seen}");
    runtime(&["start", "early"]).success();
    runtime(&["delete", "--force", "early"]).success();

    runtime(&["run", "-d", "web"]).success();
    let state: Value = serde_json::from_str(&runtime(&["state", "web"]).success().stdout).unwrap();
    assert_eq!(state["status"], "running");
    assert!(sandbox.path("run/conex-runtime/web/state.json").exists(), "in $XDG_RUNTIME_DIR");
    let inside = runtime(&[
        "exec",
        "web",
        "sh",
        "-c",
        "id -u; cat /proc/self/uid_map | tr -s ' '; touch /x; hostname",
    ]);
    assert_eq!(inside.success().stdout, format!("0\n 0 {} 1\nconex\n", user.uid));
    runtime(&["kill", "web", "KILL"]).success();
    runtime(&["delete", "--force", "web"]).success();
    // Nobody has to wait until the program is there.
    for _ in 0..10 {
        runtime(&["run", "-d", "web"]).success();
        runtime(&["exec", "web", "true"]).success();
        runtime(&["delete", "--force", "web"]).success();
    }
    assert_eq!(runtime(&["list", "-q"]).success().stdout, "");
    sandbox.finish();
}

/// What an ordinary user has no right to on the host, and need not have.
#[test]
fn root_a_user_has_times_and_a_ptmx_and_is_told_of_strays() {
    needs!(require::root());
    needs!(require::userns());
    let sandbox = Sandbox::new();
    let script = "cut -d. -f1 /proc/uptime; readlink /dev/ptmx";
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sh", "-c", script]));
    let user = sandbox.user(Range::Missing);
    rootless(&mut bundle, one_id(&user));
    bundle.change(|config| {
        let linux = &mut config["linux"];
        linux["namespaces"].as_array_mut().unwrap().push(json!({ "type": "time" }));
        linux["timeOffsets"] = json!({ "boottime": { "secs": 100_000_000, "nanosecs": 0 } });
        linux["devices"] = json!([{ "path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2 }]);
    });
    user.own(&bundle.path);
    let output = user.runtime(["run", "web"]).run().success();
    let (uptime, ptmx) = output.stdout.split_once('\n').unwrap();
    assert!(uptime.parse::<u64>().unwrap() > 100_000_000, "{output}");
    assert_eq!(ptmx, "pts/ptmx\n");
    bundle.change(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
        // A new procfs is for who owns the pid namespace.
        let mounts = config["mounts"].as_array_mut().unwrap();
        let proc = mounts.iter_mut().find(|mount| mount["type"] == "proc").unwrap();
        *proc = json!({ "destination": "/proc", "source": "/proc", "type": "none", "options": ["rbind"] });
    });
    let output = user.runtime(["run", "web"]).run().success();
    assert!(output.stderr.contains("Such configuration is strongly discouraged"), "{output}");
    sandbox.finish();
}

/// A cgroup that cannot be had is missed where a limit needs it, and else not: as crun has it, for podman names one on
/// every host. (runc refuses.)
#[test]
fn root_a_users_cgroup_without_a_right_to_it_is_done_without() {
    needs!(require::root());
    needs!(require::userns());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["cat", "/proc/self/cgroup"]));
    let user = sandbox.user(Range::Missing);
    rootless(&mut bundle, one_id(&user));
    let path = format!("/{}/of-nobody", sandbox.id("cgroup"));
    bundle.change(|config| config["linux"]["cgroupsPath"] = json!(path));
    user.own(&bundle.path);
    let output = user.runtime(["run", "web"]).run().success();
    assert!(!output.stdout.contains("of-nobody"), "{output}");
    bundle.change(|config| config["linux"]["resources"] = json!({ "pids": { "limit": 5 } }));
    let refused = user.runtime(["run", "web"]).run().fails();
    assert!(
        refused.stderr.contains("cannot set pids limit: container could not join or create cgroup"),
        "{refused}"
    );
    sandbox.finish();
}

#[test]
fn root_a_user_with_a_range_has_other_users_inside() {
    needs!(require::root());
    needs!(require::userns());
    needs!(require::program("newuidmap"));
    let sandbox = Sandbox::new();
    let script = "id -u; id -g; tr -s ' ' < /proc/self/uid_map; grep ^Groups /proc/self/status; touch /dev/shm/mine; stat -c %u /dev/shm/mine";
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sh", "-c", script]));
    let user = sandbox.user(Range::Subordinate);
    rootless(&mut bundle, range(&user));
    bundle.change(|config| {
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1000, "additionalGids": [5] })
    });
    user.own(&bundle.path);
    let output = user.runtime(["run", "web"]).run().success();
    let wanted = format!("1000\n1000\n 0 {} 1\n 1 700000 65536\nGroups:\t5 \n1000\n", user.uid);
    assert_eq!(output.stdout, wanted);
    sandbox.finish();
}

#[test]
fn root_a_missing_range_is_an_error_that_leaves_nothing() {
    needs!(require::root());
    needs!(require::userns());
    needs!(require::program("newuidmap"));
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["true"]));
    let user = sandbox.user(Range::Missing);
    rootless(&mut bundle, range(&user));
    user.own(&bundle.path);
    let output = user.runtime(["run", "web"]).run().exits(1);
    assert!(output.stderr.contains("newuidmap") && output.stderr.contains("not allowed"), "{output}");
    assert_eq!(user.runtime(["list", "-q"]).run().success().stdout, "");
    bundle.change(|config| {
        config["linux"] = json!({ "namespaces": [{ "type": "mount" }] });
        config["hostname"] = json!("");
    });
    user.own(&bundle.path);
    user.runtime(["run", "web"]).run().exits(1).says("rootless container requires user namespaces");
    sandbox.finish();
}

#[test]
fn root_a_container_of_root_may_have_its_own_users() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    std::fs::create_dir_all(sandbox.path("data/shared")).unwrap();
    let shared = sandbox.path("data/shared").display().to_string();
    let script = "id -u; tr -s ' ' < /proc/self/uid_map; ls -d /shared; ls -l /dev/null | cut -c1; mount | grep -c ' on /proc '";
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sh", "-c", script]));
    let map = json!([{ "containerID": 0, "hostID": 600_000, "size": 65_536 }]);
    rootless(&mut bundle, map);
    bundle.change(|config| {
        let bind =
            json!({ "destination": "/shared", "source": shared, "type": "bind", "options": ["rbind"] });
        config["mounts"].as_array_mut().unwrap().push(bind);
    });
    let output = sandbox.runtime(["run", &sandbox.id("a")]).run();
    // The rootfs belongs to root of the host, who is nobody in there: the targets must exist beforehand.
    std::fs::create_dir_all(bundle.path.join("rootfs/shared")).unwrap();
    let output =
        if output.status.success() { output } else { sandbox.runtime(["run", &sandbox.id("b")]).run() };
    assert_eq!(output.success().stdout, "0\n 0 600000 65536\n/shared\nc\n1\n");
    sandbox.finish();
}
