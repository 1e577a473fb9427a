// SPDX-License-Identifier: Apache-2.0
//! What `plan`, `spec` and `features` print: for people and for programs, without any privilege.

use conex_testkit::bundle::Bundle;
use conex_testkit::{Run, Sandbox, needs, require};
use serde_json::{Value, json};

#[test]
fn a_plan_names_every_step_and_does_none() {
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["echo", "hello"]));
    // So that the caller's privileges make no difference.
    bundle.change(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
        config["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]);
        config["linux"]["gidMappings"] = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]);
    });
    let text = sandbox.runtime(["plan"]).run().success().stdout;
    for line in [
        "clone with new namespaces: user ipc uts network pid mount",
        "mount proc at /proc",
        "pivot into the root",
        "set the hostname to conex",
        "execute echo hello",
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
    let json = sandbox.runtime(["plan", "--json", "--bundle"]).arg(&bundle.path).run().success().stdout;
    let plan: Value = serde_json::from_str(&json).unwrap();
    let steps = plan["steps"].as_array().unwrap();
    assert!(text.contains(&format!("{:4}  execute echo hello", steps.len())), "{text}");
    assert_eq!(plan["rootfs"], bundle.path.join("rootfs").to_str().unwrap());
    sandbox.finish();
}

#[test]
fn what_spec_writes_is_what_runc_writes() {
    let runc = needs!(require::program("runc"));
    for flags in [&[][..], &["--rootless"]] {
        let sandbox = Sandbox::new();
        let read = |name: &str| -> Value {
            let text = std::fs::read_to_string(sandbox.work().join(name).join("config.json")).unwrap();
            assert!(text.starts_with("{\n\t\"ociVersion\""), "{text}");
            serde_json::from_str(&text).unwrap()
        };
        for name in ["ours", "theirs"] {
            std::fs::create_dir(sandbox.work().join(name)).unwrap();
        }
        sandbox.runtime(["spec", "--bundle", "ours"]).args(flags).run().success();
        let again = sandbox.runtime(["spec", "--bundle", "ours"]).args(flags).run().exits(1);
        assert!(again.stderr.contains("File config.json exists. Remove it first"), "{again}");
        sandbox.command(&runc).args(["spec", "--bundle", "theirs"]).args(flags).run().success();
        let (ours, mut theirs) = (read("ours"), read("theirs"));
        // Debian's is older: later versions grant no ambient capabilities.
        theirs["ociVersion"] = ours["ociVersion"].clone();
        theirs["process"]["capabilities"].as_object_mut().unwrap().remove("ambient");
        assert_eq!(ours, theirs);
        sandbox.finish();
    }
}

#[test]
fn features_need_nothing_and_list_what_callers_look_for() {
    let sandbox = Sandbox::new();
    let output = sandbox.runtime(["features"]).run().success();
    assert!(output.stdout.starts_with("{\n    \"ociVersionMin\": \"1.0.0\""), "{output}");
    let features: Value = serde_json::from_str(&output.stdout).unwrap();
    let has = |list: &Value, word: &str| list.as_array().unwrap().iter().any(|one| one == word);
    assert!(has(&features["mountOptions"], "rro"));
    assert!(has(&features["hooks"], "createContainer"));
    assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], true);
    assert_eq!(features["linux"]["cgroup"]["systemd"], true);
    assert!(has(&features["linux"]["seccomp"]["operators"], "SCMP_CMP_MASKED_EQ"));
    sandbox.finish();
}

#[test]
fn systemd_is_not_pretended() {
    let sandbox = Sandbox::new();
    needs!(Bundle::create(&sandbox.work(), &["true"]));
    if std::path::Path::new("/run/systemd/system").exists() {
        conex_testkit::skip!("systemd runs here");
    }
    needs!(require::root());
    let output = sandbox.runtime(["--systemd-cgroup", "run", &sandbox.id("a")]).run().exits(1);
    assert!(output.stderr.contains("systemd is not running on this host"), "{output}");
    sandbox.finish();
}
