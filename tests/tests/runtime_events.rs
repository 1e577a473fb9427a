// SPDX-License-Identifier: Apache-2.0
//! `events`: readings, throttling, and the end of memory, told as runc tells them; on whichever cgroup version this
//! host has.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use conex_testkit::bundle::Bundle;
use conex_testkit::run::poll;
use conex_testkit::{Run, Sandbox, binaries, needs, require};
use serde_json::{Value, json};

/// Nothing here takes that long, unless it does not work.
const PATIENCE: Duration = Duration::from_secs(60);

struct Place {
    sandbox: Sandbox,
}

impl Place {
    fn verb(&self, program: &Path, words: &[&str]) -> Command {
        let mut command = self.sandbox.command(program);
        command.arg("--root").arg(self.sandbox.path("run/containers")).args(words);
        command
    }

    fn ours(&self, words: &[&str]) -> Command {
        self.verb(binaries::runtime(), words)
    }

    /// A started container of a script, with limits. `None` is a requirement that is not met.
    fn start(&self, program: &Path, name: &str, script: &str, resources: &Value) -> Result<String, String> {
        let id = self.sandbox.id(name);
        let directory = self.sandbox.path(name);
        let mut bundle = Bundle::create(&directory, &["sh", "-c", script])?;
        bundle.change(|config| {
            config["linux"]["cgroupsPath"] = format!("/{id}").into();
            config["linux"]["resources"] = resources.clone();
        });
        self.verb(program, &["create", &format!("--bundle={}", directory.display()), &id]).run().success();
        self.verb(program, &["start", &id]).run().success();
        Ok(id)
    }

    fn stats(&self, program: &Path, id: &str) -> Value {
        let printed = self.verb(program, &["events", "--stats", id]).run().success().stdout;
        assert_eq!(printed.lines().count(), 1, "{printed}");
        assert!(printed.starts_with(&format!(r#"{{"type":"stats","id":"{id}","data":{{"#)), "{printed}");
        serde_json::from_str(&printed).expect("a line is JSON")
    }
}

/// Every value of `theirs` is in `ours`, of the same type. What a version counts by name may differ.
fn has_the_shape(ours: &Value, theirs: &Value, at: &str) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            // An empty object of Go's is one that newer versions leave out.
            for (key, value) in theirs.iter().filter(|(_, value)| **value != json!({})) {
                let found = ours.get(key).unwrap_or_else(|| panic!("no {at}/{key}"));
                has_the_shape(found, value, &format!("{at}/{key}"));
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => assert_eq!(ours.len(), theirs.len(), "{at}"),
        (Value::Number(_), Value::Number(_)) | (Value::String(_), Value::String(_)) => {}
        (_, Value::Null) => {}
        _ => panic!("{at}: {ours} and {theirs}"),
    }
}

#[test]
fn root_stats_have_the_shape_of_runcs() {
    needs!(require::root());
    let runc = needs!(require::program("runc"));
    let place = Place { sandbox: Sandbox::new() };
    let limits = json!({ "memory": { "limit": 33_554_432 }, "pids": { "limit": 9 }, "cpu": { "cpus": "0" } });
    // Uses some of everything before it waits.
    let script = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done; touch /done; sleep 1000";
    let ours = needs!(place.start(binaries::runtime(), "ours", script, &limits));
    let theirs = needs!(place.start(&runc, "theirs", script, &limits));
    for name in ["ours", "theirs"] {
        let done = place.sandbox.path(name).join("rootfs/done");
        poll(PATIENCE, || done.exists().then_some(())).expect("the script gets that far");
    }
    let (one, other) = (place.stats(binaries::runtime(), &ours), place.stats(&runc, &theirs));
    has_the_shape(&one, &other, "");
    for pointer in ["/data/memory/usage/limit", "/data/pids/limit", "/data/cpuset/cpus"] {
        assert_eq!(one.pointer(pointer), other.pointer(pointer), "{pointer}");
    }
    assert_eq!(one["data"]["pids"]["limit"], 9);
    assert!(one["data"]["memory"]["usage"]["usage"].as_u64() > Some(0), "{one}");
    assert!(one["data"]["cpu"]["usage"]["total"].as_u64() > Some(0), "{one}");
    // Its only interface is the loopback.
    assert_eq!(one["data"]["network_interfaces"], Value::Null);
    place.ours(&["delete", "--force", &ours]).run().success();
    place.verb(&runc, &["delete", "--force", &theirs]).run().success();
    place.sandbox.finish();
}

#[test]
fn root_pressure_is_told_where_the_kernel_measures_it() {
    needs!(require::root());
    let place = Place { sandbox: Sandbox::new() };
    let id = needs!(place.start(binaries::runtime(), "c", "sleep 1000", &json!({})));
    let unified = [PathBuf::from("/sys/fs/cgroup/unified"), "/sys/fs/cgroup".into()];
    let measured = unified.iter().any(|top| top.join(&id).join("cpu.pressure").exists());
    let stats = place.stats(binaries::runtime(), &id);
    for part in ["cpu", "memory", "blkio"] {
        assert_eq!(stats["data"][part]["psi"].is_object(), measured, "{part}: {stats}");
    }
    place.ours(&["delete", "--force", &id]).run().success();
    place.sandbox.finish();
}

#[test]
fn root_throttling_is_counted() {
    needs!(require::root());
    let place = Place { sandbox: Sandbox::new() };
    let limits = json!({ "cpu": { "quota": 2000, "period": 20_000 } });
    let id = needs!(place.start(binaries::runtime(), "c", "while :; do :; done", &limits));
    let throttled = poll(PATIENCE, || {
        let throttling = place.stats(binaries::runtime(), &id)["data"]["cpu"]["throttling"].clone();
        let count = |name: &str| throttling[name].as_u64().unwrap_or_default();
        // The kernel adds the time when a pause is over.
        (count("throttledTime") > 0)
            .then(|| (count("periods"), count("throttledPeriods"), count("throttledTime")))
    });
    let (periods, throttled, time) = throttled.expect("a tenth of a processor is not enough for a loop");
    assert!(periods >= throttled && throttled > 0, "{periods} {throttled} {time}");
    place.ours(&["delete", "--force", &id]).run().success();
    place.sandbox.finish();
}

#[test]
fn root_the_end_of_memory_is_told_at_once_and_the_containers_end_is_the_end() {
    needs!(require::root());
    let place = Place { sandbox: Sandbox::new() };
    let limits = json!({ "memory": { "limit": 33_554_432, "swap": 33_554_432 } });
    let id = needs!(place.start(binaries::runtime(), "c", "sleep 1000", &limits));
    let mut events = place.ours(&["events", "--interval", "1h", &id]).background();
    let oom = format!("{{\"type\":\"oom\",\"id\":\"{id}\"}}\n");
    // Until it watches, there may be nobody to tell.
    let told = || {
        place.ours(&["exec", &id, "tail", "/dev/zero"]).run().exits(137);
        events.output().starts_with(&oom).then_some(())
    };
    poll(PATIENCE, told).expect("an out-of-memory is told");
    assert!(events.child.try_wait().expect("wait").is_none(), "the container still runs");
    place.ours(&["kill", &id, "KILL"]).run().success();
    assert!(events.wait(PATIENCE).expect("ends with the container").success());
    assert!(events.output().lines().all(|line| line == oom.trim()), "{}", events.output());
    place
        .ours(&["events", "--stats", &id])
        .run()
        .exits(1)
        .says(&format!("container with id {id} is not running"));
    place.ours(&["delete", &id]).run().success();
    place.sandbox.finish();
}

#[test]
fn root_an_init_that_is_killed_for_memory_is_told_before_the_end() {
    needs!(require::root());
    let place = Place { sandbox: Sandbox::new() };
    let limits = json!({ "memory": { "limit": 33_554_432, "swap": 33_554_432 } });
    let wait = "while ! [ -e /go ]; do sleep 0.05; done; exec tail /dev/zero";
    let id = needs!(place.start(binaries::runtime(), "c", wait, &limits));
    let mut events = place.ours(&["events", "--interval", "50ms", &id]).background();
    poll(PATIENCE, || events.output().contains("stats").then_some(())).expect("a first reading");
    place.ours(&["exec", &id, "touch", "/go"]).run().success();
    assert!(events.wait(PATIENCE).expect("ends with the container").success());
    let output = events.output();
    let lines: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(lines.iter().any(|line| *line == json!({ "type": "oom", "id": id })), "{output}");
    place.ours(&["delete", &id]).run().success();
    place.sandbox.finish();
}

#[test]
fn root_readings_come_until_nobody_listens() {
    needs!(require::root());
    let place = Place { sandbox: Sandbox::new() };
    let id = needs!(place.start(binaries::runtime(), "c", "sleep 1000", &json!({})));
    place
        .ours(&["events", "--interval", "0", &id])
        .run()
        .exits(1)
        .says("duration interval must be greater than 0");
    place.ours(&["events", "--interval", "soon", &id]).run().exits(1).says("no duration");
    place.ours(&["events", &place.sandbox.id("none")]).run().exits(1).says("container does not exist");
    let script = format!(
        "{} --root {} events --interval 10ms {id} | head -n 3",
        binaries::runtime().display(),
        place.sandbox.path("run/containers").display()
    );
    let listened = place.sandbox.command("sh").args(["-c", &script]).run().success();
    assert_eq!(listened.stdout.matches(r#"{"type":"stats","#).count(), 3, "{listened}");
    place.ours(&["delete", "--force", &id]).run().success();
    place.sandbox.finish();
}
