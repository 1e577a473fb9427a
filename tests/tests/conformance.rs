// SPDX-License-Identifier: Apache-2.0
//! What suites that judge runtimes ask and the other tests do not: the corners of the specification.

use std::fs;

use conex_testkit::bundle::Bundle;
use conex_testkit::{Run, Sandbox, needs, require};
use serde_json::{Value, json};

fn pid(sandbox: &Sandbox, id: &str) -> i64 {
    let state = sandbox.runtime(["state", id]).run().success().stdout;
    let state: Value = serde_json::from_str(&state).expect("JSON");
    state["pid"].as_i64().expect("a number")
}

#[test]
fn root_of_two_values_for_a_variable_the_last_one_counts() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sleep", "1000"]));
    bundle.change(|config| {
        config["process"]["env"] = json!(["PATH=/bin:/usr/bin", "WHO=first", "OTHER=1", "WHO=config"]);
    });
    let id = sandbox.id("env");
    sandbox.runtime(["run", "--detach", &id]).run().success();
    let named = |options: &[&str]| -> Vec<String> {
        let output = sandbox.runtime([&["exec"], options, &[&id, "env"]].concat()).run().success();
        output.stdout.lines().filter(|line| line.starts_with("WHO=")).map(str::to_owned).collect()
    };
    assert_eq!(named(&[]), ["WHO=config"]);
    assert_eq!(named(&["--env", "WHO=caller"]), ["WHO=caller"]);
    let init = fs::read_to_string(format!("/proc/{}/environ", pid(&sandbox, &id))).unwrap();
    assert_eq!(init, "PATH=/bin:/usr/bin\0OTHER=1\0WHO=config\0HOME=/root\0");
    sandbox.runtime(["delete", "--force", &id]).run().success();
    sandbox.finish();
}

#[test]
fn root_the_default_memory_policy_needs_no_nodes() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["cat", "/proc/self/numa_maps"]));
    bundle.change(|config| config["linux"]["memoryPolicy"] = json!({ "mode": "MPOL_DEFAULT" }));
    let output = sandbox.runtime(["run", &sandbox.id("numa")]).run().success();
    assert!(output.stdout.contains(" default "), "{output}");
    sandbox.finish();
}
