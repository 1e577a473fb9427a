// SPDX-License-Identifier: Apache-2.0
//! Bundles against Debian's umoci: the same tree, and umoci takes ours as its own.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test, which looks at bundles from outside"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use conex_image::ErrorKind;
use conex_image::bundle::{UnpackOptions, unpack};
use conex_image::layer::compare::compare;
use conex_image::layout::{LayoutName, LayoutSource};
use conex_spec::image::Platform;
use conex_sys::path::Dir;
use conex_testkit::image::{Image, Layer, Layout};
use conex_testkit::tar::{self, Entry, Kind};
use conex_testkit::{Compression, needs, require};

struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new(layers: &[&[Entry]]) -> Self {
        let scratch = Self(tempfile::tempdir().unwrap());
        let layer = |entries: &&[Entry]| Layer::of_tar(&tar::archive(entries), Compression::Gzip);
        let image = Image::new(layers.iter().map(layer).collect()).set("User", "daemon");
        Layout::create(&scratch.path("layout")).add("v1", &image);
        scratch
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn unpack(&self, name: &str, options: &UnpackOptions) -> conex_image::Result<()> {
        let layout = LayoutName { path: self.path("layout"), reference: Some("v1".into()) };
        unpack(&LayoutSource::open(&layout)?, &Platform::host(), &self.path(name), options)
    }

    fn umoci(&self, umoci: &Path, args: &[&str]) -> String {
        let output = Command::new(umoci).current_dir(self.0.path()).args(args).output().unwrap();
        assert!(output.status.success(), "umoci {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Everything that umoci 0.4 understands of a layer.
fn layers() -> [Vec<Entry>; 3] {
    let lower = vec![
        tar::directory("."),
        tar::directory("etc").mtime(1_000_000_000),
        tar::file("etc/passwd", "root:x:0:0::/root:/bin/sh\ndaemon:x:1:1::/:/bin/sh\n").mtime(1_000_000_001),
        tar::file("etc/group", "root:x:0:\ndaemon:x:1:\nmail:x:8:daemon\n"),
        tar::file("etc/gone", "x"),
        tar::directory("bin").mode(0o2755).owner(0, 50),
        tar::file("bin/su", "su").mode(0o4755).owner(3, 4),
        tar::hardlink("bin/second", "/bin/su"),
        tar::symlink("lib", "/usr/lib"),
        tar::directory("usr"),
        tar::directory("usr/lib").mode(0o751),
        tar::file("usr/lib/old", "old"),
        tar::fifo("pipe"),
        Entry::new("null", Kind::Character(1, 3), 0o666),
        tar::file("odd *?[#]\\ name\n", "odd").xattr("user.note", "value"),
        tar::directory("opaque"),
        tar::file("opaque/below", "x"),
    ];
    let middle = vec![
        tar::whiteout("etc/gone"),
        tar::file("lib/so", "through a symlink"),
        tar::directory("opaque").mode(0o700),
        tar::file("opaque/kept", "y"),
        tar::opaque("opaque"),
        tar::hardlink("linked-below", "bin/su"),
    ];
    let upper = vec![
        tar::directory("etc").mode(0o711).mtime(1_111_111_111),
        tar::file("pipe", "a file now").mtime(7),
        tar::directory("null").mtime(8),
    ];
    [lower, middle, upper]
}

#[test]
fn root_the_tree_is_umocis_and_umoci_takes_the_bundle() {
    needs!(require::root());
    let umoci = needs!(require::program("umoci"));
    let [lower, middle, upper] = layers();
    let scratch = Scratch::new(&[&lower, &middle, &upper]);
    scratch.umoci(&umoci, &["unpack", "--image", "layout:v1", "theirs"]);
    scratch.unpack("ours", &UnpackOptions::default()).unwrap();
    let root = |name: &str| Dir::open_host(&scratch.path(name).join("rootfs")).unwrap();
    assert_eq!(compare(&root("theirs"), &root("ours")).unwrap(), None);
    // No change: no layer.
    scratch.umoci(&umoci, &["repack", "--image", "layout:same", "ours"]);
    let layers = |tag: &str| {
        let json = scratch.umoci(&umoci, &["stat", "--json", "--image", &format!("layout:{tag}")]);
        let stat: serde_json::Value = serde_json::from_str(&json).unwrap();
        let history = stat["history"].as_array().unwrap();
        history.iter().filter(|step| !step["layer"].is_null()).count()
    };
    assert_eq!(layers("same"), 3, "umoci sees differences where there are none");
    std::fs::write(scratch.path("ours/rootfs/etc/new"), "n").unwrap();
    scratch.umoci(&umoci, &["repack", "--image", "layout:changed", "ours"]);
    assert_eq!(layers("changed"), 4);
    let config = std::fs::read_to_string(scratch.path("ours/config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["process"]["user"], serde_json::json!({"uid": 1, "gid": 1, "additionalGids": [8]}));
}

#[test]
fn rootless_bundles_note_the_owners() {
    let [lower, middle, upper] = layers();
    let scratch = Scratch::new(&[&lower, &middle, &upper]);
    scratch.unpack("bundle", &UnpackOptions { rootless: true, ..UnpackOptions::default() }).unwrap();
    let bin = Dir::open_host(&scratch.path("bundle/rootfs/bin")).unwrap();
    match bin.get_xattr("su", conex_image::layer::apply::ROOTLESS_XATTR) {
        Ok(value) => assert_eq!(conex_image::layer::apply::read_rootless(&value), Some((3, 4))),
        Err(error) => eprintln!("SKIP owners of rootless_bundles_note_the_owners: {error}"),
    }
    let config = std::fs::read_to_string(scratch.path("bundle/config.json")).unwrap();
    assert!(config.contains("\"user\"") && !config.contains("\"network\""), "{config}");
}

#[test]
fn failures_leave_nothing_and_what_is_there_stays() {
    let hostile = [tar::file("a", "x"), tar::hardlink("b", "/nowhere")];
    let scratch = Scratch::new(&[&hostile]);
    let rootless = UnpackOptions { rootless: true, ..UnpackOptions::default() };
    assert_eq!(scratch.unpack("new", &rootless).unwrap_err().kind(), ErrorKind::Hostile);
    assert!(!scratch.path("new").exists());
    std::fs::create_dir_all(scratch.path("there/rootfs")).unwrap();
    std::fs::write(scratch.path("there/rootfs/mine"), "x").unwrap();
    let error = scratch.unpack("there", &rootless).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exists);
    assert!(error.to_string().contains("rootfs already exists in"), "{error}");
    assert!(scratch.path("there/rootfs/mine").exists());
}

#[test]
fn what_a_killed_unpack_left_is_cleared_away() {
    let [lower, ..] = layers();
    let scratch = Scratch::new(&[&lower]);
    std::fs::create_dir_all(scratch.path("bundle/.rootfs-unfinished/bin/deep")).unwrap();
    std::fs::write(scratch.path("bundle/config.json"), "{").unwrap();
    scratch.unpack("bundle", &UnpackOptions { rootless: true, ..UnpackOptions::default() }).unwrap();
    assert!(scratch.path("bundle/rootfs/etc/passwd").exists());
    assert!(!scratch.path("bundle/.rootfs-unfinished").exists());
}
