// SPDX-License-Identifier: Apache-2.0
//! Hostile bytes are unpacked by a process that can do nothing else: that it is used, in each of three ways to run
//! conex, and that it gets nowhere even when somebody else has taken it over in the middle of a layer.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Barrier};

use conex_testkit::liar::{Liar, Lies};
use conex_testkit::run::{LIMIT, poll};
use conex_testkit::user::Range;
use conex_testkit::{Compression, Image, Layer, Run, Sandbox, needs, program, require, tar};

/// The worker's name, as `ps` shows it.
const NAME: &str = "conex-unpack";
/// Bytes after which the registry waits.
const PAUSE: usize = 300_000;

/// A registry with one image, whose layer it holds back in the middle.
struct Scene {
    sandbox: Sandbox,
    liar: Liar,
    barrier: Arc<Barrier>,
}

impl Scene {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let layout = sandbox.layout("served");
        let archive = tar::archive(&[
            tar::directory("d"),
            tar::file("d/early", "x".repeat(200_000)),
            tar::file("d/late", "y".repeat(400_000)),
        ]);
        layout.add("x", &Image::new(vec![Layer::of_tar(&archive, Compression::None)]));
        let barrier = Arc::new(Barrier::new(2));
        let lies = Lies { pause: Some((PAUSE, Arc::clone(&barrier))), ..Lies::default() };
        let liar = Liar::serve(&layout, lies);
        sandbox.map_registries(&[], &liar.address);
        Self { sandbox, liar, barrier }
    }

    fn name(&self) -> String {
        format!("{}/app:x", self.liar.address)
    }

    /// Takes the worker over while the command waits for the rest of the layer, and lets it go on.
    fn hijack(&self, mut command: Command) -> String {
        let hijack = program::compile("hijack").expect("checked before");
        let mut running = command.background();
        let worker = poll(LIMIT, || {
            assert!(running.wait(std::time::Duration::ZERO).is_none(), "{}", running.output());
            // It waits for bytes, all restrictions in force.
            descendants(running.child.id()).into_iter().find(|pid| is_confined_worker(*pid))
        });
        let worker = worker.expect("a worker").to_string();
        self.looks_confined(&worker);
        let tried = Command::new(hijack).arg(&worker).run().success().stdout;
        self.barrier.wait();
        let status = running.wait(LIMIT).expect("the pull goes on");
        assert!(status.success(), "{}", running.output());
        tried
    }

    fn looks_confined(&self, worker: &str) {
        let status = fs::read_to_string(format!("/proc/{worker}/status")).expect("it lives");
        let line = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        assert_eq!(line("NoNewPrivs:"), Some("1"));
        assert_eq!(line("CapInh:"), Some("0000000000000000"));
        let link = |name: &str| fs::read_link(format!("/proc/{worker}/{name}")).expect("it lives");
        assert_ne!(
            link("ns/mnt"),
            fs::read_link("/proc/self/ns/mnt").expect("ours"),
            "a mount namespace of its own"
        );
        let visible: Vec<_> =
            fs::read_dir(format!("/proc/{worker}/root")).expect("its root").flatten().collect();
        assert_eq!(visible.len(), 2, "only proc and tree: {visible:?}");
        assert_eq!(fs::read_to_string(format!("/proc/{worker}/environ")).expect("it lives"), "");
    }
}

fn descendants(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists =
        threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let children: Vec<u32> = lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect();
    children.iter().flat_map(|pid| [vec![*pid], descendants(*pid)].concat()).collect()
}

fn is_confined_worker(pid: u32) -> bool {
    let is = |name: &str, words: &str| {
        fs::read_to_string(format!("/proc/{pid}/{name}")).is_ok_and(|text| text.contains(words))
    };
    // read(2) of the pipe: number 0.
    is("cmdline", NAME) && is("status", "Seccomp:\t2") && is("syscall", "0 0x")
}

/// Each attempt must have been answered with an errno; the control must not.
fn nothing_gained(tried: &str) {
    let mut lines = tried.lines().map(|line| line.rsplit_once(": ").expect("what: number"));
    let number = |text: &str| text.parse::<i64>().expect("a number");
    let (_, control) = lines.next().expect("the control");
    assert!(number(control) >= 0, "the worker was not in hand:\n{tried}");
    let gained: Vec<_> = lines.clone().filter(|(_, answer)| number(answer) >= 0).collect();
    assert!(gained.is_empty(), "{gained:?}");
    assert!(lines.count() > 60, "not all was tried:\n{tried}");
}

#[test]
fn root_a_worker_that_was_taken_over_gets_nowhere() {
    needs!(require::root());
    needs!(program::compile("hijack"));
    let scene = Scene::new();
    let pull = scene.sandbox.conex(["pull", "--quiet", &scene.name()]);
    nothing_gained(&scene.hijack(pull));
    scene.sandbox.conex(["system", "fsck"]).run().success();
    scene.sandbox.finish();
}

#[test]
fn root_a_worker_of_an_ordinary_user_gets_nowhere() {
    needs!(require::root());
    needs!(program::compile("hijack"));
    needs!(require::program("newuidmap"));
    let scene = Scene::new();
    let user = scene.sandbox.user(Range::Subordinate);
    nothing_gained(&scene.hijack(user.conex(["pull", "--quiet", &scene.name()])));
    user.conex(["system", "fsck"]).run().success();
    scene.sandbox.finish();
}

#[test]
fn root_a_worker_of_a_user_without_ids_gets_nowhere() {
    needs!(require::root());
    needs!(program::compile("hijack"));
    let scene = Scene::new();
    let user = scene.sandbox.user(Range::Missing);
    let bundle = scene.sandbox.path("work/bundle");
    let image = format!("docker://{}", scene.name());
    let unpack =
        user.conex(["bundle", "unpack", "--rootless", "--image", &image, &bundle.display().to_string()]);
    nothing_gained(&scene.hijack(unpack));
    assert_eq!(fs::metadata(bundle.join("rootfs/d/late")).expect("unpacked").len(), 400_000);
    scene.sandbox.finish();
}

/// The process that has the sockets makes no file of a layer; the one that makes them has given everything up before.
#[test]
fn root_no_other_process_touches_what_a_layer_brings() {
    needs!(require::root());
    let strace = needs!(require::program("strace"));
    let sandbox = Sandbox::new();
    let layout = sandbox.layout("local");
    let layer = |name: &str| Layer::new(&[tar::directory("d"), tar::file(&format!("d/{name}"), "x")]);
    let implied = Layer::new(&[tar::file("d/mark-implied", "x"), tar::hardlink("mark-link", "d/mark-one")]);
    layout.add("x", &Image::new(vec![layer("mark-one"), layer("mark-two"), implied]));
    let image = format!("oci:{}:x", layout.path.display());
    let bundle = sandbox.path("bundle").display().to_string();
    let layers = sandbox.path("layers").display().to_string();
    for words in [
        vec!["copy", "--quiet", &image, "store:localhost/app:x"],
        vec!["bundle", "unpack", "--image", &image, &bundle],
        vec!["bundle", "layers", &image, &layers],
        vec!["system", "fsck"],
    ] {
        let trace = sandbox.path("tmp/trace");
        let command = sandbox.conex(&words);
        let mut traced = sandbox.command(&strace);
        traced.args(["-f", "-qq", "-e", "trace=execve,seccomp,openat,linkat", "-o"]).arg(&trace);
        traced.arg(command.get_program()).args(command.get_args()).run().success();
        only_confined(&trace, &words);
    }
    sandbox.finish();
}

fn only_confined(trace: &Path, words: &[&str]) {
    let text = fs::read_to_string(trace).expect("a trace");
    // Threads of a worker have their own numbers: a file made before any seccomp(2) is what must not be.
    let position = |what: &str| text.lines().position(|line| line.contains(what));
    let confined =
        position("seccomp(SECCOMP_SET_MODE_FILTER").unwrap_or_else(|| panic!("{words:?}: no worker\n{text}"));
    let made =
        |line: &&str| line.contains("\"mark-") && (line.contains("O_CREAT") || line.contains("linkat("));
    let first =
        text.lines().position(|line| made(&line)).unwrap_or_else(|| panic!("{words:?}: no file\n{text}"));
    assert!(confined < first, "{words:?}: made before the worker was confined\n{text}");
    let parent = text.lines().next().and_then(|line| line.split(' ').next()).expect("the first process");
    assert!(
        !text.lines().filter(made).any(|line| line.starts_with(&format!("{parent} "))),
        "{words:?}: {text}"
    );
}
