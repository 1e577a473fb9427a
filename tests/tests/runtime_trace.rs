// SPDX-License-Identifier: Apache-2.0
//! `--trace FILE`: the steps of `plan`, with what each took, as an array of trace events.

use std::fs;
use std::path::Path;
use std::time::Duration;

use conex_testkit::bundle::Bundle;
use conex_testkit::run::poll;
use conex_testkit::{Run, Sandbox, needs, require};
use serde_json::{Value, json};

/// The names of one row, each with its beginning and end in microseconds.
fn row(events: &[Value], tid: u8) -> Vec<(String, f64, f64)> {
    let spans = events.iter().filter(|event| event["ph"] == "X" && event["tid"] == tid);
    spans
        .map(|span| {
            let (begin, length) = (span["ts"].as_f64().expect("ts"), span["dur"].as_f64().expect("dur"));
            (span["name"].as_str().expect("a name").to_owned(), begin, begin + length)
        })
        .collect()
}

fn events(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).expect("the trace");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// What `plan` prints under a title.
fn planned(plan: &str, title: &str) -> Vec<String> {
    let part = plan.lines().skip_while(|line| *line != title).skip(1);
    part.map_while(|line| Some(line.strip_prefix("  ")?.trim_start().split_once("  ")?.1.to_owned()))
        .collect()
}

#[test]
fn root_a_trace_has_the_steps_of_the_plan() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["ls", "-l", "/proc/self/fd"]));
    bundle.change(|config| {
        // Its clock is years ahead: a trace must not show that.
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "time" }));
        config["linux"]["timeOffsets"] = json!({ "monotonic": { "secs": 100_000_000 } });
        config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["reboot"], "action": "SCMP_ACT_ERRNO" }] });
    });
    let (file, id) = (sandbox.path("trace.json"), sandbox.id("c"));
    let plan = sandbox.runtime(["plan", &id]).run().success().stdout;
    let output = sandbox.runtime(["run", "--trace"]).arg(&file).arg(&id).run().success();
    assert!(!output.stdout.contains("trace.json"), "{output}");

    let events = events(&file);
    let inside = row(&events, 2);
    let mut steps = planned(&plan, "in the container");
    let ready = steps.iter().position(|step| step == "wait for start").unwrap();
    steps.truncate(ready);
    assert_eq!(inside.iter().map(|(name, ..)| name.clone()).collect::<Vec<_>>(), steps);
    assert!(
        inside.is_sorted_by(|(_, _, end), (_, begin, _)| end <= begin),
        "one after the other: {inside:?}"
    );

    let host = row(&events, 1);
    let names: Vec<_> = host.iter().map(|(name, ..)| name.as_str()).collect();
    for step in planned(&plan, "after clone, on the host") {
        assert!(names.contains(&step.as_str()), "{step}: {names:?}");
    }
    let clone = plan.lines().find(|line| line.starts_with("clone ")).unwrap();
    for name in ["read the configuration", "plan", "cgroup", clone, "create", "start", "delete"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    let (_, begin, end) = host.iter().find(|(name, ..)| name == "create").unwrap();
    assert!(inside.iter().all(|(_, from, to)| begin <= from && to <= end), "all of it is within create");
    sandbox.finish();
}

#[test]
fn root_a_trace_outlives_the_runtime_that_is_killed() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    needs!(Bundle::create(&sandbox.work(), &["sleep", "1000"]));
    let (file, id) = (sandbox.path("trace.json"), sandbox.id("c"));
    let mut running = sandbox.runtime(["run", "--trace"]).arg(&file).arg(&id).background();
    let started = || fs::read_to_string(&file).ok().filter(|text| text.contains("\"name\":\"start\""));
    poll(Duration::from_secs(20), started).expect("a trace up to the start");

    let entered = sandbox.path("exec.json");
    sandbox.runtime(["exec", "--trace"]).arg(&entered).args([&id, "true"]).run().success();
    let steps: Vec<_> = row(&events(&entered), 2).into_iter().map(|(name, ..)| name).collect();
    assert!(steps.contains(&"find program true".to_owned()), "{steps:?}");

    running.child.kill().unwrap();
    running.wait(Duration::from_secs(20)).expect("dead");
    let cut = fs::read_to_string(&file).unwrap();
    let events: Vec<Value> = serde_json::from_str(&format!("{cut}]")).expect("only the bracket is missing");
    assert!(row(&events, 2).len() > 10, "{cut}");
    sandbox.runtime(["delete", "--force", &id]).run().success();

    let nowhere = sandbox.runtime(["run", "--trace", "/no/such/place", &sandbox.id("d")]).run();
    nowhere.exits(1).says("--trace /no/such/place: no such file or directory");
    sandbox.finish();
}
