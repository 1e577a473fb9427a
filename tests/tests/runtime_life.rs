// SPDX-License-Identifier: Apache-2.0
//! A container's life by the runtime's verbs: what they do, print and answer, in runc's words.

use std::fs;
use std::path::Path;
use std::time::Duration;

use conex_testkit::bundle::Bundle;
use conex_testkit::run::poll;
use conex_testkit::{Run, Sandbox, needs, require};
use serde_json::{Value, json};

fn bundle(sandbox: &Sandbox, words: &[&str]) -> require::Requirement<Bundle> {
    Bundle::create(&sandbox.work(), words)
}

fn state(sandbox: &Sandbox, id: &str) -> Value {
    let printed = sandbox.runtime(["state", id]).run().success().stdout;
    assert!(!printed.ends_with('\n'), "runc prints no newline after the state");
    serde_json::from_str(&printed).expect("state is JSON")
}

#[test]
fn root_run_gives_back_output_and_status() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(bundle(&sandbox, &["sh", "-c", "echo out; echo err >&2; exit 7"]));
    let output = sandbox.runtime(["run", &sandbox.id("a")]).run().exits(7);
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));

    // The first process of a pid namespace cannot kill itself.
    bundle.change(|config| {
        config["process"]["args"] = json!(["sh", "-c", "kill -9 $$"]);
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
    });
    sandbox.runtime(["run", &sandbox.id("b")]).run().exits(137);
    bundle.change(|config| config["process"]["args"] = json!(["cat"]));
    let echoed = sandbox.runtime(["run", &sandbox.id("c")]).run_with(b"through\n", Duration::from_secs(20));
    assert_eq!(echoed.success().stdout, "through\n");
    sandbox.finish();
}

#[test]
fn root_without_cgroups_a_container_stays_in_its_creators() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let bundle = needs!(bundle(&sandbox, &["cat", "/proc/self/cgroup"]));
    let mut run = sandbox.runtime(["--cgroup-manager", "disabled", "run", "--bundle"]);
    let output = run.arg(&bundle.path).arg(sandbox.id("bare")).run().success();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    assert_eq!(output.stdout, own);
    sandbox.finish();
}

#[test]
fn root_every_status_is_told_and_every_verb_knows_when_it_fits() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    needs!(bundle(&sandbox, &["sleep", "1000"]));
    let id = sandbox.id("web");
    let id = id.as_str();
    let pid_file = sandbox.path("pid");
    let verb = |words: &[&str]| sandbox.runtime(words.iter()).run();

    let pid_option = format!("--pid-file={}", pid_file.display());
    verb(&["create", &pid_option, id]).success();
    let created = state(&sandbox, id);
    assert_eq!(created["status"], "created");
    assert_eq!(created["bundle"].as_str(), sandbox.work().to_str());
    assert_eq!(fs::read_to_string(&pid_file).unwrap(), created["pid"].to_string(), "decimal, no newline");
    verb(&["create", id]).exits(1).says("container with given ID already exists");
    verb(&["resume", id]).exits(1).says("container not paused");

    verb(&["start", id]).success();
    assert_eq!(state(&sandbox, id)["status"], "running");
    verb(&["start", id]).exits(1).says("cannot start an already running container");
    verb(&["delete", id]).exits(1).says("that is not stopped: running");

    verb(&["pause", id]).success();
    assert_eq!(state(&sandbox, id)["status"], "paused");
    verb(&["exec", id, "true"]).exits(255).says("cannot exec in a paused container");
    verb(&["resume", id]).success();

    verb(&["kill", id, "KILL"]).success();
    let stopped = || (state(&sandbox, id)["status"] == "stopped").then_some(());
    poll(Duration::from_secs(10), stopped).expect("stopped");
    assert_eq!(state(&sandbox, id)["pid"], 0);
    verb(&["kill", id]).exits(1).says("container not running");
    verb(&["exec", id, "true"]).exits(255).says("cannot exec in a stopped container");
    verb(&["start", id]).exits(1).says("cannot start a container that has stopped");
    verb(&["delete", id]).success();
    verb(&["state", id]).exits(1).says("container does not exist");
    verb(&["delete", id]).exits(1).says("does not exist");
    verb(&["delete", "--force", id]).success();
    sandbox.finish();
}

/// config.md, "Process": it is the start that needs one.
#[test]
fn root_without_a_process_a_container_can_be_made_but_not_started() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut made = needs!(bundle(&sandbox, &["true"]));
    made.change(|config| drop(config.as_object_mut().unwrap().remove("process")));
    let id = sandbox.id("a");
    sandbox.runtime(["create", &id]).run().success();
    let output = sandbox.runtime(["start", &id]).run().exits(1);
    assert!(output.stderr.contains("no process"), "{output}");
    assert_eq!(state(&sandbox, &id)["status"], "created");
    sandbox.runtime(["delete", "--force", &id]).run().success();
    let output = sandbox.runtime(["run", &id]).run().exits(1);
    assert!(output.stderr.contains("no process"), "{output}");
    assert_eq!(sandbox.runtime(["list", "--quiet"]).run().success().stdout, "");
    sandbox.finish();
}

#[test]
fn root_list_and_ps_print_what_their_readers_parse() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    needs!(bundle(&sandbox, &["sleep", "1000"]));
    let id = sandbox.id("web");
    sandbox.runtime(["list"]).run().exits(1).says("no such file");
    sandbox.runtime(["run", "-d", &id]).run().success();

    let table = sandbox.runtime(["list"]).run().success().stdout;
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<_> = table.lines().map(words).collect();
    assert_eq!(lines[0], ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    assert_eq!(
        (lines[1][0].as_str(), lines[1][2].as_str(), lines[1][5].as_str()),
        (id.as_str(), "running", "root")
    );
    let json: Value =
        serde_json::from_str(&sandbox.runtime(["list", "-f", "json"]).run().success().stdout).unwrap();
    assert_eq!((json[0]["id"].as_str(), &json[0]["status"]), (Some(id.as_str()), &json!("running")));
    assert_eq!(sandbox.runtime(["list", "--quiet"]).run().success().stdout, format!("{id}\n"));

    let pids: Vec<i32> =
        serde_json::from_str(&sandbox.runtime(["ps", "--format=json", &id]).run().success().stdout).unwrap();
    assert_eq!(pids, [i32::try_from(state(&sandbox, &id)["pid"].as_i64().unwrap()).unwrap()]);
    let ps = sandbox.runtime(["ps", &id, "-o", "pid,args"]).run().success().stdout;
    assert!(ps.contains("sleep 1000") && ps.lines().count() == 2, "{ps}");

    sandbox.runtime(["delete", "-f", &id]).run().success();
    assert_eq!(sandbox.runtime(["list", "-f", "json"]).run().success().stdout, "null\n");
    sandbox.finish();
}

#[test]
fn root_exec_enters_with_its_own_user_environment_and_status() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    needs!(bundle(&sandbox, &["sleep", "1000"]));
    let id = sandbox.id("web");
    sandbox.runtime(["run", "-d", &id]).run().success();
    let exec = |words: &[&str]| sandbox.runtime(["exec"].iter().chain(words)).run();

    exec(&[&id, "sh", "-c", "exit 5"]).exits(5);
    let own =
        exec(&["-u", "5:6", "-e", "A=b", "--cwd", "/tmp", &id, "sh", "-c", "id -u; id -g; echo $A; pwd"]);
    assert_eq!(own.success().stdout, "5\n6\nb\n/tmp\n");
    for user in ["1x", "", "root", "1:", ":1", "-1"] {
        exec(&["-u", user, &id, "id"]).exits(255);
    }
    let inside =
        exec(&[&id, "sh", "-c", "hostname; cat /proc/1/cmdline | tr '\\0' ' '; ls /proc/self/fd | wc -l"]);
    // ls itself has the directory open.
    assert_eq!(inside.success().stdout, "conex\nsleep 1000 4\n");
    exec(&[&id, "no-such-program"]).exits(255).says("executable file not found in $PATH");
    exec(&[&id, "/etc"]).exits(255).says("is a directory");
    exec(&[&id]).exits(255).says("exec args cannot be empty");

    let process = sandbox.path("process.json");
    let described = json!({ "args": ["sh", "-c", "id -u; pwd; echo $B"], "cwd": "/dev", "env": ["PATH=/bin", "B=c"],
                            "user": { "uid": 9, "gid": 9 } });
    fs::write(&process, described.to_string()).unwrap();
    let printed = exec(&["--process", process.to_str().unwrap(), &id]).success().stdout;
    assert_eq!(printed, "9\n/dev\nc\n");

    let pid_file = sandbox.path("exec.pid");
    exec(&["-d", "--pid-file", pid_file.to_str().unwrap(), &id, "sleep", "500"]).success();
    let pid = fs::read_to_string(&pid_file).unwrap();
    let cmdline = Path::new("/proc").join(&pid).join("cmdline");
    let runs = || (fs::read_to_string(&cmdline).ok()? == "sleep\u{0}500\u{0}").then_some(());
    poll(Duration::from_secs(10), runs).expect("the program of the pid file");
    let cgroups = |pid: &str| fs::read_to_string(Path::new("/proc").join(pid).join("cgroup")).unwrap();
    assert_eq!(
        cgroups(&pid),
        cgroups(&state(&sandbox, &id)["pid"].to_string()),
        "accounted in the container"
    );
    sandbox.runtime(["delete", "--force", &id]).run().success();
    sandbox.finish();
}

#[test]
fn root_a_log_file_gets_one_error_object_and_nothing_else() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(bundle(&sandbox, &["no-such-program"]));
    // Worth a warning as well, which must not go there.
    bundle.change(|config| config["process"]["capabilities"]["bounding"] = json!(["CAP_FLY"]));
    let log = sandbox.path("log.json");
    let words = ["--log", log.to_str().unwrap(), "--log-format=json", "create", "-b", ".", &sandbox.id("a")];
    let failed = sandbox.runtime(words).run().exits(1);
    let object: Value = serde_json::from_str(&fs::read_to_string(&log).unwrap()).expect("one object");
    assert_eq!(object["level"], "error");
    let message = object["msg"].as_str().unwrap();
    assert!(message.ends_with("exec: \"no-such-program\": executable file not found in $PATH"), "{message}");
    assert!(
        message.contains("create failed: unable to start container process: error during container init: ")
    );
    assert!(failed.stderr.contains(message), "the same on standard error: {failed}");
    let time = object["time"].as_str().unwrap();
    assert!(time.len() == 20 && time.ends_with('Z') && &time[10..11] == "T", "{time}");
    sandbox.finish();
}

#[test]
fn root_a_terminal_needs_a_socket_or_a_foreground() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(bundle(&sandbox, &["true"]));
    bundle.change(|config| config["process"]["terminal"] = json!(true));
    let id = sandbox.id("a");
    let wanted = "cannot allocate tty if runc will detach without setting console socket";
    sandbox.runtime(["run", &id, "--detach"]).run().exits(1).says(wanted);
    sandbox.runtime(["create", &id]).run().exits(1).says(wanted);
    bundle.change(|config| config["process"]["terminal"] = json!(false));
    sandbox
        .runtime(["create", "--console-socket", "/nowhere", &id])
        .run()
        .exits(1)
        .says("cannot use console socket if runc will not detach or allocate tty");
    assert_eq!(sandbox.runtime(["list", "-q"]).run().stdout, "");
    sandbox.finish();
}

#[test]
fn root_a_console_socket_gets_the_master_of_the_containers_own_devpts() {
    use std::io::Read;
    use std::os::fd::AsFd;
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(bundle(
        &sandbox,
        &["sh", "-c", "readlink /proc/self/fd/0; stty size; ls -l /dev/console | cut -c1"]
    ));
    bundle.change(|config| {
        config["process"]["terminal"] = json!(true);
        config["process"]["consoleSize"] = json!({ "height": 33, "width": 77 });
    });
    let path = sandbox.path("console.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let id = sandbox.id("a");
    sandbox.runtime(["run", "-d", "--console-socket", path.to_str().unwrap(), &id]).run().success();
    let (connection, _) = listener.accept().unwrap();
    let mut name = [0; 64];
    let (length, master) = conex_testkit::fd::receive(connection.as_fd(), &mut name);
    assert_eq!(&name[..length], b"/dev/pts/0");
    let mut printed = String::new();
    let mut master = fs::File::from(master.expect("a descriptor comes along"));
    // A master ends with EIO once all programs have closed the terminal.
    let _ = master.read_to_string(&mut printed);
    assert_eq!(printed.replace("\r\n", "\n"), "/dev/pts/0\n33 77\nc\n");
    sandbox.runtime(["delete", "--force", &id]).run().success();
    sandbox.finish();
}

#[test]
fn root_a_killed_create_leaves_nothing_that_delete_cannot_clean() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(bundle(&sandbox, &["sleep", "1000"]));
    bundle.change(|config| {
        // Inside, where it ends with the container; a hook on the host would be its caller's to end.
        config["hooks"] = json!({ "createContainer": [{ "path": "/bin/sleep", "args": ["sleep", "60"] }] });
    });
    // At many moments of a creation that ends by hanging in a hook.
    for delay in (0..12).map(|step| Duration::from_millis(step * 4)) {
        let id = sandbox.id(&format!("k{}", delay.as_millis()));
        let mut create = sandbox.runtime(["create", &id]).background();
        std::thread::sleep(delay);
        create.child.kill().unwrap();
        create.child.wait().unwrap();
        sandbox.runtime(["delete", "--force", &id]).run().success();
        sandbox.runtime(["state", &id]).run().exits(1).says("does not exist");
    }
    sandbox.finish();
}

#[test]
fn root_a_second_container_in_a_cgroup_is_refused_and_the_first_lives_on() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(bundle(&sandbox, &["sleep", "1000"]));
    bundle.change(|config| config["linux"]["cgroupsPath"] = json!(format!("/{}", sandbox.id("shared"))));
    let (first, second) = (sandbox.id("first"), sandbox.id("second"));
    sandbox.runtime(["run", "-d", &first]).run().success();
    sandbox.runtime(["run", "-d", &second]).run().exits(1).says("cgroup is not empty");
    assert_eq!(state(&sandbox, &first)["status"], "running");
    sandbox.runtime(["state", &second]).run().exits(1).says("does not exist");
    sandbox.runtime(["delete", "-f", &first]).run().success();
    sandbox.finish();
}

#[test]
fn root_a_create_that_hangs_lets_nobody_in_and_ends_by_delete_force() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(bundle(&sandbox, &["true"]));
    bundle.change(|config| {
        config["hooks"] = json!({ "createContainer": [{ "path": "/bin/sleep", "args": ["sleep", "60"] }] });
    });
    let id = sandbox.id("a");
    let mut create = sandbox.runtime(["create", &id]).background();
    let has_pid = || {
        let output = sandbox.runtime(["state", &id]).run();
        let state: Value = serde_json::from_str(&output.stdout).ok()?;
        (state["status"] == "creating" && state["pid"] != 0).then_some(())
    };
    poll(Duration::from_secs(10), has_pid).expect("creating");
    // The init may still be in the host's root: what came in now would execute the host's files.
    sandbox.runtime(["exec", &id, "true"]).run().exits(255).says("still being created");
    sandbox.runtime(["delete", "--force", &id]).run().success();
    let status = create.wait(Duration::from_secs(10)).expect("create ends when its container is deleted");
    assert!(!status.success());
    sandbox.finish();
}

#[test]
fn root_signals_reach_the_container_in_the_foreground() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    needs!(bundle(
        &sandbox,
        &["sh", "-c", "trap 'echo got; exit 3' TERM; echo ready; while :; do sleep 0.05; done"]
    ));
    let mut run = sandbox.runtime(["run", &sandbox.id("a")]).background();
    poll(Duration::from_secs(20), || run.output().contains("ready").then_some(())).expect("ready");
    let pid = run.child.id().to_string();
    std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert_eq!(run.wait(Duration::from_secs(20)).expect("ends").code(), Some(3));
    assert_eq!(run.output(), "ready\ngot\n");
    sandbox.finish();
}

#[test]
fn unknown_words_are_refused_and_help_needs_nothing() {
    let sandbox = Sandbox::new();
    for (name, status) in [("runc", 3), ("crun", 1)] {
        let program = sandbox.programs().join(name);
        sandbox.command(program).arg("frobnicate").run().exits(status).says("frobnicate");
    }
    sandbox.runtime(["run", "--frobnicate", "x"]).run().exits(1).says("--frobnicate");
    sandbox.runtime(["state"]).run().exits(1).says("state");
    for id in ["../x", "a/b", "", ".", ".."] {
        sandbox.runtime(["state", id]).run().exits(1).says("invalid container ID format");
    }
    let help = sandbox.runtime(["--help"]).run().success().stdout;
    assert!(help.contains("create") && !help.contains("monitor"), "{help}");
    assert!(sandbox.runtime(["exec", "--help"]).run().success().stdout.contains("--env, -e NAME=VALUE"));
    let version = sandbox.command(sandbox.programs().join("runc")).arg("--version").run().success().stdout;
    assert!(version.starts_with("runc version "), "{version}");
    sandbox.finish();
}
