// SPDX-License-Identifier: Apache-2.0
//! Every way out of a layer that somebody has been bitten by (`conex_testkit::hostile`), on every road by which a layer
//! comes in, as root, as an ordinary user and as one without a range of ids. Nothing outside changes, not even a time of
//! change; nothing hangs, panics or stays; what must be refused is, and what real images have is not.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use conex_testkit::effort;
use conex_testkit::hostile::{self, Case, Verdict};
use conex_testkit::user::Range;
use conex_testkit::{Compression, Image, Output, Run, Sandbox, needs, require, tar, tree};

/// As much as a bomb may take, in KiB.
const MEMORY: u64 = 64 << 10;
/// Runs a command and prints the largest resident set of it and its descendants, in KiB, as the last line of stderr.
const MEASURED: &str = "import resource, subprocess, sys; r = subprocess.run(sys.argv[1:]).returncode; \
     print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); sys.exit(r if r >= 0 else 200)";

/// Everything outside that a layer could reach for, with its times of change.
struct Canary {
    path: PathBuf,
}

impl Canary {
    fn new(sandbox: &Sandbox) -> Self {
        let path = sandbox.path("victim");
        fs::create_dir(&path).expect("mkdir");
        fs::write(path.join("hello"), "SECRET").expect("write");
        Self { path }
    }

    fn state(&self) -> String {
        let changed = |path: PathBuf| {
            let metadata = fs::symlink_metadata(path).expect("stat");
            (metadata.ctime(), metadata.ctime_nsec(), metadata.nlink())
        };
        format!(
            "{:?} {:?} {:?}",
            tree::read(&self.path),
            changed(self.path.clone()),
            changed(self.path.join("hello"))
        )
    }
}

/// Archives as `docker save` makes them.
fn docker_archive(image: &Image, case: &Case) -> Vec<u8> {
    let names: Vec<String> = (0..case.layers.len()).map(|at| format!("{at}.tar")).collect();
    let manifest =
        serde_json::json!([{ "Config": "config.json", "RepoTags": ["localhost/app:x"], "Layers": names }]);
    let mut entries = vec![
        tar::file("config.json", image.config_bytes()),
        tar::file("manifest.json", manifest.to_string()),
    ];
    entries.extend(names.iter().zip(&case.layers).map(|(name, layer)| tar::file(name, layer)));
    tar::archive(&entries)
}

/// Takes each case, or about so many where not all is to be done, through each road, by `conex` as the caller has it.
fn all_roads(sandbox: &Sandbox, conex: &dyn Fn(&[&str]) -> Command, roads: &[&[&str]], few: usize) {
    let canary = Canary::new(sandbox);
    let python = require::program("python3").expect("checked before");
    for case in effort::sample(&hostile::cases(&canary.path.display().to_string()), few) {
        let layout = sandbox.layout("hostile");
        let image = Image::new(case.stored(Compression::Gzip));
        layout.add("x", &image);
        fs::write(sandbox.path("work/archive.tar"), docker_archive(&image, &case)).expect("write");
        let before = canary.state();
        for road in roads {
            let what = format!("{} by {road:?}", case.name);
            let command = conex(road);
            let mut measured = Command::new(&python);
            measured.args(["-c", MEASURED]).arg(command.get_program()).args(command.get_args());
            measured.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
            measured.current_dir(command.get_current_dir().expect("the sandbox's"));
            judge(&what, case.verdict, &measured.run());
            assert_eq!(canary.state(), before, "{what}: something outside was changed");
            let _ = fs::remove_dir_all(sandbox.path("work/bundle"));
        }
        fs::remove_dir_all(&layout.path).expect("remove the layout");
    }
    if roads.contains(&STORE) {
        conex(&["system", "fsck"]).run().success();
    }
}

fn judge(what: &str, verdict: Verdict, output: &Output) {
    assert!(!output.stderr.contains("panicked") && output.code() < 128, "{what}\n{output}");
    assert!(!output.stderr.contains("SECRET"), "{what}\n{output}");
    let kib: u64 = output.stderr.lines().last().and_then(|line| line.trim().parse().ok()).expect("a figure");
    assert!(kib < MEMORY, "{what}: {kib} KiB\n{output}");
    match verdict {
        Verdict::Refused => assert!(!output.status.success(), "{what}: taken\n{output}"),
        Verdict::Accepted => assert!(output.status.success(), "{what}: refused\n{output}"),
        Verdict::Contained => {}
    }
}

const STORE: &[&str] = &["copy", "--quiet", "oci:hostile:x", "store:localhost/app:x"];
const LOAD: &[&str] = &["copy", "--quiet", "docker-archive:archive.tar", "store:localhost/load:x"];
const BUNDLE: &[&str] = &["bundle", "unpack", "--image", "oci:hostile:x", "bundle"];
const ROOTLESS: &[&str] = &["bundle", "unpack", "--rootless", "--image", "oci:hostile:x", "bundle"];

#[test]
fn root_hostile_layers_reach_nothing() {
    needs!(require::root());
    needs!(require::program("python3"));
    let sandbox = Sandbox::new();
    all_roads(&sandbox, &|words| sandbox.conex(words), &[STORE, LOAD, BUNDLE], usize::MAX);
    sandbox.finish();
}

#[test]
fn root_hostile_layers_reach_nothing_for_a_user() {
    needs!(require::root());
    needs!(require::program("python3"));
    needs!(require::program("newuidmap"));
    let sandbox = Sandbox::new();
    let user = sandbox.user(Range::Subordinate);
    all_roads(&sandbox, &|words| user.conex(words), &[STORE, LOAD], 12);
    sandbox.finish();
}

#[test]
fn root_hostile_layers_reach_nothing_for_a_user_without_ids() {
    needs!(require::root());
    needs!(require::program("python3"));
    let sandbox = Sandbox::new();
    let user = sandbox.user(Range::Missing);
    all_roads(&sandbox, &|words| user.conex(words), &[ROOTLESS], 12);
    sandbox.finish();
}
