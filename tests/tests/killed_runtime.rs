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
use conex_testkit::inject::{Fault, Injector, Point};
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
        match status.as_str() {
            "created" => {
                let started = self.do_verb(&["start", id]);
                if !started.status.success() {
                    // Unless the verb had killed it before it was killed itself, and it is only just dying.
                    let stops = poll(PATIENCE, || (self.status(id)?.0 == "stopped").then_some(()));
                    assert!(stops.is_some(), "{at}: created, but cannot be started\n{started}");
                    return;
                }
                self.check_runs(id, pid, at);
            }
            "running" => self.check_runs(id, pid, at),
            "stopped" => {
                let alive = fs::read_to_string(format!("/proc/{pid}/stat")).is_ok() && pid != 0;
                assert!(!alive, "{at}: said to be stopped, but {pid} lives");
            }
            _ => {}
        }
    }

    /// Becomes the program; or ends, if the verb had killed it before it was killed itself.
    fn check_runs(&self, id: &str, pid: i64, at: &str) {
        let name = || fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let may_be_killed = ["delete", "kill"].iter().any(|verb| at.starts_with(verb));
        let ended = || may_be_killed && self.status(id).is_some_and(|(status, _)| status == "stopped");
        let becomes = poll(PATIENCE, || (name() == "sleep\n" || ended()).then_some(()));
        assert!(becomes.is_some(), "{at}: said to run, but is {:?}", name());
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

/// The mounts of such a container are the host's, and outlive whoever made them.
#[test]
fn root_killed_at_any_call_a_container_in_the_hosts_mount_namespace_leaves_no_mount() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(bundle(&sandbox, false));
    bundle.change(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().expect("a list");
        namespaces.retain(|one| one["type"] != "mount");
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
    });
    let mut scene = needs!(Scene::new(&sandbox));
    let verbs = [VERBS[0], VERBS[1], VERBS[2], VERBS[6], VERBS[7]];
    let (mut kills, mut seen) = (0, 0);
    for (verb, before, few) in verbs {
        let id = scene.next_id();
        scene.prepare(&id, before);
        let points = scene.injector.points(&scene.verb(&with_id(verb, &id)));
        scene.delete(&id, verb);
        for point in sample(&points, few) {
            let id = scene.next_id();
            scene.prepare(&id, before);
            kills += usize::from(scene.injector.run(&scene.verb(&with_id(verb, &id)), point, Fault::Kill).0);
            seen += mounts_below(&bundle.path);
            let at = format!("{verb} killed at {point:?}");
            scene.delete(&id, &at);
            assert_eq!(mounts_below(&bundle.path), 0, "{at}");
        }
    }
    tell(&format!("killed {kills} times, {seen} mounts seen and taken away"));
    assert!(kills > 20 && seen > 20, "killed only {kills} times, {seen} mounts");
    sandbox.finish();
}

fn mounts_below(bundle: &Path) -> usize {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("read mountinfo");
    table.lines().filter(|line| line.contains(&format!(" {}/", bundle.display()))).count()
}

/// Calls that can fail in real life, by their numbers on x86-64, and how.
const FAILURES: [(&[i64], &[i32]); 9] = [
    // read write pread64 fsync ftruncate getdents64 statx newfstatat: EIO ENOSPC
    (&[0, 1, 17, 74, 77, 217, 332, 262], &[5, 28]),
    // openat openat2 memfd_create pidfd_open socket socketpair fcntl dup3: EMFILE ENOMEM
    (&[257, 437, 319, 434, 41, 53, 72, 292], &[24, 12]),
    // clone clone3 unshare execve execveat: EAGAIN ENOMEM
    (&[56, 435, 272, 59, 322], &[11, 12]),
    // rename renameat renameat2 mkdir mkdirat mknod mknodat symlinkat: ENOSPC
    (&[82, 264, 316, 83, 258, 133, 259, 266], &[28]),
    // unlink unlinkat rmdir: EIO EBUSY
    (&[87, 263, 84], &[5, 16]),
    // mount umount2 pivot_root open_tree move_mount fsopen fsconfig fsmount mount_setattr: ENOMEM EPERM
    (&[165, 166, 155, 428, 429, 430, 431, 432, 442], &[12, 1]),
    // sendmsg recvmsg poll waitid: ENOMEM
    (&[46, 47, 7, 247], &[12]),
    // setns setresuid setresgid setgroups setuid setgid capset chdir fchdir chroot: EPERM ENOMEM
    (&[308, 117, 119, 116, 105, 106, 126, 80, 81, 161], &[1, 12]),
    // prctl setrlimit prlimit64 sethostname setsid seccomp pidfd_send_signal: EPERM
    (&[157, 160, 302, 170, 112, 317, 424], &[1]),
];

/// All points and the errors that can be met there.
fn failures(points: &[Point]) -> Vec<(Point, i32)> {
    let errors = |call: i64| {
        FAILURES.iter().filter(move |(calls, _)| calls.contains(&call)).flat_map(|(_, errors)| *errors)
    };
    points.iter().flat_map(|point| errors(point.call).map(move |errno| (*point, *errno))).collect()
}

/// It says why, and does not just fall over.
fn is_clear(output: &conex_testkit::Output) -> bool {
    output.status.code().is_some_and(|code| code > 0 && code < 128 || code == 255)
        && !output.stderr.contains("panicked at")
        && !output.stderr.trim().is_empty()
}

#[test]
fn root_an_error_at_any_call_is_told_and_leaves_nothing() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    needs!(bundle(&sandbox, true));
    let mut scene = needs!(Scene::new(&sandbox));
    let (mut failed, mut borne) = (0, 0);
    for (verb, before, few) in VERBS {
        let id = scene.next_id();
        scene.prepare(&id, before);
        let all = failures(&scene.injector.points(&scene.verb(&with_id(verb, &id))));
        scene.delete(&id, verb);
        for (point, errno) in sample(&all, few) {
            let id = scene.next_id();
            scene.prepare(&id, before);
            let (_, output) =
                scene.injector.run(&scene.verb(&with_id(verb, &id)), point, Fault::Error(errno));
            let at = format!("{verb} with errno {errno} at {point:?}");
            if output.status.success() {
                borne += 1;
            } else {
                failed += 1;
                assert!(is_clear(&output), "{at}\n{output}");
                if before.is_empty() {
                    scene.check_gone(&id, &format!("{at}\n{output}"));
                }
            }
            scene.check_state(&id, &at);
            scene.delete(&id, &at);
        }
    }
    tell(&format!("{failed} errors told, {borne} borne"));
    assert!(failed > 20, "only {failed} errors");
    sandbox.finish();
}

/// A container says what it is. Whatever fails while it is made: it is not made, or it is no less confined.
#[test]
fn root_an_error_at_any_call_makes_no_weaker_container() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let script = "grep -E '^(Cap|NoNew|Seccomp|Uid|Groups)' /proc/self/status; cut -d' ' -f4-6 /proc/self/mountinfo; \
                  cat /proc/self/limits /proc/self/oom_score_adj; hostname; umask; ls /dev /proc/self/fd; pwd; \
                  readlink /proc/self/ns/user; cat /proc/keys; (echo x > /proc/sys/kernel/panic) 2>&1; \
                  mkdir /x; echo $((40 + 2))";
    let mut bundle = needs!(bundle(&sandbox, true));
    bundle.change(|config| {
        config["root"]["readonly"] = json!(true);
        config["process"]["args"] = json!(["sh", "-c", script]);
        config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }]);
        config["process"]["oomScoreAdj"] = json!(7);
        config["process"]["user"]["additionalGids"] = json!([11, 22]);
        config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO" }] });
    });
    fs::create_dir_all(bundle.path.join("rootfs/made/volume")).unwrap();
    for name in ["pts", "shm", "mqueue"] {
        fs::create_dir_all(bundle.path.join("rootfs/dev").join(name)).unwrap();
    }
    let mut scene = needs!(Scene::new(&sandbox));
    let id = scene.next_id();
    let whole = scene.do_verb(&["run", &id]).success();
    assert!(whole.stdout.ends_with("42\n"), "{whole}");
    let all = failures(&scene.injector.points(&scene.verb(&["run", &id])));
    let (mut failed, mut borne) = (0, 0);
    for (point, errno) in sample(&all, 40) {
        let id = scene.next_id();
        let (_, output) = scene.injector.run(&scene.verb(&["run", &id]), point, Fault::Error(errno));
        let at = format!("run with errno {errno} at {point:?}");
        if output.stdout.is_empty() {
            failed += 1;
            assert!(is_clear(&output), "{at}\n{output}");
        } else {
            borne += 1;
            // A poststart hook that fails ends the container in the midst of its words; those it had are the same.
            let end = whole.stdout.len();
            let end = if output.status.success() { end } else { end.min(output.stdout.len()) };
            assert_eq!(output.stdout, whole.stdout[..end], "{at}: another container\n{}", output.stderr);
        }
        // What fails at the end of a `run` can leave the container, never without a word.
        assert!(!output.status.success() || scene.status(&id).is_none(), "{at}\n{output}");
        scene.delete(&id, &at);
    }
    tell(&format!("{failed} containers not made, {borne} made all the same"));
    sandbox.finish();
}
