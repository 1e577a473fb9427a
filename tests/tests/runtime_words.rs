// SPDX-License-Identifier: Apache-2.0
//! The runtime's command line: words, output and exit codes by which its callers know runc and crun.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use conex_testkit::bundle::Bundle;
use conex_testkit::run::poll;
use conex_testkit::{Run, Sandbox, needs, require};
use serde_json::{Value, json};

const VERBS: [&str; 16] = [
    "create",
    "start",
    "run",
    "exec",
    "kill",
    "delete",
    "state",
    "list",
    "ps",
    "pause",
    "resume",
    "spec",
    "features",
    "plan",
    "checkpoint",
    "restore",
];

/// A file that got the number of standard error would be written to by whoever complains.
#[test]
fn no_file_is_taken_for_a_standard_stream_that_was_closed() {
    let sandbox = Sandbox::new();
    for (name, redirection) in [("open", "2>&2"), ("closed", "2>&-")] {
        let script = format!("exec \"$1\" --log \"$2\" state nobody {redirection}");
        let mut shell = sandbox.command("sh");
        shell
            .args(["-c", &script, "sh"])
            .arg(sandbox.programs().join("conex-runtime"))
            .arg(sandbox.path(name));
        shell.run().exits(1);
    }
    let lines = |name| fs::read_to_string(sandbox.path(name)).unwrap().lines().count();
    assert_eq!((lines("open"), lines("closed")), (1, 1));
    sandbox.finish();
}

#[test]
fn every_verb_explains_itself_and_wrong_words_are_told() {
    let sandbox = Sandbox::new();
    let overview = sandbox.runtime(["--help"]).run().success().stdout;
    assert_eq!(sandbox.runtime(["help"]).run().success().stdout, overview);
    for verb in VERBS {
        assert!(overview.lines().any(|line| line.trim_start().starts_with(verb)), "{verb}: {overview}");
        let help = sandbox.runtime(["help", verb]).run().success().stdout;
        assert!(help.starts_with(&format!("NAME:\n   conex-runtime {verb} - ")), "{help}");
    }
    let of_state = sandbox.runtime(["help", "state"]).run().success().stdout;
    // runc's ways to ask, and crun's.
    for words in [["state", "--help"], ["state", "-h"], ["h", "state"], ["state", "-?"], ["state", "--usage"]]
    {
        assert_eq!(sandbox.runtime(words).run().success().stdout, of_state, "{words:?}");
    }
    let version = sandbox.runtime(["--version"]).run().success().stdout;
    for short in ["-v", "-V"] {
        assert_eq!(sandbox.runtime([short]).run().success().stdout, version);
    }

    let wrong = sandbox.runtime(["state"]).run().exits(1).says("requires exactly 1 argument(s)");
    assert!(wrong.stdout.starts_with("Incorrect Usage.\n\nNAME:\n   conex-runtime state - "), "{wrong}");
    sandbox.runtime(["kill"]).run().exits(1).says("requires a minimum of 1 argument(s)");
    sandbox.runtime(["kill", "a", "TERM", "b"]).run().exits(1).says("requires a maximum of 2 argument(s)");
    sandbox.runtime(["exec"]).run().exits(1).says("requires a minimum of 1 argument(s)");
    sandbox.runtime(["frobnicate"]).run().exits(3).says("no such command");
    sandbox
        .runtime(["state", "--colour", "a"])
        .run()
        .exits(1)
        .says("flag provided but not defined: --colour");
    sandbox.runtime(["--log-level", "loud", "list"]).run().exits(1).says("unknown log-level");
    for verb in ["checkpoint", "restore"] {
        sandbox.runtime([verb, "--image-path", "x", "a"]).run().exits(1).says("is not there yet");
    }
    sandbox.finish();
}

/// A full disk is told; a reader who has seen enough (`| head -1`) is none to complain to.
#[test]
fn what_cannot_be_written_is_an_error() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("run/runtime")).unwrap();
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    let closed = || std::io::pipe().unwrap().1;
    let own: [&[&str]; 6] = [
        &["--help"],
        &["--version"],
        &["state", "--help"],
        &["features"],
        &["list", "-f", "json"],
        &["state"],
    ];
    let told = |mut command: Command, wanted: bool| {
        let output = command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.success(), !wanted, "{command:?}: {words}");
        assert_eq!(
            words.contains("No space left on device") || words.contains("no space left"),
            wanted,
            "{words}"
        );
    };
    for words in own {
        let mut command = sandbox.runtime(words);
        command.stdout(full());
        told(command, true);
        if words != ["state"] {
            let mut command = sandbox.runtime(words);
            command.stdout(closed());
            told(command, false);
        }
    }
    for words in [&["--help"][..], &["--version"], &["run", "--help"], &["images"]] {
        let mut command = sandbox.conex(words);
        command.stdout(full());
        told(command, true);
        let mut command = sandbox.conex(words);
        command.stdout(closed());
        told(command, false);
    }
    sandbox.finish();
}

#[test]
fn the_version_is_that_of_the_name_it_is_called_by() {
    let sandbox = Sandbox::new();
    let programs = sandbox.programs();
    for name in ["runc", "crun"] {
        let said = sandbox.command(programs.join(name)).arg("--version").run().success().stdout;
        let lines: Vec<_> = said.lines().collect();
        assert!(lines[0].starts_with(&format!("{name} version ")), "{said}");
        assert!(lines.iter().any(|line| line.starts_with("commit: ")), "{said}");
        assert!(lines.iter().any(|line| line.starts_with("spec: 1.")), "{said}");
    }
    sandbox.finish();
}

#[test]
fn root_a_pattern_chooses_containers() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    needs!(Bundle::create(&sandbox.work(), &["sleep", "1000"]));
    let ids: Vec<_> = ["web-1", "web-2", "db-1"].iter().map(|name| sandbox.id(name)).collect();
    for id in &ids {
        sandbox.runtime(["run", "--detach", id]).run().success();
    }
    let status = |id: &str| -> String {
        let state = sandbox.runtime(["state", id]).run().success().stdout;
        serde_json::from_str::<Value>(&state).unwrap()["status"].as_str().unwrap().to_owned()
    };
    sandbox.runtime(["kill", "--regex", "web-[0-9]+$", "KILL"]).run().success();
    for id in &ids[..2] {
        poll(Duration::from_secs(10), || (status(id) == "stopped").then_some(())).expect("stopped");
    }
    assert_eq!(status(&ids[2]), "running");
    sandbox.runtime(["delete", "-r", "["]).run().exits(1).says("a bracket is not closed");

    // The one that still runs is refused; that does not save the others.
    sandbox.runtime(["delete", "--regex", "1$"]).run().exits(1).says(&format!("{}: cannot delete", ids[2]));
    assert_eq!(sandbox.runtime(["list", "-q"]).run().stdout, format!("{}\n{}\n", ids[2], ids[1]));
    sandbox.runtime(["delete", "--force", "--regex", "."]).run().success();
    assert_eq!(sandbox.runtime(["list", "-q"]).run().stdout, "");
    sandbox.runtime(["delete", "--regex", "."]).run().success();
    sandbox.finish();
}

#[test]
fn root_a_paused_container_is_deleted_by_force() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    needs!(Bundle::create(&sandbox.work(), &["sleep", "1000"]));
    let id = sandbox.id("a");
    sandbox.runtime(["run", "-d", &id]).run().success();
    sandbox.runtime(["pause", &id]).run().success();
    sandbox.runtime(["delete", "--force", &id]).run_with(b"", Duration::from_secs(20)).success();
    sandbox.finish();
}

#[test]
fn root_without_a_cgroup_a_container_stays_in_its_creators() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sleep", "1000"]));
    bundle.change(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|entry| entry["type"] != "cgroup");
    });
    let id = sandbox.id("a");
    sandbox.runtime(["--cgroup-manager", "disabled", "run", "-d", &id]).run().success();
    let state: Value = serde_json::from_str(&sandbox.runtime(["state", &id]).run().stdout).unwrap();
    let of = |pid: &str| fs::read_to_string(Path::new("/proc").join(pid).join("cgroup")).unwrap();
    assert_eq!(of(&state["pid"].to_string()), of("self"));
    sandbox.runtime(["exec", &id, "true"]).run().success();
    assert_eq!(sandbox.runtime(["ps", "-f", "json", &id]).run().stdout, format!("[{}]\n", state["pid"]));
    sandbox.runtime(["pause", &id]).run().exits(1);
    sandbox.runtime(["delete", "-f", &id]).run().success();
    sandbox.runtime(["--cgroup-manager", "docker", "list"]).run().exits(1).says("unknown cgroup manager");
    sandbox.finish();
}

#[test]
fn root_another_file_of_the_bundle_is_the_configuration() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    needs!(Bundle::create(&sandbox.work(), &["echo", "other"]));
    fs::rename(sandbox.work().join("config.json"), sandbox.work().join("other.json")).unwrap();
    let id = sandbox.id("a");
    let run = |words: &[&str]| sandbox.runtime(["run"].iter().chain(words)).run();
    assert_eq!(run(&["--config", "other.json", &id]).success().stdout, "other\n");
    assert_eq!(
        run(&[&id, "-f", sandbox.work().join("other.json").to_str().unwrap()]).success().stdout,
        "other\n"
    );
    run(&[&id]).exits(1).says("config.json not found");
    fs::write(sandbox.work().join("other.json"), json!({"ociVersion": 1}).to_string()).unwrap();
    run(&["--config=other.json", &id]).exits(1).says("other.json:1:15: /ociVersion:");
    sandbox.finish();
}

/// What arrives at a socket that is put where the runtime looks for a log service.
#[track_caller]
fn logged(place: &str, socket: &str, destination: &str) -> String {
    let sandbox = Sandbox::new();
    let directory = sandbox.path("service");
    fs::create_dir(&directory).expect("a new directory");
    let service = UnixDatagram::bind(directory.join(socket)).expect("a socket");
    service.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
    let script = format!("mkdir -p {place} && mount --bind \"$0\" {place} && exec \"$@\"");
    let run = sandbox.runtime(["--log", destination, "state", "nobody"]);
    let mut unshare = sandbox.command("unshare");
    unshare.args([
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        &format!("mount -t tmpfs run /run; {script}"),
    ]);
    unshare.arg(&directory).arg(run.get_program()).args(run.get_args());
    // Those who read standard error find it there too.
    unshare.run().exits(1).says("container does not exist");
    let mut datagram = [0; 1024];
    let length = service.recv(&mut datagram).expect("a message");
    sandbox.finish();
    String::from_utf8_lossy(&datagram[..length]).into_owned()
}

#[test]
fn root_errors_reach_syslog_and_the_journal() {
    needs!(require::root());
    let message = logged("/dev", "log", "syslog:web");
    assert!(
        message.starts_with("<11>web[") && message.ends_with("]: container does not exist"),
        "{message:?}"
    );
    let message = logged("/run/systemd/journal", "socket", "journald:web");
    assert!(message.contains("SYSLOG_IDENTIFIER=web\n") && message.contains("PRIORITY=3\n"), "{message:?}");
    assert!(message.ends_with("container does not exist\n"), "{message:?}");
}

/// Without a pid namespace of its own a container lives on when its first process is gone: `kill KILL` and
/// `delete --force` still reach the others.
#[test]
fn root_what_outlives_the_first_process_is_still_the_containers() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sleep", "1000"]));
    bundle.change(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|entry| entry["type"] != "pid");
    });
    for end in [["kill", "KILL"], ["delete", "--force"]] {
        let id = sandbox.id(end[0]);
        sandbox.runtime(["run", "-d", &id]).run().success();
        sandbox.runtime(["exec", "-d", &id, "sleep", "1000"]).run().success();
        let state: Value = serde_json::from_str(&sandbox.runtime(["state", &id]).run().stdout).unwrap();
        let init = state["pid"].to_string();
        let pids = || -> Vec<i32> {
            serde_json::from_str(&sandbox.runtime(["ps", "-f", "json", &id]).run().success().stdout).unwrap()
        };
        assert_eq!(pids().len(), 2);
        sandbox.command("kill").args(["-9", &init]).run().success();
        poll(Duration::from_secs(10), || (pids().len() == 1).then_some(())).expect("the other one is left");
        sandbox.runtime(["kill", &id, "TERM"]).run().exits(1).says("container not running");
        let words = if end[0] == "kill" { vec!["kill", &id, "KILL"] } else { vec!["delete", "--force", &id] };
        sandbox.runtime(words).run().success();
        if end[0] == "kill" {
            poll(Duration::from_secs(10), || pids().is_empty().then_some(())).expect("all are gone");
            sandbox.runtime(["kill", &id, "KILL"]).run().exits(1).says("container not running");
            sandbox.runtime(["kill", "--all", &id, "0"]).run().success();
            sandbox.runtime(["delete", &id]).run().success();
        }
    }
    sandbox.finish();
}

#[test]
fn root_signal_0_only_asks_and_a_created_container_listens_to_others() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    needs!(Bundle::create(&sandbox.work(), &["sleep", "1000"]));
    for signal in ["TERM", "INT", "HUP"] {
        let id = sandbox.id(signal);
        sandbox.runtime(["create", &id]).run().success();
        sandbox.runtime(["kill", &id, "0"]).run().success();
        sandbox.runtime(["kill", &id, signal]).run().success();
        let gone = || (sandbox.runtime(["kill", &id, "0"]).run().code() == 1).then_some(());
        poll(Duration::from_secs(10), gone).expect("it has ended");
        sandbox.runtime(["start", &id]).run().exits(1).says("cannot start a container that has stopped");
        sandbox.runtime(["delete", &id]).run().success();
    }
    sandbox.finish();
}

#[test]
fn root_exec_joins_the_cgroups_that_it_is_told_to() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    needs!(Bundle::create(&sandbox.work(), &["sleep", "1000"]));
    let id = sandbox.id("a");
    sandbox.runtime(["run", "-d", &id]).run().success();
    let exec = |words: &[&str]| sandbox.runtime(["exec"].iter().chain(words)).run();
    exec(&["--cgroup", "..", &id, "true"]).exits(255).says("bad sub cgroup path");
    exec(&["--cgroup", "a/../../..", &id, "true"]).exits(255).says("bad sub cgroup path");
    exec(&["--cgroup", "whatever:/", &id, "true"]).exits(255).says("unknown controller whatever");
    exec(&["--cgroup", "missing", &id, "true"]).exits(255).says("no such file or directory");
    exec(&["--cgroup", "/", &id, "true"]).success();
    let state: Value = serde_json::from_str(
        &fs::read_to_string(sandbox.path("run/runtime").join(&id).join("state.json")).unwrap(),
    )
    .unwrap();
    let directory = |controller: &str| state["cgroup_paths"][controller].as_str().map(Path::new);
    let Some((memory, pids)) = directory("memory").zip(directory("pids")) else {
        // One hierarchy: there is no choice.
        sandbox.runtime(["delete", "-f", &id]).run().success();
        return sandbox.finish();
    };
    fs::create_dir(memory.join("below")).unwrap();
    let own = exec(&[
        "--cgroup",
        "memory:below",
        "--cgroup=pids:/",
        &id,
        "cat",
        "/proc/1/cgroup",
        "/proc/self/cgroup",
    ]);
    let own = own.success().stdout;
    let ends = |controller: &str, name: &str| {
        own.lines().any(|line| line.contains(&format!(":{controller}:")) && line.ends_with(name))
    };
    assert!(ends("memory", "/below") && !ends("pids", "/below"), "{own}");
    assert!(pids.exists());
    sandbox.runtime(["delete", "-f", &id]).run().success();
    sandbox.finish();
}

#[test]
fn root_exec_adds_capabilities() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sleep", "1000"]));
    let id = sandbox.id("a");
    // What is inheritable must be in the bounding set: capabilities(7).
    let sets = |inheritable: &[&str]| {
        let bounding = [&["CAP_KILL"], inheritable].concat();
        json!({ "bounding": bounding, "effective": ["CAP_KILL"],
                "permitted": ["CAP_KILL"], "inheritable": inheritable })
    };
    let caps = |words: &[&str]| {
        let run = sandbox.runtime(["exec"].iter().chain(words).chain(&[
            id.as_str(),
            "grep",
            "^Cap",
            "/proc/self/status",
        ]));
        let text = {
            let mut run = run;
            run.run().success().stdout
        };
        let number = |line: &str| u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
        text.lines().map(number).collect::<Vec<_>>()
    };
    // In the order of /proc: inheritable, permitted, effective, bounding, ambient. KILL is 5, CHOWN is 0.
    bundle.change(|config| config["process"]["capabilities"] = sets(&[]));
    sandbox.runtime(["run", "-d", &id]).run().success();
    assert_eq!(caps(&[]), [0, 0x20, 0x20, 0x20, 0]);
    assert_eq!(caps(&["--cap", "CAP_CHOWN"]), [0, 0x21, 0x21, 0x21, 0]);
    sandbox.runtime(["delete", "-f", &id]).run().success();
    bundle.change(|config| config["process"]["capabilities"] = sets(&["CAP_CHOWN"]));
    sandbox.runtime(["run", "-d", &id]).run().success();
    assert_eq!(caps(&["--cap", "CAP_CHOWN"]), [1, 0x21, 0x21, 0x21, 1]);
    sandbox.runtime(["delete", "-f", &id]).run().success();
    sandbox.finish();
}

/// The manual's examples, line by line as they stand there.
#[test]
fn root_the_examples_of_the_manual_run() {
    needs!(require::root());
    let manual = include_str!("../../docs/man/conex-runtime.8");
    let lines: Vec<_> = manual
        .split("\n.Bd -literal")
        .skip(1)
        .flat_map(|block| block.split("\n.Ed").next().unwrap_or_default().lines().skip(1))
        .collect();
    assert!(
        lines.len() > 10
            && lines.iter().any(|line| line.contains("conex-runtime run") || line.contains("create"))
    );
    let sandbox = Sandbox::new();
    let bundle = needs!(Bundle::create(&sandbox.work(), &["true"]));
    fs::remove_file(bundle.path.join("config.json")).unwrap();
    // Their container has a name of its own: a run directory of nobody else's keeps it apart.
    let script = format!(
        "set -eux; mount -t tmpfs run /run; cd {}; export PATH={}:$PATH\n{}\n[ -z \"$(conex-runtime list --quiet)\" ]",
        bundle.path.display(),
        sandbox.programs().display(),
        lines.join("\n"),
    );
    let mut walk = sandbox.command("unshare");
    walk.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
    walk.run().success().says("+ conex-runtime features");
    sandbox.finish();
}

/// Directories of the container's cgroup that were there before: frozen ones stay as they are, empty cpusets on the
/// way (cgroup v1) are no obstacle.
#[test]
fn root_a_cgroup_that_was_there_before() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["true"]));
    let id = sandbox.id("a");
    let v1 = Path::new("/sys/fs/cgroup/freezer/tasks").exists();
    let (hierarchy, file, frozen) =
        if v1 { ("freezer", "freezer.state", "FROZEN") } else { (".", "cgroup.freeze", "1") };
    let place = Path::new("/sys/fs/cgroup").join(hierarchy).join(&id);
    fs::create_dir(&place).unwrap();
    fs::write(place.join(file), frozen).unwrap();
    bundle.change(|config| config["linux"]["cgroupsPath"] = json!(format!("/{id}")));
    for verb in ["run", "create"] {
        sandbox.runtime([verb, &id]).run().exits(1).says("container's cgroup unexpectedly frozen");
        assert_eq!(fs::read_to_string(place.join(file)).unwrap().trim(), frozen);
    }
    fs::remove_dir(&place).unwrap();

    let cpuset = Path::new("/sys/fs/cgroup/cpuset").join(&id);
    let pod = if v1 && cpuset.parent().unwrap().exists() { Some(cpuset) } else { None };
    if let Some(pod) = &pod {
        fs::create_dir_all(pod.join("empty")).unwrap();
    }
    bundle.change(|config| config["linux"]["cgroupsPath"] = json!(format!("/{id}/empty/own")));
    sandbox.runtime(["run", &id]).run().success();
    // Parents stay: they may be others' too.
    for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path()) {
        fs::remove_dir(hierarchy.join(&id).join("empty")).ok();
        fs::remove_dir(hierarchy.join(&id)).ok();
    }
    for name in [format!("{id}/empty"), id.clone()] {
        fs::remove_dir(Path::new("/sys/fs/cgroup").join(name)).ok();
    }
    sandbox.finish();
}
