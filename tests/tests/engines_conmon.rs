// SPDX-License-Identifier: Apache-2.0
//! Debian's conmon with `conex-runtime`, called as podman and CRI-O call it: exit file, attach socket, terminal and
//! its size, the file that tells of an OOM kill, further processes.
//!
//! ```text
//! attach socket: SOCK_SEQPACKET; conmon → client: one byte (2 stdout, 3 stderr), then what was written
//! winsz: a fifo in the bundle that takes "ROWS COLUMNS\n"
//! ```
#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Command;

use conex_testkit::bundle::Bundle;
use conex_testkit::require::Requirement;
use conex_testkit::run::{LIMIT, poll};
use conex_testkit::{Run, Sandbox, needs, require};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketType, connect, recv, send, socket,
};
use serde_json::{Value, json};

/// A container that conmon has created.
struct Scene {
    sandbox: Sandbox,
    conmon: PathBuf,
    bundle: Bundle,
    id: String,
}

impl Scene {
    fn create(script: &str, flags: &[&str], change: impl FnOnce(&mut Value)) -> Requirement<Self> {
        require::root()?;
        let sandbox = Sandbox::new();
        let mut bundle = Bundle::create(&sandbox.path("work/bundle"), &["sh", "-c", script])?;
        let id = sandbox.id("c");
        bundle.change(|config| {
            config["process"]["terminal"] = flags.contains(&"--terminal").into();
            config["linux"]["cgroupsPath"] = format!("/{id}").into();
            change(config);
        });
        let scene = Self { conmon: require::packaged("conmon")?, sandbox, bundle, id };
        scene.conmon(&scene.id, flags).run().success();
        scene.wait_for_file("c/pid");
        Ok(scene)
    }

    /// conmon for the container itself or for an exec, with everything it writes in `work/NAME/`.
    fn conmon(&self, name: &str, flags: &[&str]) -> Command {
        let short = name.rsplit('-').next().unwrap();
        let place = |file: &str| self.sandbox.path("work").join(short).join(file);
        for directory in ["exit", "socket", "persist"] {
            fs::create_dir_all(place(directory)).unwrap();
        }
        let mut command = self.sandbox.command(&self.conmon);
        command.args(["--api-version", "1", "--cid", &self.id, "--cuuid", name, "--name", name]);
        command.arg("--runtime").arg(self.sandbox.programs().join("conex-runtime"));
        for argument in ["--root", "--log"] {
            let value =
                self.sandbox.path(if argument == "--root" { "run/runtime" } else { "work/runtime.log" });
            command.arg("--runtime-arg").arg(format!("{argument}={}", value.display()));
        }
        command.args(["--runtime-arg", "--log-format=json"]).arg("--bundle").arg(&self.bundle.path);
        for (flag, file) in [
            ("--pidfile", "conmon.pid"),
            ("--container-pidfile", "pid"),
            ("--exit-dir", "exit"),
            ("--persist-dir", "persist"),
            ("--socket-dir-path", "socket"),
        ] {
            command.arg(flag).arg(place(file));
        }
        command.arg("--log-path").arg(format!("k8s-file:{}", place("log").display())).args(flags);
        command
    }

    #[track_caller]
    fn wait_for_file(&self, name: &str) -> String {
        let path = self.sandbox.path("work").join(name);
        let read = || fs::read_to_string(&path).ok().filter(|text| !text.is_empty());
        poll(LIMIT, read).unwrap_or_else(|| panic!("no {name}: {}", self.file("runtime.log")))
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.sandbox.path("work").join(name)).unwrap_or_default()
    }

    fn runtime(&self, words: &[&str]) -> Command {
        self.sandbox.runtime([words, &[&self.id]].concat())
    }

    fn attach(&self) -> OwnedFd {
        let client = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
        let path = self.sandbox.path("work/c/socket").join(&self.id).join("attach");
        connect(&client, &SocketAddrUnix::new(path).unwrap()).unwrap();
        client
    }

    /// The container's exit code, as conmon tells it; then nothing of it may be left.
    fn end(self) -> String {
        let code = self.wait_for_file(&format!("c/exit/{}", self.id));
        self.runtime(&["delete"]).run().success();
        assert_eq!(self.file("runtime.log"), "");
        self.sandbox.finish();
        code
    }
}

/// Everything up to the end of these words, of one stream; conmon may send it in pieces.
fn receive(client: &OwnedFd, stream: u8, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let mut frame = [0; 8192];
        let (count, _) = recv(client, &mut frame, RecvFlags::empty()).unwrap();
        assert_ne!(count, 0, "the end of the stream after {text:?}");
        if frame[0] == stream {
            text += &String::from_utf8_lossy(&frame[1..count]);
        }
    }
    text
}

#[test]
fn root_conmon_relays_streams_and_the_exit_code() {
    let script = "read word; echo got $word; read word; echo err $word >&2; exit 3";
    let scene = needs!(Scene::create(script, &["--stdin"], |_| {}));
    let client = scene.attach();
    scene.runtime(&["start"]).run().success();
    send(&client, b"one\n", SendFlags::empty()).unwrap();
    assert_eq!(receive(&client, 2, "\n"), "got one\n");
    send(&client, b"two\n", SendFlags::empty()).unwrap();
    assert_eq!(receive(&client, 3, "\n"), "err two\n");
    let code = scene.wait_for_file(&format!("c/exit/{}", scene.id));
    let log = scene.file("c/log");
    assert!(log.contains(" stdout F got one\n") && log.contains(" stderr F err two\n"), "{log}");
    assert_eq!((code.as_str(), scene.end().as_str()), ("3", "3"));
}

#[test]
fn root_conmon_holds_and_resizes_a_terminal() {
    let script = "tty; until [ \"$(stty size)\" = '44 111' ]; do sleep 0.05; done; echo resized; sleep 1000";
    let size = |config: &mut Value| config["process"]["consoleSize"] = json!({ "height": 33, "width": 101 });
    let scene = needs!(Scene::create(script, &["--terminal", "--stdin"], size));
    let client = scene.attach();
    scene.runtime(&["start"]).run().success();
    assert_eq!(receive(&client, 2, "\n").trim_end(), "/dev/pts/0");
    fs::write(scene.bundle.path.join("winsz"), "44 111\n").unwrap();
    assert_eq!(receive(&client, 2, "\n").trim_end(), "resized");
    scene.runtime(&["kill"]).arg("KILL").run().success();
    assert_eq!(scene.end(), "137");
}

#[test]
fn root_conmon_learns_of_an_oom_kill() {
    let limit =
        |config: &mut Value| config["linux"]["resources"] = json!({ "memory": { "limit": 16 << 20 } });
    let scene = needs!(Scene::create("tail /dev/zero; read word; exit 3", &["--stdin"], limit));
    let client = scene.attach();
    scene.runtime(&["start"]).run().success();
    let oom = scene.sandbox.path("work/c/persist/oom");
    poll(LIMIT, || oom.exists().then_some(())).expect("conmon notes the kill");
    send(&client, b"go on\n", SendFlags::empty()).unwrap();
    assert_eq!(scene.end(), "3");
}

#[test]
fn root_conmon_starts_further_processes() {
    let scene = needs!(Scene::create("read word; exit 0", &["--stdin"], |_| {}));
    let client = scene.attach();
    scene.runtime(&["start"]).run().success();
    let mut process = scene.bundle.config["process"].clone();
    for (name, words, code) in [
        ("good", json!(["sh", "-c", "id -u; exit 9"]), "9"),
        ("killed", json!(["sh", "-c", "kill -TERM $$"]), "143"),
    ] {
        process["args"] = words;
        process["user"] = json!({ "uid": 1000, "gid": 1000 });
        fs::write(scene.sandbox.path(format!("work/{name}.json")), process.to_string()).unwrap();
        let spec = scene.sandbox.path(format!("work/{name}.json")).display().to_string();
        scene.conmon(name, &["--exec", "--exec-process-spec", &spec]).run().success();
        assert_eq!(scene.wait_for_file(&format!("{name}/exit/{}", scene.id)), code);
    }
    assert!(scene.file("good/log").ends_with("stdout F 1000\n"), "{}", scene.file("good/log"));
    // What cannot be started is told in the log that podman reads: one JSON object.
    process["args"] = json!(["no-such-program"]);
    fs::write(scene.sandbox.path("work/none.json"), process.to_string()).unwrap();
    let spec = scene.sandbox.path("work/none.json").display().to_string();
    scene.conmon("none", &["--exec", "--exec-process-spec", &spec]).run();
    let log: Value = serde_json::from_str(&scene.wait_for_file("runtime.log")).unwrap();
    assert_eq!(log["level"], "error");
    assert!(log["msg"].as_str().unwrap().contains("executable file not found in $PATH"), "{log}");
    fs::write(scene.sandbox.path("work/runtime.log"), "").unwrap();
    send(&client, b"end\n", SendFlags::empty()).unwrap();
    assert_eq!(scene.end(), "0");
}
