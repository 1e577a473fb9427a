// SPDX-License-Identifier: Apache-2.0
//! Everything at once: containers that end while they begin, pids that somebody else has by now, many callers with
//! one id. No hang, no crash, the right exit code, the right words, and nothing left.
//!
//! `CONEX_FULL=1` does it some ten thousand times.
#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use conex_testkit::bundle::Bundle;
use conex_testkit::effort::{full, rounds, tell};
use conex_testkit::run::poll;
use conex_testkit::{Output, Run, Sandbox, busybox, needs, require};
use serde_json::{Value, json};

/// Longer than anything here should take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program that ends by itself after so many microseconds, with a status of its own.
fn short(round: usize) -> (String, i32) {
    let (pause, code) = ([0, 0, 200, 1000, 3000, 5000][round % 6], i32::try_from(round % 120).unwrap());
    let script = if pause == 0 { format!("exit {code}") } else { format!("usleep {pause}; exit {code}") };
    (script, code)
}

fn set_words(bundle: &mut Bundle, script: &str) {
    bundle.change(|config| config["process"]["args"] = json!(["sh", "-c", script]));
}

#[test]
fn root_an_init_that_ends_at_once_is_not_missed() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["true"]));
    let id = sandbox.id("c");
    let verb = |words: &[&str]| sandbox.runtime(words).run_with(b"", PATIENCE);
    for round in 0..rounds(36, 12_000) {
        let (script, code) = short(round);
        set_words(&mut bundle, &script);
        if round % 3 > 0 {
            verb(&["run", &id]).exits(code);
            continue;
        }
        verb(&["create", &id]).success();
        verb(&["start", &id]).success();
        let state = || serde_json::from_str::<Value>(&verb(&["state", &id]).success().stdout).unwrap();
        poll(PATIENCE, || (state()["status"] == "stopped").then_some(())).expect("it stops");
        verb(&["delete", &id]).success();
    }
    sandbox.finish();
}

#[test]
fn root_a_process_that_comes_in_and_ends_at_once_is_not_missed() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    needs!(Bundle::create(&sandbox.work(), &["sleep", "1000"]));
    let id = sandbox.id("c");
    sandbox.runtime(["run", "-d", &id]).run().success();
    for round in 0..rounds(30, 6000) {
        let (script, code) = short(round);
        let entered = sandbox.runtime(["exec", &id, "sh", "-c", &script]).run_with(b"", PATIENCE);
        entered.exits(code);
    }
    sandbox.runtime(["delete", "-f", &id]).run().success();
    sandbox.finish();
}

#[test]
fn root_a_monitor_does_not_miss_an_early_end() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    sandbox.layout("busybox").add("latest", &needs!(busybox::image()));
    let conex = |words: &[&str]| sandbox.conex(words).run_with(b"", PATIENCE);
    conex(&["copy", "--quiet", "oci:busybox:latest", "store:busybox"]).success();
    for round in 0..rounds(12, 2000) {
        let (script, code) = short(round);
        let id = conex(&["run", "-d", "busybox", "sh", "-c", &script]).success().stdout.trim().to_owned();
        assert_eq!(conex(&["wait", &id]).success().stdout.trim(), code.to_string());
        conex(&["rm", &id]).success();
    }
    sandbox.finish();
}

/// Whatever a verb does with a container whose pid is somebody else's now, that one does not notice.
fn nobody_is_touched(sandbox: &Sandbox, id: &str, decoy: u32) {
    let verb = |words: &[&str]| sandbox.runtime(words).run_with(b"", PATIENCE);
    let state: Value = serde_json::from_str(&verb(&["state", id]).success().stdout).unwrap();
    assert_eq!((&state["status"], &state["pid"]), (&json!("stopped"), &json!(0)));
    verb(&["kill", id, "KILL"]).exits(1).says("container not running");
    verb(&["kill", "--all", id, "KILL"]);
    verb(&["exec", id, "true"]).fails().says("cannot exec in a stopped container");
    verb(&["pause", id]).exits(1).says("container not running");
    verb(&["start", id]).exits(1).says("cannot start a container that has stopped");
    assert_eq!(verb(&["list", "-q"]).success().stdout, format!("{id}\n"));
    verb(&["delete", "--force", id]).success();
    let alive = fs::read_to_string(format!("/proc/{decoy}/stat")).unwrap();
    assert!(alive.contains(" S ") || alive.contains(" R "), "{alive}");
}

/// The pid on record belongs to a process of another start, or of another boot.
#[test]
fn root_a_recorded_pid_of_another_process_is_nobody() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    needs!(Bundle::create(&sandbox.work(), &["true"]));
    let mut decoy = sandbox.command("sleep").arg("1000").background();
    let pid = decoy.child.id();
    let changes: [fn(&mut Value); 3] = [
        |state| state["init_process_start"] = json!(state["init_process_start"].as_u64().unwrap() + 1),
        |state| state["init_process_start"] = json!(0),
        |state| state["conex"]["boot_id"] = json!("00000000-0000-0000-0000-000000000000"),
    ];
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let start: u64 = stat.rsplit(") ").next().unwrap().split(' ').nth(19).unwrap().parse().unwrap();
    for change in changes {
        let id = sandbox.id("c");
        sandbox.runtime(["run", "-d", &id]).run().success();
        let path = sandbox.path("run/runtime").join(&id).join("state.json");
        let mut state: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        (state["init_process_pid"], state["init_process_start"]) = (json!(pid), json!(start));
        change(&mut state);
        fs::write(&path, state.to_string()).unwrap();
        nobody_is_touched(&sandbox, &id, pid);
    }
    decoy.stop();
    sandbox.finish();
}

/// A pid that the kernel really gives out again: in a pid namespace of its own, by `ns_last_pid`.
#[test]
fn root_a_pid_given_out_again_is_nobody() {
    needs!(require::root());
    if !Path::new("/proc/sys/kernel/ns_last_pid").exists() {
        conex_testkit::skip!("this kernel has no ns_last_pid");
    }
    let sandbox = Sandbox::new();
    needs!(Bundle::create(&sandbox.work(), &["sleep", "1000"]));
    let script = r#"
        runtime() { conex-runtime --root "$ROOT" "$@"; }
        for round in $(seq "$1"); do
          runtime run -d "$2" </dev/null >/dev/null 2>&1 || { echo "no container"; exit 1; }
          pid=$(runtime state "$2" | jq .pid)
          runtime kill "$2" KILL
          until runtime state "$2" | grep -q stopped; do :; done
          while [ -e /proc/$pid ]; do :; done
          echo $((pid - 1)) >/proc/sys/kernel/ns_last_pid
          sleep 1000 &
          decoy=$!
          [ $decoy = $pid ] && hits=$((hits + 1))
          runtime state "$2" | grep -q stopped || echo "said to live"
          runtime kill "$2" KILL 2>/dev/null && echo "killed"
          runtime kill --all "$2" KILL 2>/dev/null
          runtime exec "$2" true 2>/dev/null && echo "entered"
          runtime delete -f "$2" || echo "not deleted"
          kill -0 $decoy || echo "the decoy is gone"
          kill -9 $decoy; wait $decoy
        done 2>/dev/null
        echo hits $hits"#;
    let count = rounds(8, 1000);
    let mut command = sandbox.command("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "sh", "-c", script, "sh", &count.to_string()]);
    command.arg(sandbox.id("c")).env("ROOT", sandbox.path("run/runtime"));
    sandbox.programs();
    let output = command.run_with(b"", if full() { Duration::from_secs(3600) } else { PATIENCE }).success();
    let hits =
        output.stdout.strip_prefix("hits ").map(|hits| hits.trim().parse::<usize>().unwrap_or_default());
    assert!(hits.is_some_and(|hits| hits > count / 2), "{output}");
    tell(&format!("PID reuse: {hits:?} of {count} decoys had the pid, none was signalled"));
    sandbox.finish();
}

/// One of all who want the same id gets it, and the others are told so.
#[test]
fn root_of_many_creators_one_wins() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    needs!(Bundle::create(&sandbox.work(), &["sleep", "1000"]));
    sandbox.programs();
    let id = sandbox.id("c");
    for _ in 0..rounds(3, 100) {
        let outputs: Vec<Output> = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..rounds(8, 32))
                .map(|_| scope.spawn(|| sandbox.runtime(["create", &id]).run_with(b"", PATIENCE)))
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        let winners = outputs.iter().filter(|output| output.status.success()).count();
        assert_eq!(winners, 1, "{outputs:#?}");
        for loser in outputs.into_iter().filter(|output| !output.status.success()) {
            loser.exits(1).says("container with given ID already exists");
        }
        sandbox.runtime(["delete", "--force", &id]).run_with(b"", PATIENCE).success();
    }
    sandbox.finish();
}

/// What a verb may say when it comes at the wrong moment.
const WORDS: [&str; 17] = [
    "container does not exist",
    "container with given ID already exists",
    "container not running",
    "container not paused",
    "cannot start a container that has stopped",
    "cannot start an already running container",
    "cannot start a container that is still being created",
    "cannot start a container in the paused state",
    "that is not stopped",
    "cannot exec in a stopped container",
    "cannot exec in a paused container",
    "cannot exec in a container that is still being created",
    // The container was killed while it was made, or while somebody came in.
    "container init died without a word",
    "the container's init is gone",
    "unable to start container process",
    "container's cgroup is not empty",
    "container's cgroup unexpectedly frozen",
];

/// Racers with a few ids and all verbs, each with its own sequence of numbers.
#[test]
fn root_verbs_that_cross_each_other_say_so_and_nothing_breaks() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    needs!(Bundle::create(&sandbox.work(), &["sleep", "1000"]));
    sandbox.programs();
    // As runc's, `list` does not take a root by name that is not there; nobody may have created anything yet.
    fs::create_dir_all(sandbox.path("run/runtime")).unwrap();
    let ids = [sandbox.id("one"), sandbox.id("two")];
    let verbs: [&[&str]; 13] = [
        &["create"],
        &["create"],
        &["start"],
        &["run", "-d"],
        &["exec", "ID", "true"],
        &["exec", "ID", "sh", "-c", "exit 0"],
        &["kill", "ID", "KILL"],
        &["pause"],
        &["resume"],
        &["state"],
        &["list"],
        &["delete"],
        &["delete", "--force"],
    ];
    let race = |racer: u64| {
        let mut number = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(racer + 1);
        for _ in 0..rounds(16, 400) {
            number ^= number << 13;
            number ^= number >> 7;
            number ^= number << 17;
            let id = ids[usize::try_from(number % 2).unwrap()].as_str();
            let verb = verbs[usize::try_from((number >> 8) % 13).unwrap()];
            let mut words: Vec<&str> =
                verb.iter().map(|word| if *word == "ID" { id } else { word }).collect();
            if !words.contains(&id) && verb != ["list"] {
                words.push(id);
            }
            let begin = Instant::now();
            let output = sandbox.runtime(&words).run_with(b"", PATIENCE);
            let code = output.status.code();
            assert!(code.is_some() && !output.stderr.contains("panicked"), "{output}");
            // Killed by another racer while it came in.
            let killed = verb[0] == "exec" && code == Some(137);
            let said = WORDS.iter().any(|word| output.stderr.contains(word));
            assert!(code == Some(0) || killed || said, "after {:?}\n{output}", begin.elapsed());
        }
    };
    std::thread::scope(|scope| {
        let racers: Vec<_> =
            (0..rounds(6, 32) as u64).map(|racer| scope.spawn(move || race(racer))).collect();
        // Who came in waits as long as the container is paused, and the last verb may have been a pause.
        while !racers.iter().all(|racer| racer.is_finished()) {
            std::thread::sleep(Duration::from_millis(300));
            ids.iter().for_each(|id| drop(sandbox.runtime(["resume", id]).run_with(b"", PATIENCE)));
        }
        racers.into_iter().for_each(|racer| racer.join().unwrap());
    });
    for id in &ids {
        sandbox.runtime(["delete", "--force", id]).run_with(b"", PATIENCE).success();
    }
    sandbox.finish();
}
