// SPDX-License-Identifier: Apache-2.0
//! The runtime killed, or met by an error, at every system call of every verb: of its own process, of the one that
//! joins namespaces and of the container's init. What `state` says afterwards is true, `delete --force` takes
//! everything away, and an error leaves nothing to take away.
//!
//! `CONEX_FULL=1` goes through all of some thousand points; else each test takes a part of them, the same every time.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use conex_testkit::bundle::Bundle;
use conex_testkit::effort::{sample, tell};
use conex_testkit::inject::{Fault, Injector};
use conex_testkit::run::poll;
use conex_testkit::{Run, Sandbox, needs, require};
use serde_json::{Value, json};

/// Longer than any `delete --force` should need on a busy machine; the issue's own measure is two seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where a verb is tried: a container in a certain state.
struct Scene<'a> {
    sandbox: &'a Sandbox,
    injector: Injector<'a>,
    serial: usize,
    slowest: Duration,
}

impl<'a> Scene<'a> {
    fn new(sandbox: &'a Sandbox) -> require::Requirement<Self> {
        Ok(Self { sandbox, injector: Injector::new(sandbox)?, serial: 0, slowest: Duration::ZERO })
    }

    /// Behind a cgroup2 mount, whatever hierarchies the host has: the runtime takes the paths of pure v2.
    fn behind_cgroup2(mut self) -> Self {
        let script = "umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"";
        let words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"];
        self.injector.scene = words.map(str::to_owned).into();
        self
    }

    fn next_id(&mut self) -> String {
        self.serial += 1;
        self.sandbox.id(&format!("n{}", self.serial))
    }

    fn verb(&self, words: &[&str]) -> Command {
        self.sandbox.runtime(words)
    }

    fn do_verb(&self, words: &[&str]) -> conex_testkit::Output {
        self.injector.plain(&self.verb(words)).run()
    }

    fn prepare(&self, id: &str, before: &[&str]) {
        for words in before {
            self.do_verb(&with_id(words, id)).success();
        }
    }

    fn status(&self, id: &str) -> Option<(String, i64)> {
        let output = self.do_verb(&["state", id]);
        if !output.status.success() {
            return None;
        }
        let state: Value = serde_json::from_str(&output.stdout).expect("state is JSON");
        Some((state["status"].as_str()?.to_owned(), state["pid"].as_i64()?))
    }

    /// What `state` says is so: who is created waits and can be started, who runs has become the program.
    fn check_state(&self, id: &str, at: &str) {
        let Some((status, pid)) = self.status(id) else {
            let created = self.do_verb(&["create", id]);
            assert!(created.status.success(), "{at}: does not exist, but cannot be created\n{created}");
            return;
        };
        let name = || fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        match status.as_str() {
            "created" => {
                let started = self.do_verb(&["start", id]);
                assert!(started.status.success(), "{at}: created, but cannot be started\n{started}");
                let becomes = poll(PATIENCE, || (name() == "sleep\n").then_some(()));
                assert!(becomes.is_some(), "{at}: started, but is {:?}", name());
            }
            "running" => {
                let becomes = poll(PATIENCE, || (name() == "sleep\n").then_some(()));
                assert!(becomes.is_some(), "{at}: said to run, but is {:?}", name());
            }
            "stopped" => {
                let alive = fs::read_to_string(format!("/proc/{pid}/stat")).is_ok() && pid != 0;
                assert!(!alive, "{at}: said to be stopped, but {pid} lives");
            }
            _ => {}
        }
    }

    fn delete(&mut self, id: &str, at: &str) {
        let begin = Instant::now();
        let deleted = self.injector.plain(&self.verb(&["delete", "--force", id])).run_with(b"", PATIENCE);
        self.slowest = self.slowest.max(begin.elapsed());
        assert!(deleted.status.success(), "{at}\n{deleted}");
        self.check_gone(id, at);
    }

    fn check_gone(&self, id: &str, at: &str) {
        let state = self.sandbox.path("run/runtime").join(id);
        assert!(!state.exists(), "{at}: {} is left", state.display());
        let left: Vec<_> =
            hierarchies().into_iter().map(|top| top.join(id)).filter(|dir| dir.exists()).collect();
        assert!(left.is_empty(), "{at}: {left:?} is left");
    }
}

/// The tops of all cgroup hierarchies.
fn hierarchies() -> Vec<std::path::PathBuf> {
    let below = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    below.chain([Path::new("/sys/fs/cgroup").to_owned()]).collect()
}

fn with_id<'w>(words: &'w str, id: &'w str) -> Vec<&'w str> {
    words.split(' ').map(|word| if word == "ID" { id } else { word }).collect()
}

/// A verb, and the verbs that bring a container where it fits.
const VERBS: [(&str, &[&str], usize); 9] = [
    ("create ID", &[], 20),
    ("start ID", &["create ID"], 8),
    ("exec ID true", &["run -d ID"], 12),
    ("kill ID KILL", &["run -d ID"], 3),
    ("pause ID", &["run -d ID"], 3),
    ("resume ID", &["run -d ID", "pause ID"], 3),
    ("delete ID", &["create ID"], 6),
    ("delete --force ID", &["run -d ID"], 6),
    ("run -d ID", &[], 10),
];

/// A container with something of everything: a mount of the host, limits, masks, hooks.
fn bundle(sandbox: &Sandbox, limits: bool) -> require::Requirement<Bundle> {
    let mut bundle = Bundle::create(&sandbox.work(), &["sleep", "1000"])?;
    fs::create_dir(sandbox.path("volume")).expect("make a directory");
    bundle.change(|config| {
        let bind = json!({ "destination": "/made/volume", "type": "bind", "options": ["rbind", "ro"],
                           "source": sandbox.path("volume") });
        config["mounts"].as_array_mut().expect("a list").push(bind);
        config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/true" }],
                                  "poststart": [{ "path": "/bin/true" }] });
        if limits {
            config["linux"]["resources"] =
                json!({ "pids": { "limit": 50 }, "memory": { "limit": 50_000_000 } });
        }
    });
    Ok(bundle)
}

fn kill_everywhere(mut scene: Scene<'_>) {
    let mut kills = 0;
    for (verb, before, few) in VERBS {
        let id = scene.next_id();
        scene.prepare(&id, before);
        let points = scene.injector.points(&scene.verb(&with_id(verb, &id)));
        scene.delete(&id, verb);
        assert!(points.len() > few, "{verb}: only {} calls were seen", points.len());
        for point in sample(&points, few) {
            let id = scene.next_id();
            scene.prepare(&id, before);
            let (hit, _) = scene.injector.run(&scene.verb(&with_id(verb, &id)), point, Fault::Kill);
            let at = format!("{verb} killed at {point:?}");
            scene.check_state(&id, &at);
            scene.delete(&id, &at);
            kills += usize::from(hit);
        }
    }
    tell(&format!("killed {kills} times; the slowest delete --force took {:?}", scene.slowest));
    assert!(kills > 50, "killed only {kills} times");
}

#[test]
fn root_killed_at_any_call_a_container_is_deleted_by_force() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    needs!(bundle(&sandbox, true));
    kill_everywhere(needs!(Scene::new(&sandbox)));
    sandbox.finish();
}

#[test]
fn root_killed_at_any_call_on_cgroup2_a_container_is_deleted_by_force() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    needs!(bundle(&sandbox, false));
    kill_everywhere(needs!(Scene::new(&sandbox)).behind_cgroup2());
    sandbox.finish();
}
