// SPDX-License-Identifier: Apache-2.0
//! Containers through the command line, as root and as an ordinary user: run, look, talk to, end, remove; and what is
//! left when somebody is killed in the middle of it.
#![allow(clippy::unwrap_used, reason = "stories are told outside of the #[test] functions, too")]

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use conex_testkit::run::poll;
use conex_testkit::user::Range;
use conex_testkit::{Output, Place, Run, Sandbox, busybox, for_both, needs, require};
use serde_json::Value;

/// What containers are asked.
trait Containers {
    /// `conex run --rm … busybox …`
    fn run(&self, options: &[&str], words: &[&str]) -> Output;
    fn prints(&self, options: &[&str], words: &[&str]) -> String;
    fn line(&self, words: &[&str]) -> String;
    fn containers(&self) -> PathBuf;
    /// Nothing is left of any container, and the store is whole.
    fn is_clean(&self);
}

impl Containers for Place<'_> {
    fn run(&self, options: &[&str], words: &[&str]) -> Output {
        self.conex(&[&["run", "--rm"], options, &["busybox"], words].concat()).run()
    }

    fn prints(&self, options: &[&str], words: &[&str]) -> String {
        self.run(options, words).success().stdout
    }

    fn line(&self, words: &[&str]) -> String {
        self.conex(words).run().success().stdout.trim_end().to_owned()
    }

    fn containers(&self) -> PathBuf {
        self.sandbox.store().join("containers")
    }

    #[track_caller]
    fn is_clean(&self) {
        assert_eq!(self.line(&["ps", "--all", "--quiet"]), "");
        let names = |path: PathBuf| {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            entries.map(|entry| entry.file_name().into_string().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(names(self.containers()), ["by-name"]);
        assert_eq!(names(self.containers().join("by-name")), Vec::<String>::new());
        self.conex(&["system", "fsck"]).run().success();
    }
}

for_both!(options, root_options_of_run, root_options_of_run_for_a_user);
fn options(place: &Place<'_>) {
    assert_eq!(place.prints(&[], &[]), busybox::MOTD, "the image's own command");
    assert_eq!(place.prints(&[], &["echo", "hello", "world"]), "hello world\n");
    assert_eq!(place.prints(&["-e", "A=1", "-e", "B=x y"], &["sh", "-c", "echo $A $B"]), "1 x y\n");
    assert_eq!(place.prints(&["-w", "/tmp"], &["pwd"]), "/tmp\n");
    assert_eq!(place.prints(&["--hostname", "web"], &["hostname"]), "web\n");
    assert_eq!(place.prints(&["--entrypoint", "echo"], &["-n", "x"]), "x");
    assert_eq!(place.prints(&["--entrypoint", r#"["sh","-c"]"#], &["echo $0", "a"]), "a\n");
    assert_eq!(place.prints(&["-u", "1000:2000"], &["id", "-u"]), "1000\n");
    assert_eq!(
        place.prints(&["-u", "user"], &["sh", "-c", "id -u; id -g; echo $HOME"]),
        "1000\n1000\n/tmp\n"
    );
    assert_eq!(place.run(&[], &["sh", "-c", "echo out; echo err >&2; exit 7"]).exits(7).stderr, "err\n");
    // The first process of a pid namespace is spared the signals that it does not handle; its child is not.
    place.run(&[], &["sh", "-c", "sh -c 'kill -TERM $$'; exit $?"]).exits(128 + 15);
    place.run(&["-u", "nobody-there"], &["true"]).exits(125).says("nobody-there");
    place.run(&[], &["no-such-program"]).exits(127).says("no-such-program");
    place.run(&[], &["/etc/motd"]).exits(126).says("/etc/motd");
    place.is_clean();
}

for_both!(volumes, root_volumes, root_volumes_for_a_user);
fn volumes(place: &Place<'_>) {
    let host = place.sandbox.work().join("shared");
    std::fs::create_dir_all(&host).unwrap();
    std::fs::write(host.join("file"), "from outside\n").unwrap();
    if let Some(user) = &place.user {
        user.own(&host);
    }
    let read_only = format!("{}:/data:ro", host.display());
    assert_eq!(place.prints(&["-v", &read_only], &["cat", "/data/file"]), "from outside\n");
    place.run(&["-v", &read_only], &["touch", "/data/new"]).exits(1).says("Read-only");
    place.prints(&["-v", "./shared:/data"], &["sh", "-c", "echo inside > /data/made"]);
    assert_eq!(std::fs::read_to_string(host.join("made")).unwrap(), "inside\n");
    place.prints(&["-v", "cache:/cache"], &["sh", "-c", "echo kept > /cache/x"]);
    assert_eq!(place.prints(&["-v", "cache:/cache"], &["cat", "/cache/x"]), "kept\n");
    place.run(&["-v", "/no/such/place:/data"], &["true"]).exits(125).says("mkdir -p /no/such/place");
    place.run(&["-v", "/tmp"], &["true"]).exits(125).says("hint: write -v");
    place.is_clean();
}

for_both!(life, root_a_life, root_a_life_for_a_user);
fn life(place: &Place<'_>) {
    let id = place.line(&["run", "-d", "--name", "web", "busybox", "sh", "-c", "echo started; sleep 1000"]);
    assert_eq!(id.len(), 64);
    let table = place.line(&["ps"]);
    assert!(
        table.starts_with("CONTAINER ID   IMAGE") && table.contains(&id[..12]) && table.contains("Up "),
        "{table}"
    );
    assert_eq!(place.line(&["ps", "-q", "--no-trunc"]), id);
    assert_eq!(place.line(&["ps", "--format", "{{.Names}} {{.State}}"]), "web running");
    assert_eq!(place.line(&["inspect", "--format", "{{.State.Status}}", &id[..6]]), "running");
    place
        .conex(&["run", "--rm", "--name", "web", "busybox", "true"])
        .run()
        .exits(125)
        .says("conex rm -f web");

    assert!(
        poll(Duration::from_secs(10), || (place.line(&["logs", "web"]) == "started").then_some(())).is_some()
    );
    assert_eq!(place.line(&["exec", "web", "cat", "/etc/motd"]), busybox::MOTD.trim_end());
    assert_eq!(
        place.line(&[
            "exec",
            "-u",
            "user",
            "-w",
            "/tmp",
            "-e",
            "X=1",
            "web",
            "sh",
            "-c",
            "id -u; pwd; echo $X"
        ]),
        "1000\n/tmp\n1"
    );
    assert_eq!(
        place
            .conex(&["exec", "-i", "web", "cat"])
            .run_with(b"typed", Duration::from_secs(20))
            .success()
            .stdout,
        "typed"
    );
    place.conex(&["exec", "web", "sh", "-c", "exit 3"]).run().exits(3);
    place.conex(&["exec", "web", "no-such-program"]).run().exits(127).says("no-such-program");
    place.conex(&["exec", "web", "/etc/motd"]).run().exits(126);
    place.conex(&["rm", "web"]).run().exits(2).says("conex rm -f web");

    // The shell has no handler for TERM: as the first process it does not get it, and KILL comes a second later.
    assert_eq!(place.line(&["stop", "-t", "1", "web"]), "web");
    assert_eq!(place.line(&["ps", "-q"]), "");
    assert_eq!(place.line(&["ps", "-a", "--format", "{{.Names}} {{.State}}"]), "web exited");
    assert_eq!(place.line(&["inspect", "--format", "{{.State.ExitCode}}", "web"]), "137");
    place.conex(&["exec", "web", "true"]).run().exits(125).says("conex start web");
    place.conex(&["kill", "web"]).run().exits(125).says("not running");

    assert_eq!(place.line(&["start", "web"]), "web");
    assert_eq!(place.line(&["ps", "-q", "--no-trunc"]), id);
    assert_eq!(place.line(&["kill", "-s", "KILL", "web"]), "web");
    assert_eq!(place.line(&["wait", "web"]), "137");
    assert_eq!(place.line(&["logs", "--tail", "1", "web"]), "started");
    assert_eq!(place.line(&["rm", "web"]), "web");
    place.conex(&["rm", "web"]).run().exits(1).says("conex ps -a");
    place.conex(&["rm", "-f", "web"]).run().success();
    place.is_clean();
}

for_both!(input, root_input_and_output, root_input_and_output_for_a_user);
fn input(place: &Place<'_>) {
    let limit = Duration::from_secs(30);
    let echoed = place.conex(&["run", "--rm", "-i", "busybox", "cat"]).run_with(b"one\ntwo", limit).success();
    assert_eq!(echoed.stdout, "one\ntwo");
    // Without -i there is no input, not an endless wait.
    assert_eq!(
        place.conex(&["run", "--rm", "busybox", "cat"]).run_with(b"unread", limit).success().stdout,
        ""
    );
    // More than any buffer holds, both ways.
    let much = "0123456789abcdef\n".repeat(50_000);
    let back =
        place.conex(&["run", "--rm", "-i", "busybox", "cat"]).run_with(much.as_bytes(), limit).success();
    assert!(back.stdout == much, "{} bytes of {}", back.stdout.len(), much.len());
    // Nobody reads any more: the container ends, and does not write into its log for ever.
    let mut cut = place.sandbox.command("sh");
    if place.user.is_none() {
        cut.args([
            "-c",
            &format!("{} | head -n 1", spelled(&place.conex(&["run", "--rm", "busybox", "yes"]))),
        ]);
        assert_eq!(cut.run_with(b"", limit).success().stdout, "y\n");
    }
    let lines = place.prints(&[], &["sh", "-c", "seq 1 20000"]);
    assert_eq!(lines.lines().count(), 20_000);
    place.is_clean();
}

for_both!(terminal, root_a_terminal, root_a_terminal_for_a_user);
fn terminal(place: &Place<'_>) {
    let typed = |conex: &str, keys: &[u8]| {
        let mut script = place.command("script");
        script.args(["-qec", conex, "/dev/null"]);
        script.run_with(keys, Duration::from_secs(30))
    };
    let conex = match &place.user {
        Some(_) => place.sandbox.path("bin/conex").display().to_string(),
        None => spelled(&place.conex(&[])),
    };
    let shown = typed(
        &format!("stty rows 31 cols 99; {conex} run --rm -it busybox sh -c 'tty; stty size; exit 4'"),
        b"",
    );
    assert!(
        shown.code() == 4 && shown.stdout.contains("/dev/pts/0") && shown.stdout.contains("31 99"),
        "{shown}"
    );
    let shown = typed(&format!("{conex} run --rm -it busybox sh -c 'read x; echo got $x'"), b"words\n");
    assert!(shown.stdout.contains("got words\r\n"), "{shown}");
    // ctrl-p ctrl-q leaves it running. Before the terminal is raw it swallows them: so they are typed again and again.
    let detaching = format!(
        "(for i in $(seq 50); do sleep 0.2; printf '\\020\\021' || exit; done) |
         script -qec \"{conex} run -it --name left busybox sleep 1000\" /dev/null"
    );
    place.command("sh").args(["-c", &detaching]).run().success();
    assert_eq!(place.line(&["ps", "--format", "{{.Names}}"]), "left");
    let shown = typed(&format!("{conex} exec -it left sh -c 'tty; exit 6'"), b"");
    assert!(shown.code() == 6 && shown.stdout.contains("/dev/pts/"), "{shown}");
    place.conex(&["run", "--rm", "-it", "busybox", "true"]).run().exits(125).says("not a terminal");
    place.conex(&["rm", "-f", "left"]).run().success();
    place.is_clean();
}

/// The command's words, quoted for a shell.
fn spelled(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| format!("'{}'", word.to_str().unwrap())).collect::<Vec<_>>().join(" ")
}

for_both!(killed, root_conex_is_killed, root_conex_is_killed_for_a_user);
/// SIGKILL for `conex run --rm` after ever longer times: the next commands find nothing stuck.
fn killed(place: &Place<'_>) {
    for step in 0..12 {
        let mut run = place.conex(&["run", "--rm", "--name", "shot", "busybox", "sleep", "0.3"]);
        let mut run = run.background();
        std::thread::sleep(Duration::from_millis(step * 20));
        run.child.kill().unwrap();
        run.child.wait().unwrap();
        // Where the container had begun, it goes on without conex, and is gone when it has ended.
        let gone = poll(Duration::from_secs(20), || {
            place.conex(&["run", "--rm", "busybox", "true"]).run().success();
            let left = std::fs::read_dir(place.containers()).unwrap().count();
            (left == 1).then_some(())
        });
        assert!(gone.is_some(), "{:?}", std::fs::read_dir(place.containers()).unwrap().collect::<Vec<_>>());
        place.conex(&["run", "--rm", "--name", "shot", "busybox", "true"]).run().success();
    }
    place.is_clean();
}

for_both!(monitor_killed, root_the_monitor_is_killed, root_the_monitor_is_killed_for_a_user);
/// SIGKILL for the monitor: the container is shown as what it is, can be ended, started again and removed.
fn monitor_killed(place: &Place<'_>) {
    let id = place.line(&["run", "-d", "--name", "orphan", "busybox", "sleep", "1000"]);
    let kill_monitor = || {
        let file = place.containers().join(&id).join("monitor.json");
        let identity: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let pid = identity["pid"].as_i64().unwrap().to_string();
        Command::new("kill").args(["-KILL", &pid]).run().success();
    };
    // The runtime is the host's, whatever the container has at its path.
    let runtime = place.sandbox.programs().join("conex-runtime");
    let (directory, runtime) = (runtime.parent().unwrap().to_str().unwrap(), runtime.to_str().unwrap());
    let trojan =
        format!("mkdir -p {directory}; printf '#!/bin/sh\necho trojan' >{runtime}; chmod 755 {runtime}");
    place.line(&["exec", "orphan", "sh", "-c", &trojan]);
    kill_monitor();
    assert_eq!(place.line(&["exec", "orphan", "echo", "here"]), "here");
    let state = || place.line(&["inspect", "--format", "{{.State.Status}}", "orphan"]);
    assert_eq!(state(), "running", "its process still runs");
    place.conex(&["stop", "-t", "1", "orphan"]).run().success();
    assert_eq!(state(), "exited");
    assert_eq!(place.line(&["ps", "-a", "--format", "{{.Status}}"]), "Exited (unknown)");
    place.conex(&["start", "orphan"]).run().success();
    assert_eq!(place.line(&["exec", "orphan", "echo", "again"]), "again");
    kill_monitor();
    place.conex(&["rm", "-f", "orphan"]).run().success();
    place.is_clean();
}

for_both!(broken_record, root_a_broken_record, root_a_broken_record_for_a_user);
/// A record that cannot be read is told, hides nobody else, and can be removed.
fn broken_record(place: &Place<'_>) {
    let broken = place.line(&["create", "--name", "broken", "busybox", "true"]);
    place.line(&["create", "--name", "whole", "busybox", "true"]);
    std::fs::write(place.containers().join(&broken).join("container.json"), "{\"version\": 1, \"id\"")
        .unwrap();
    let shown = place.conex(&["ps", "-a", "--format", "{{.Names}}"]).run().success();
    assert_eq!(shown.stdout, "whole\n");
    shown.says(&broken[..12]);
    place.conex(&["system", "fsck"]).run().exits(1);
    place.conex(&["start", "broken"]).run().exits(125).says("container.json");
    place.conex(&["rm", "broken", "whole"]).run().success();
    place.is_clean();
}

for_both!(walls, root_walls, root_walls_for_a_user);
fn walls(place: &Place<'_>) {
    let status = place.prints(&[], &["cat", "/proc/self/status"]);
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!(field("Seccomp:"), "2");
    assert_eq!(field("CapEff:"), "00000000800405fb", "podman's eleven");
    assert_eq!(
        place.prints(&["-u", "user"], &["grep", "CapEff", "/proc/self/status"]),
        "CapEff:\t0000000000000000\n"
    );
    let dropped =
        place.prints(&["--cap-drop", "ALL", "--cap-add", "CHOWN"], &["grep", "CapBnd", "/proc/self/status"]);
    assert_eq!(dropped, "CapBnd:\t0000000000000001\n");
    place.run(&[], &["mount", "-t", "tmpfs", "x", "/tmp"]).exits(1);
    place.run(&[], &["unshare", "-m", "true"]).exits(1);
    place.run(&[], &["sh", "-c", "echo 1 > /proc/sys/kernel/panic"]).exits(1);
    place.run(&["--read-only"], &["touch", "/x"]).exits(1).says("Read-only");
    let interfaces = place.prints(&[], &["sh", "-c", "ls /sys/class/net; cat /sys/class/net/lo/operstate"]);
    assert!(interfaces.starts_with("lo\n"), "{interfaces}");
    assert_eq!(place.prints(&[], &["sh", "-c", "ip link show lo | grep -c UP"]), "1\n");
    let host = std::fs::read_link("/proc/self/ns/net").unwrap();
    let inside = place.prints(&["--network", "host"], &["readlink", "/proc/self/ns/net"]);
    assert_eq!(inside.trim_end(), host.to_str().unwrap());
    assert_ne!(place.prints(&[], &["readlink", "/proc/self/ns/net"]), inside);
    let below_sys = ["sh", "-c", "grep ' /sys' /proc/self/mountinfo | cut -d' ' -f5,6"];
    let mounts = place.prints(&["--network", "host"], &below_sys);
    let writable = |line: &&str| !line.split([' ', ',']).any(|word| word == "ro");
    assert_eq!(mounts.lines().find(writable), None, "{mounts}");
    place.run(&["--network", "bridge"], &["true"]).exits(125).says("none");
    assert_eq!(place.prints(&["--hostname", "h"], &["cat", "/etc/hostname"]), "h\n");
    assert!(place.prints(&["--add-host", "db:10.0.0.2"], &["cat", "/etc/hosts"]).contains("10.0.0.2 db\n"));
    place.is_clean();
}

/// The names of processes that a signal of ours reaches: `conex run` passes it on.
#[test]
fn root_signals_reach_the_container() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let place = needs!(Place::of_root(&sandbox));
    let script = "trap 'echo got it; exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let mut run = place.conex(&["run", "--rm", "busybox", "sh", "-c", script]).background();
    assert!(
        poll(Duration::from_secs(20), || run.output().contains("ready").then_some(())).is_some(),
        "{}",
        run.output()
    );
    Command::new("kill").args(["-TERM", &run.child.id().to_string()]).run().success();
    let status = run.wait(Duration::from_secs(20)).expect("it ends");
    assert_eq!(status.code(), Some(9), "{}", run.output());
    assert!(run.output().contains("got it"));
    place.is_clean();
    drop(run);
    sandbox.finish();
}

/// Limits are written to the container's cgroup, and the cgroup goes with it.
#[test]
fn root_limits() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let place = needs!(Place::of_root(&sandbox));
    let id = place.line(&[
        "run",
        "-d",
        "--name",
        "small",
        "-m",
        "64m",
        "--pids-limit",
        "7",
        "busybox",
        "sleep",
        "1000",
    ]);
    let find = |file: &str| {
        let found =
            Command::new("find").args(["/sys/fs/cgroup", "-path", &format!("*{id}*/{file}")]).run().success();
        found.stdout.lines().next().map(|path| std::fs::read_to_string(path).unwrap().trim().to_owned())
    };
    assert_eq!(find("pids.max").as_deref(), Some("7"));
    assert_eq!(find("memory.limit_in_bytes").or_else(|| find("memory.max")).as_deref(), Some("67108864"));
    place.conex(&["rm", "-f", "small"]).run().success();
    let left = Command::new("find").args(["/sys/fs/cgroup", "-name", &format!("*{id}*")]).run().success();
    assert_eq!(left.stdout, "");
    place.is_clean();
    sandbox.finish();
}

/// conex knows a runtime by its command line only.
#[test]
fn root_with_debians_runc() {
    needs!(require::root());
    let runc = needs!(require::program("runc"));
    let sandbox = Sandbox::new();
    let place = needs!(Place::of_root(&sandbox));
    let runc = runc.to_str().unwrap();
    let conex = |words: &[&str]| place.conex(&[&["--runtime", runc], words].concat());
    assert_eq!(conex(&["run", "--rm", "busybox", "echo", "hi"]).run().success().stdout, "hi\n");
    conex(&["run", "--rm", "busybox", "sh", "-c", "exit 7"]).run().exits(7);
    conex(&["run", "--rm", "busybox", "no-such-program"]).run().exits(127);
    conex(&["run", "-d", "--name", "web", "busybox", "sleep", "1000"]).run().success();
    // It remembers whose container it is.
    assert_eq!(place.line(&["exec", "web", "echo", "in"]), "in");
    place.conex(&["rm", "-f", "web"]).run().success();
    place.is_clean();
    sandbox.finish();
}

/// Without a range of ids nothing is half done: the error has the line and the file.
#[test]
fn root_a_user_without_a_range() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let user = sandbox.user(Range::Missing);
    let output = user.conex(["run", "--rm", "busybox", "true"]).run().exits(125);
    output.clone().says("/etc/subuid").says("conex-test:").says("usermod --add-subuids");
    sandbox.finish();
}
