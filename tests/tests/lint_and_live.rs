// SPDX-License-Identifier: Apache-2.0
//! `lint` before a container is made, and `state --live` while it runs: the same configuration held against the host
//! and against the kernel.

use conex_testkit::bundle::Bundle;
use conex_testkit::user::Range;
use conex_testkit::{Run, Sandbox, needs, require};
use serde_json::{Value, json};

/// The rules that found something of this severity.
fn rules(text: &str, severity: &str) -> Vec<String> {
    let findings: Vec<Value> = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let found = findings.into_iter().filter(|finding| finding["severity"] == severity);
    found.map(|finding| finding["rule"].as_str().expect("a rule").to_owned()).collect()
}

#[test]
fn lint_tells_what_would_fail_and_that_is_what_fails() {
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["no-such-tool"]));
    let id = sandbox.id("c");
    let text = sandbox.runtime(["lint"]).run().exits(1).stdout;
    let line = text.lines().next().unwrap();
    assert!(line.starts_with("config.json:") && line.contains("/process/args/0"), "{text}");
    assert!(line.ends_with("correct the name, or PATH in process.env [missing-program]"), "{text}");

    bundle.change(|config| {
        config["process"]["args"] = json!(["true"]);
        let bind = json!({ "destination": "/x", "source": "/no/such", "type": "bind", "options": ["rbind"] });
        config["mounts"].as_array_mut().unwrap().push(bind);
        config["linux"]["resources"] = json!({ "unified": { "no.such": "1" } });
    });
    let output = sandbox.runtime(["lint", "--json"]).run().exits(1);
    assert!(rules(&output.stdout, "error").contains(&"missing-source".to_owned()), "{output}");
    sandbox.runtime(["run", &id]).run().exits(1);

    bundle.change(|config| {
        config["mounts"].as_array_mut().unwrap().pop();
        config["linux"]["resources"] = json!({});
    });
    let output = sandbox.runtime(["lint", "--json", "--bundle"]).arg(&bundle.path).run().success();
    assert_eq!(rules(&output.stdout, "error"), [""; 0]);
    assert!(rules(&output.stdout, "warning").contains(&"no-seccomp".to_owned()), "{output}");
    bundle.change(|config| config["process"]["cwd"] = json!(1));
    let output = sandbox.runtime(["lint"]).run().exits(1);
    assert!(output.stdout.contains("error: /process/cwd: invalid type: integer `1`"), "{output}");
    sandbox.finish();
}

#[test]
fn root_an_ordinary_user_is_told_of_ids_that_are_not_theirs() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["true"]));
    let user = sandbox.user(Range::Missing);
    bundle.change(|config| {
        let map = json!([{ "containerID": 0, "hostID": user.uid, "size": 2 }]);
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
    });
    user.own(&bundle.path);
    let output = user.runtime(["lint", "--json"]).run().exits(1);
    assert_eq!(rules(&output.stdout, "error"), ["id-map-not-allowed"; 2], "{output}");
    sandbox.finish();
}

/// What `state --live` says, and whether it exits with 0.
fn live(sandbox: &Sandbox, id: &str, status: i32) -> Value {
    let output = sandbox.runtime(["state", "--live", id]).run().exits(status);
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"))
}

/// The pointers of the facts that differ.
fn differing(live: &Value) -> Vec<&str> {
    let facts = live["facts"].as_array().expect("facts").iter();
    facts
        .filter(|fact| fact["agrees"] == false)
        .map(|fact| fact["pointer"].as_str().expect("a pointer"))
        .collect()
}

#[test]
fn root_what_was_asked_for_is_what_the_kernel_says() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sleep", "1000"]));
    std::os::unix::fs::symlink("/tmp", bundle.path.join("rootfs/link")).unwrap();
    std::fs::create_dir_all(bundle.path.join("rootfs/tmp")).unwrap();
    let id = sandbox.id("c");
    bundle.change(|config| {
        config["process"]["user"] = json!({ "uid": 1000, "gid": 100, "additionalGids": [7], "umask": 63 });
        config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }]);
        config["process"]["oomScoreAdj"] = json!(500);
        config["root"]["readonly"] = json!(true);
        config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["reboot"], "action": "SCMP_ACT_ERRNO" }] });
        config["linux"]["resources"] = json!({ "memory": { "limit": 40_000_000 }, "pids": { "limit": 30 } });
        let tmpfs = json!({ "destination": "/link", "type": "tmpfs", "source": "t", "options": ["nosuid"] });
        config["mounts"].as_array_mut().unwrap().push(tmpfs);
    });
    sandbox.runtime(["create", &id]).run().success();
    assert_eq!(live(&sandbox, &id, 0)["status"], "created");
    sandbox.runtime(["start", &id]).run().success();

    let found = live(&sandbox, &id, 0);
    let pointers: Vec<_> = found["facts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fact| fact["pointer"].as_str().expect("a pointer"))
        .collect();
    for pointer in [
        "/process/user/umask",
        "/process/capabilities/effective",
        "/process/rlimits/0",
        "/linux/seccomp",
        "/linux/namespaces",
        "/mounts/6",
        "/linux/maskedPaths/1",
        "/linux/readonlyPaths/1",
        "/linux/resources",
        "/root/readonly",
    ] {
        assert!(pointers.contains(&pointer), "no {pointer} in {found:#}");
    }

    // Behind the runtime's back.
    let pid = found["pid"].to_string();
    std::fs::write(format!("/proc/{pid}/oom_score_adj"), "600").unwrap();
    let remount = ["--target", &pid, "--mount", "--pid", "mount", "-o", "remount,bind,rw", "/proc/sys"];
    sandbox.command("nsenter").args(remount).run().success();
    let found = live(&sandbox, &id, 1);
    assert_eq!(differing(&found), ["/process/oomScoreAdj", "/linux/readonlyPaths/1"], "{found:#}");

    sandbox.runtime(["delete", "--force", &id]).run().success();
    sandbox.runtime(["state", "--live", &id]).run().exits(1).says("does not exist");
    sandbox.finish();
}
