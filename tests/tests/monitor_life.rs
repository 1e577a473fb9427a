// SPDX-License-Identifier: Apache-2.0
//! The monitor with a runtime that is not ours: streams, log, exit file, attaching, and what happens when somebody
//! dies. Every test runs with Debian's runc and with `conex-runtime`.
#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use conex_testkit::bundle::Bundle;
use conex_testkit::run::poll;
use conex_testkit::{Run, Sandbox, binaries, needs, require};

const LIMIT: Duration = Duration::from_secs(60);

/// A container with its monitor.
struct Scene {
    sandbox: Sandbox,
    runtime: PathBuf,
    id: String,
    monitor: Child,
    answer: ChildStdout,
}

impl Scene {
    /// Launches the monitor; `flags` are further ones of its own.
    fn launch(runtime: PathBuf, words: &[&str], flags: &[&str]) -> Result<Self, String> {
        let sandbox = Sandbox::new();
        let id = sandbox.id("c");
        let mut bundle = Bundle::create(&sandbox.path("work/bundle"), words)?;
        bundle.change(|config| {
            config["process"]["terminal"] = flags.contains(&"--terminal").into();
            config["linux"]["cgroupsPath"] = format!("/{id}").into();
            // A pid namespace of its own would hide the monitor's work: orphans die with it.
            config["linux"]["namespaces"]
                .as_array_mut()
                .unwrap()
                .retain(|namespace| namespace["type"] != "network");
        });
        let mut command = sandbox.command(binaries::runtime());
        command.args(["monitor", "--id", &id, "--ready-fd", "1", "--runtime"]).arg(&runtime);
        command.arg("--bundle").arg(&bundle.path).arg("--runtime-root").arg(sandbox.path("run/state"));
        for (flag, name) in [
            ("--log", "log"),
            ("--exit-file", "exit"),
            ("--pid-file", "pid"),
            ("--attach-socket", "attach.sock"),
        ] {
            command.arg(flag).arg(sandbox.path("work").join(name));
        }
        let mut monitor = command
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let answer = monitor.stdout.take().unwrap();
        Ok(Self { sandbox, runtime, id, monitor, answer })
    }

    /// What it says once the container is created, or why it is not.
    fn answer(&mut self) -> String {
        let mut text = Vec::new();
        let mut byte = [0];
        while !text.ends_with(b"created\n") && self.answer.read(&mut byte).unwrap() == 1 {
            text.push(byte[0]);
        }
        String::from_utf8(text).unwrap()
    }

    fn attach(&self) -> UnixStream {
        let client = UnixStream::connect(self.sandbox.path("work/attach.sock")).unwrap();
        client.set_read_timeout(Some(LIMIT)).unwrap();
        client
    }

    fn runtime(&self, words: &[&str]) -> Command {
        let mut command = self.sandbox.command(&self.runtime);
        command.arg("--root").arg(self.sandbox.path("run/state")).args(words).arg(&self.id);
        command
    }

    fn start(&self) {
        self.runtime(&["start"]).run().success();
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.sandbox.path("work").join(name)).unwrap_or_default()
    }

    /// The output without times.
    fn log(&self) -> Vec<String> {
        let text = self.file("log");
        text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }

    /// Waits for the monitor and gives the exit file; nothing of the container may be left.
    fn end(mut self) -> serde_json::Value {
        let status =
            poll(LIMIT, || self.monitor.try_wait().unwrap()).expect("the monitor ends with its container");
        assert!(status.success(), "{status}");
        let outcome = serde_json::from_str(&self.file("exit")).unwrap();
        assert!(!self.sandbox.path("work/attach.sock").exists());
        let state = self.runtime(&["state"]).run();
        assert_ne!(state.code(), 0, "still there: {state}");
        self.sandbox.finish();
        outcome
    }
}

/// runc and our own runtime.
fn runtimes() -> Result<[PathBuf; 2], String> {
    require::root()?;
    Ok([require::program("runc")?, binaries::runtime().to_owned()])
}

fn send(client: &mut UnixStream, kind: u8, bytes: &[u8]) {
    let mut frame = vec![kind];
    frame.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
    frame.extend(bytes);
    client.write_all(&frame).unwrap();
}

/// All frames up to the end of the connection: stdout, stderr, exit code.
fn receive(client: &mut UnixStream) -> (Vec<u8>, Vec<u8>, String) {
    let (mut out, mut err, mut code) = (Vec::new(), Vec::new(), String::new());
    let mut head = [0; 5];
    while client.read_exact(&mut head).is_ok() {
        let mut body = vec![0; u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize];
        client.read_exact(&mut body).unwrap();
        match head[0] {
            1 => out.extend(body),
            2 => err.extend(body),
            4 => code = String::from_utf8(body).unwrap(),
            kind => panic!("a frame of kind {kind}"),
        }
    }
    (out, err, code)
}

#[test]
fn root_output_reaches_log_and_client_and_the_code_the_exit_file() {
    for runtime in needs!(runtimes()) {
        let script = "echo out; echo err >&2; echo two; printf part; exit 7";
        let mut scene = needs!(Scene::launch(runtime, &["sh", "-c", script], &[]));
        assert_eq!(scene.answer(), "created\n");
        let mut client = scene.attach();
        scene.start();
        let (out, err, code) = receive(&mut client);
        assert_eq!((&out[..], &err[..], &*code), (&b"out\ntwo\npart"[..], &b"err\n"[..], "7"));
        let log = scene.log();
        let stdout: Vec<_> = log.iter().filter(|line| line.starts_with("stdout")).collect();
        assert_eq!(stdout, ["stdout F out", "stdout F two", "stdout P part"]);
        assert!(log.contains(&"stderr F err".to_owned()));
        let outcome = scene.end();
        assert_eq!(outcome["code"], 7);
        assert!(outcome["finished"].as_str().unwrap().ends_with('Z'));
        assert!(outcome.get("oom").is_none());
    }
}

#[test]
fn root_input_reaches_the_container_and_so_does_its_end() {
    for runtime in needs!(runtimes()) {
        let mut scene = needs!(Scene::launch(runtime, &["cat"], &["--stdin"]));
        assert_eq!(scene.answer(), "created\n");
        let mut client = scene.attach();
        scene.start();
        // More than pipe and buffers hold, so that it has to wait for the container, and the container for us.
        let much: Vec<u8> = (0..400_000_u32).flat_map(u32::to_le_bytes).collect();
        let sent = much.clone();
        let mut sender = client.try_clone().unwrap();
        let sending = std::thread::spawn(move || {
            for chunk in sent.chunks(30_000) {
                send(&mut sender, 0, chunk);
            }
            send(&mut sender, 0, b"");
        });
        let (out, err, code) = receive(&mut client);
        sending.join().unwrap();
        assert!(out == much, "{} bytes came back of {}", out.len(), much.len());
        assert_eq!((&err[..], &*code), (&b""[..], "0"));
        assert_eq!(scene.end()["code"], 0);
    }
}

#[test]
fn root_without_stdin_the_container_reads_nothing() {
    for runtime in needs!(runtimes()) {
        let mut scene = needs!(Scene::launch(runtime, &["cat"], &[]));
        assert_eq!(scene.answer(), "created\n");
        scene.start();
        assert_eq!(scene.end()["code"], 0);
    }
}

#[test]
fn root_a_terminal_is_resized_and_typed_into() {
    for runtime in needs!(runtimes()) {
        let script = "read x; stty size; test -t 0 && test -t 2 && echo got $x";
        let mut scene = needs!(Scene::launch(runtime, &["sh", "-c", script], &["--terminal", "--stdin"]));
        assert_eq!(scene.answer(), "created\n");
        let mut client = scene.attach();
        scene.start();
        send(&mut client, 3, b"33 101");
        send(&mut client, 0, b"word\n");
        let (out, err, code) = receive(&mut client);
        let out = String::from_utf8(out).unwrap().replace('\r', "");
        assert_eq!((&*out, &err[..], &*code), ("word\n33 101\ngot word\n", &b""[..], "0"));
        assert_eq!(scene.end()["code"], 0);
    }
}

#[test]
fn root_a_runtime_that_fails_is_quoted_and_leaves_nothing() {
    for runtime in needs!(runtimes()) {
        let mut scene = needs!(Scene::launch(runtime, &["/no/such/program"], &[]));
        let answer = scene.answer();
        assert!(answer.starts_with("create container: "), "{answer}");
        assert!(answer.contains("no such file or directory"), "{answer}");
        let status = poll(LIMIT, || scene.monitor.try_wait().unwrap()).unwrap();
        assert_eq!(status.code(), Some(1));
        assert!(!scene.sandbox.path("work/exit").exists());
        scene.sandbox.finish();
    }
}

#[test]
fn root_a_container_killed_before_and_after_its_start() {
    for runtime in needs!(runtimes()) {
        for started in [false, true] {
            let mut scene = needs!(Scene::launch(runtime.clone(), &["sleep", "1000"], &[]));
            assert_eq!(scene.answer(), "created\n");
            if started {
                scene.start();
            }
            let mut kill = scene.runtime(&["kill"]);
            kill.arg("KILL").run().success();
            assert_eq!(scene.end()["code"], 137);
        }
    }
}

#[test]
fn root_a_container_outlives_its_monitor() {
    for runtime in needs!(runtimes()) {
        let mut scene = needs!(Scene::launch(runtime, &["sleep", "1000"], &[]));
        assert_eq!(scene.answer(), "created\n");
        scene.start();
        scene.monitor.kill().unwrap();
        scene.monitor.wait().unwrap();
        let state = scene.runtime(&["state"]).run().success();
        assert!(state.stdout.contains("\"running\""), "{state}");
        assert!(!scene.sandbox.path("work/exit").exists());
        scene.runtime(&["delete", "--force"]).run().success();
        scene.sandbox.finish();
    }
}

#[test]
fn root_a_reader_that_stops_costs_no_memory_and_loses_nothing() {
    for runtime in needs!(runtimes()) {
        let bytes = 8 << 20;
        let script = format!("head -c {bytes} /dev/zero");
        let mut scene = needs!(Scene::launch(runtime, &["sh", "-c", &script], &[]));
        assert_eq!(scene.answer(), "created\n");
        let mut client = scene.attach();
        scene.start();
        // Until the log stops growing: the container waits for us.
        let mut before = None;
        poll(LIMIT, || {
            std::thread::sleep(Duration::from_millis(100));
            let now = scene.file("log").len();
            (before.replace(now) == Some(now) && now > 0).then_some(())
        })
        .unwrap();
        assert!(!scene.sandbox.path("work/exit").exists(), "the container did not wait");
        let status = fs::read_to_string(format!("/proc/{}/status", scene.monitor.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let peak: u32 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(peak < 8 * 1024, "the monitor took {peak} kB");
        let (out, _, code) = receive(&mut client);
        let logged = scene.file("log").bytes().filter(|byte| *byte == 0).count();
        assert_eq!((out.len(), logged, &*code), (bytes, bytes, "0"), "{}", scene.runtime.display());
        assert_eq!(scene.end()["code"], 0);
    }
}

#[test]
fn root_nonsense_from_a_client_ends_only_that_client() {
    for runtime in needs!(runtimes()) {
        let mut scene = needs!(Scene::launch(runtime, &["sh", "-c", "read x; echo $x"], &["--stdin"]));
        assert_eq!(scene.answer(), "created\n");
        let mut rude = scene.attach();
        rude.write_all(&[0xff; 64]).unwrap();
        let mut rest = Vec::new();
        // Reset or closed: either way nothing comes.
        rude.read_to_end(&mut rest).ok();
        assert_eq!(rest, b"");
        let mut client = scene.attach();
        scene.start();
        send(&mut client, 0, b"still here\n");
        let (out, _, code) = receive(&mut client);
        assert_eq!((&out[..], &*code), (&b"still here\n"[..], "0"));
        scene.end();
    }
}
