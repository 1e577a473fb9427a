// SPDX-License-Identifier: Apache-2.0
//! Pulls that die: killed at every point, without disk, and many at a time. Whatever happens, the store is whole
//! afterwards, and the next pull succeeds.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test, which looks at a store from outside"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use conex_image::fsck::{FsckOptions, Report, fsck};
use conex_image::store::Store;
use conex_testkit::image::{Image, Layer, Layout};
use conex_testkit::tar::{self, Entry};
use conex_testkit::{Compression, needs, require};

const NAME: &str = "localhost/test:latest";

/// Calls that change what is on disk or bind processes together, and how many of them to leave out each time.
const CALLS: [(&str, usize); 12] = [
    ("mkdirat", 1),
    ("openat", 5),
    ("write", 3),
    ("fchmod", 1),
    ("fsync", 1),
    ("fdatasync", 1),
    ("syncfs", 1),
    ("renameat2", 1),
    ("unlinkat", 2),
    ("mknodat", 1),
    ("flock", 2),
    ("utimensat", 1),
];

struct Scratch {
    dir: tempfile::TempDir,
    blob_bytes: u64,
}

fn noise(len: usize) -> Vec<u8> {
    let mut state: u32 = 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_le_bytes()[3]
    };
    (0..len).map(|_| next()).collect()
}

impl Scratch {
    /// A layout with an image of two layers, the upper one dependent on the lower.
    fn new(noise_len: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let lower = [
            tar::directory("etc"),
            tar::file("etc/a", "a"),
            tar::file("etc/gone", "b"),
            tar::file("big", noise(noise_len)),
        ];
        let upper = [tar::file("etc/b", "b"), tar::whiteout("etc/gone")];
        let layer = |entries: &[Entry]| Layer::of_tar(&tar::archive(entries), Compression::Gzip);
        let image = Image::new(vec![layer(&lower), layer(&upper)]);
        Layout::create(&dir.path().join("layout")).add("latest", &image);
        Self { dir, blob_bytes: image.blob_bytes() }
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn pull(&self) -> Command {
        let mut command = Command::new(example("copy"));
        command.arg(self.dir.path().join("layout:latest")).arg(self.store()).arg(NAME);
        command
    }

    fn pull_with(&self, strace: &Path, inject: &str) -> Output {
        injected(&self.pull(), strace, inject)
    }

    fn check(&self) -> Report {
        let Ok(store) = Store::open_existing(&self.store()) else { return Report::default() };
        let report = fsck(&store, FsckOptions::default()).expect("fsck runs");
        assert!(report.is_clean(), "{:?}", report.violations);
        report
    }

    /// A pull that nothing disturbs, and what it leaves.
    fn succeed(&self) -> String {
        let output = self.pull().output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report = self.check();
        assert_eq!((report.names, report.blobs, report.layers), (1, 4, 3));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn collect(&self) {
        let store = Store::open_existing(&self.store()).unwrap();
        // A child that another test is just starting has our locks until it becomes another program.
        while store.gc(&[]).is_err_and(|error| error.kind() == conex_image::ErrorKind::Busy) {
            std::thread::yield_now();
        }
    }

    fn forget(&self) {
        let _ = std::fs::remove_dir_all(self.store());
    }
}

/// Runs a program under strace, which injects what `inject` says. Exit status and output are the program's.
fn injected(program: &Command, strace: &Path, inject: &str) -> Output {
    let mut command = Command::new(strace);
    command.args(["-f", "-qqq", "-o", "/dev/null", "-e"]).arg(format!("inject={inject}"));
    command.arg(program.get_program()).args(program.get_args()).output().expect("strace starts")
}

/// The example program. `cargo test` builds it, unless told to build single tests only.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let target = test.parent().and_then(Path::parent).expect("tests lie in target/<profile>/deps");
    let program = target.join("examples").join(name);
    assert!(program.exists(), "{} is missing: cargo build -p conex-image --examples", program.display());
    program
}

/// Whether strace may trace here.
fn tracer() -> Result<PathBuf, String> {
    let strace = require::program("strace")?;
    let works = Command::new(&strace).args(["-qqq", "-o", "/dev/null", "true"]).status();
    match works {
        Ok(status) if status.success() => Ok(strace),
        _ => Err("strace cannot trace here".to_owned()),
    }
}

#[test]
fn a_pull_killed_at_any_call_leaves_a_whole_store() {
    let strace = needs!(tracer());
    let scratch = Scratch::new(3000);
    let mut kills = 0;
    for (call, step) in CALLS {
        for nth in (1..).step_by(step) {
            scratch.forget();
            let output = scratch.pull_with(&strace, &format!("{call}:signal=SIGKILL:when={nth}"));
            if output.status.success() {
                break;
            }
            kills += 1;
            assert!(nth < 1000, "{call} is called without end");
            scratch.check();
            scratch.succeed();
            // Nothing of the killed process is left over once somebody has pulled and cleaned.
            scratch.collect();
            assert_eq!(scratch.check().garbage, Vec::<String>::new(), "{call} {nth}");
        }
    }
    assert!(kills > 50, "only {kills} kills: does the injection work?");
}

#[test]
fn a_gc_killed_at_any_call_leaves_a_whole_store() {
    let strace = needs!(tracer());
    let scratch = Scratch::new(3000);
    for call in ["unlinkat", "renameat2", "fsync"] {
        for nth in 1.. {
            scratch.succeed();
            let mut gc = Command::new(example("gc"));
            gc.arg(scratch.store());
            let output = injected(&gc, &strace, &format!("{call}:signal=SIGKILL:when={nth}"));
            scratch.check();
            if output.status.success() {
                assert!(nth > 1, "{call} was never called");
                break;
            }
        }
    }
}

#[test]
fn a_pull_that_fails_at_any_call_says_so_and_leaves_a_whole_store() {
    let strace = needs!(tracer());
    let scratch = Scratch::new(3000);
    let failures = [
        ("write", "ENOSPC"),
        ("mkdirat", "ENOSPC"),
        ("fsync", "EIO"),
        ("syncfs", "EIO"),
        ("renameat2", "EIO"),
    ];
    for (call, errno) in failures {
        for nth in 1.. {
            scratch.forget();
            let output = scratch.pull_with(&strace, &format!("{call}:error={errno}:when={nth}"));
            if output.status.success() {
                // The last write is the report itself.
                assert!(nth > 1, "{call} was never called");
                break;
            }
            let message = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{call} {nth}: {message}");
            assert!(!message.contains("panicked"), "{message}");
            scratch.check();
            scratch.succeed();
        }
    }
}

#[test]
fn a_killed_download_is_continued() {
    let strace = needs!(tracer());
    let scratch = Scratch::new(4 << 20);
    // Among the writes of 128 KiB each into the partial file.
    let output = scratch.pull_with(&strace, "write:signal=SIGKILL:when=30");
    assert!(!output.status.success());
    let partial: u64 = std::fs::read_dir(scratch.store().join("ingest"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap())
        .filter(std::fs::Metadata::is_file)
        .map(|file| file.len())
        .sum();
    assert!(partial > 100_000, "{partial} bytes had arrived");
    let told = scratch.succeed();
    let numbers: Vec<u64> = told.split(' ').filter_map(|word| word.trim().parse().ok()).collect();
    assert_eq!(numbers[0] + numbers[1], scratch.blob_bytes, "{told}");
    assert!(numbers[1] >= partial, "{told}, but {partial} bytes were there");
}

#[test]
fn processes_that_pull_one_image_fetch_it_once() {
    let scratch = Scratch::new(1 << 20);
    let pulls: Vec<_> =
        (0..6).map(|_| scratch.pull().stdout(std::process::Stdio::piped()).spawn().unwrap()).collect();
    let mut fetched = 0;
    for pull in pulls {
        let output = pull.wait_with_output().unwrap();
        assert!(output.status.success());
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        fetched += told.split(' ').nth(2).and_then(|word| word.parse::<u64>().ok()).expect("bytes");
    }
    assert_eq!(fetched, scratch.blob_bytes);
    assert_eq!(scratch.check().names, 1);
}

#[test]
fn userns_layers_are_unpacked_with_the_rights_there_are() {
    needs!(require::userns());
    let unshare = needs!(require::program("unshare"));
    let scratch = Scratch::new(1000);
    let pull = scratch.pull();
    // Root in a user namespace with one id.
    let output =
        Command::new(unshare).arg("-Ur").arg(pull.get_program()).args(pull.get_args()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let layers: Vec<_> = std::fs::read_dir(scratch.store().join("layers/sha256")).unwrap().collect();
    assert_eq!(layers.len(), 3);
    for layer in layers {
        let record = std::fs::read_to_string(layer.unwrap().path().join("layer.json")).unwrap();
        assert!(record.contains("\"userxattr\":true"), "{record}");
    }
    assert_eq!(scratch.check().layers, 3);
}

#[test]
fn root_a_full_disk_is_told_and_nothing_stays() {
    needs!(require::root());
    let unshare = needs!(require::program("unshare"));
    let scratch = Scratch::new(2 << 20);
    let pull = scratch.pull();
    let line: Vec<String> = std::iter::once(pull.get_program())
        .chain(pull.get_args())
        .map(|word| format!("'{}'", word.to_str().expect("plain paths")))
        .collect();
    let store = scratch.store();
    std::fs::create_dir(&store).unwrap();
    // A mount of its own namespace: it goes with the process.
    let script = format!(
        "mount -t tmpfs -o size=3m,mode=700 none '{0}' && {1}; code=$?; ls '{0}/ingest' '{0}/layers/sha256'; exit $code",
        store.display(),
        line.join(" ")
    );
    let output = Command::new(unshare).args(["-m", "sh", "-c", &script]).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("No space left"), "{message}");
    let left = String::from_utf8_lossy(&output.stdout);
    assert!(!left.contains("sha256-"), "left behind: {left}");
}
