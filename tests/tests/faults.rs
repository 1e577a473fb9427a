// SPDX-License-Identifier: Apache-2.0
//! The kernel says no: a full disk, a broken one, no descriptors left, a signal in between. At every call of every verb
//! that changes images one fails, once: what is not done is told, what is there is as before or after, and the same
//! command then succeeds. For processes that are killed: `killed`, crates/image/tests/crash.rs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use conex_testkit::effort;
use conex_testkit::{Image, Layer, Output, Run, Sandbox, needs, require, tar};

/// Calls, and how each may fail.
const FAULTS: [(&str, &str); 20] = [
    ("openat", "EMFILE"),
    ("openat", "EINTR"),
    ("read", "EIO"),
    ("read", "EINTR"),
    ("write", "ENOSPC"),
    ("write", "EINTR"),
    ("mkdirat", "ENOSPC"),
    ("mknodat", "ENOSPC"),
    ("linkat", "EIO"),
    ("symlinkat", "ENOSPC"),
    ("renameat2", "EIO"),
    ("unlinkat", "EIO"),
    ("fsync", "EIO"),
    ("syncfs", "EIO"),
    ("fchmod", "EIO"),
    ("fchown", "EIO"),
    ("utimensat", "EIO"),
    ("getdents64", "EIO"),
    ("newfstatat", "EIO"),
    ("flock", "EINTR"),
];

/// A verb, and how to tell that it has done its work.
struct Verb {
    name: &'static str,
    words: Vec<String>,
    /// What `state` prints once it is done.
    done: String,
}

/// A state that verbs begin with, kept to begin again.
struct Scene {
    sandbox: Sandbox,
    strace: PathBuf,
}

impl Scene {
    /// A layout with an image, a store that has it, and a bundle of it in which something was changed.
    fn new(strace: PathBuf) -> Self {
        let scene = Self { sandbox: Sandbox::new(), strace };
        let lower = [tar::directory("d"), tar::file("d/gone", "x"), tar::file("d/kept", "y".repeat(9000))];
        let upper = [
            tar::whiteout("d/gone"),
            tar::symlink("link", "d/kept"),
            tar::hardlink("d/second", "link"),
            tar::file("d/owned", "z").owner(5, 6).mode(0o4755),
        ];
        let image = Image::new(vec![Layer::new(&lower), Layer::new(&upper)]).cmd(&["true"]);
        scene.sandbox.layout("begin/layout").add("x", &image);
        fs::create_dir_all(scene.sandbox.path("work")).expect("mkdir");
        for words in [
            ["--root", "begin/store", "copy", "--quiet", "oci:begin/layout:x", "store:localhost/app:x"],
            ["--root", "begin/none", "bundle", "unpack", "--image=oci:begin/layout:x", "begin/bundle"],
        ] {
            scene.run(&words.map(str::to_owned)).success();
        }
        fs::write(scene.begin().join("bundle/rootfs/d/new"), "new").expect("write");
        scene
    }

    fn begin(&self) -> PathBuf {
        self.sandbox.path("work/begin")
    }

    fn command(&self, words: &[String]) -> Command {
        let mut command = self.sandbox.command(self.sandbox.programs().join("conex"));
        command.args(words);
        command
    }

    fn run(&self, words: &[String]) -> Output {
        self.command(words).run()
    }

    fn again(&self) {
        let now = self.sandbox.path("work/now");
        let _ = fs::remove_dir_all(&now);
        Command::new("cp").arg("-a").arg(self.begin()).arg(&now).run().success();
    }

    /// The command with one kind of call failing at the n-th time in each thread.
    fn with_fault(&self, verb: &Verb, call: &str, errno: &str, n: usize) -> Output {
        self.again();
        let inject = format!("inject={call}:error={errno}:when={n}");
        self.traced(verb, &inject, Path::new("/dev/null")).run()
    }

    fn traced(&self, verb: &Verb, expression: &str, output: &Path) -> Command {
        let mut command = self.sandbox.command(&self.strace);
        command.args(["-f", "-qqq", "-e", expression, "-o"]).arg(output);
        command.arg(self.sandbox.programs().join("conex")).args(&verb.words);
        command
    }

    /// How often each call is made by the thread that makes it most often.
    fn counts(&self, verb: &Verb) -> BTreeMap<&'static str, usize> {
        self.again();
        let output = self.sandbox.path("tmp/trace");
        self.traced(verb, "trace=all", &output).run().success();
        let trace = fs::read_to_string(output).expect("a trace");
        let most = |call: &'static str| {
            let mut threads: BTreeMap<&str, usize> = BTreeMap::new();
            let made = |line: &&str| {
                line.split_whitespace().nth(1).is_some_and(|word| word.starts_with(&format!("{call}(")))
            };
            for line in trace.lines().filter(made) {
                *threads.entry(line.split(' ').next().unwrap_or_default()).or_default() += 1;
            }
            (call, threads.into_values().max().unwrap_or_default())
        };
        FAULTS.iter().map(|(call, _)| most(call)).collect()
    }

    /// What there is, as far as verbs change it.
    fn state(&self) -> String {
        let told = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let output = self.run(&words);
            assert!(output.status.success(), "{output}");
            output.stdout
        };
        let names = told(&["--root", "now/store", "images", "--format", "{{.Repository}}:{{.Tag}}"]);
        let tags = told(&["layout", "list", "now/layout"]);
        let there = |path: &str| self.sandbox.path("work/now").join(path).exists();
        format!("{names}{tags}fresh {} rootfs {}", there("fresh/index.json"), there("unpacked/rootfs"))
    }

    /// Store and layout are whole, whatever has happened.
    fn is_whole(&self, what: &str) {
        let check = |words: [&str; 4]| {
            let output = self.run(&words.map(str::to_owned));
            assert!(output.status.success(), "{what}\n{output}");
        };
        check(["--root", "now/store", "system", "fsck"]);
        let mut validate = self.sandbox.command(self.sandbox.programs().join("oci-image-tool"));
        let output = validate.args(["validate", "--type", "imageLayout", "now/layout"]).run();
        assert!(output.status.success(), "{what}\n{output}");
    }
}

fn verbs() -> Vec<Verb> {
    let verb = |name, words: &str| Verb {
        name,
        words: words.split(' ').map(str::to_owned).collect(),
        done: String::new(),
    };
    vec![
        verb("pull", "--root now/store copy --quiet oci:now/layout:x store:localhost/fresh:x"),
        verb("unpack", "--root now/none bundle unpack --image=oci:now/layout:x now/unpacked"),
        verb("repack", "--root now/none bundle repack --image=oci:now/layout:y now/bundle"),
        verb("tag", "--root now/store tag localhost/app:x localhost/app:y"),
        verb("rmi", "--root now/store rmi localhost/app:x"),
        verb("gc", "--root now/store system prune"),
    ]
}

#[test]
fn root_an_error_at_any_call_is_told_and_nothing_is_lost() {
    needs!(require::root());
    let scene = Scene::new(needs!(require::program("strace")));
    let (mut told, mut borne) = (0, 0);
    for mut verb in verbs() {
        let counts = scene.counts(&verb);
        verb.done = scene.state();
        for (call, errno) in FAULTS {
            let points: Vec<usize> = (1..=counts[call]).collect();
            for n in effort::sample(&points, 1) {
                let what = format!("{}: {call} {n} answers {errno}", verb.name);
                let output = scene.with_fault(&verb, call, errno, n);
                assert!(!output.stderr.contains("panicked"), "{what}\n{output}");
                scene.is_whole(&what);
                if output.status.success() {
                    borne += 1;
                    assert_eq!(scene.state(), verb.done, "{what}: it said that it had done it\n{output}");
                } else {
                    told += 1;
                    assert!(!output.stderr.trim().is_empty(), "{what}: without a word\n{output}");
                }
            }
        }
    }
    effort::tell(&format!("{told} errors told, {borne} borne"));
    assert!(told > 10, "only {told} errors: does the injection work?");
    scene.sandbox.finish();
}
