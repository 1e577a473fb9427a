// SPDX-License-Identifier: Apache-2.0
//! `containers-storage:` with Debian's podman, buildah and skopeo on the same storage: images go both ways without a
//! registry, each side reads, runs, adds to and removes what the other wrote.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use conex_testkit::podman::Podman;
use conex_testkit::user::Range;
use conex_testkit::{Compression, Image, Layer, Run, Sandbox, busybox, image, needs, require, tar, tree};
use serde_json::Value;

/// On a busybox: what is awkward for an unpacker that works layer by layer. Two things are too much for theirs: a link into a
/// layer below, and directories whose attributes only the layer below has.
fn awkward(with_more: bool) -> require::Requirement<Image> {
    let base = busybox::image()?;
    let middle = Layer::new(&[
        tar::directory("d").mode(0o751).owner(3, 4).mtime(1_500_000_000),
        tar::file("d/kept", "kept"),
        tar::file("d/gone", "gone"),
        tar::directory("o"),
        tar::file("o/hidden", "hidden"),
        tar::file("linked", "linked").xattr("user.x", "y"),
        tar::file("capable", "").mode(0o4755).owner(7, 8),
        tar::symlink("link", "d"),
        tar::fifo("pipe"),
    ]);
    let mut upper = match with_more {
        true => vec![tar::hardlink("second", "linked")],
        false => vec![
            tar::file("second", "linked"),
            tar::directory("d").mode(0o751).owner(3, 4).mtime(1_500_000_000),
            tar::directory("o"),
        ],
    };
    upper.extend([
        tar::file("d/more", "more"),
        tar::whiteout("d/gone"),
        tar::opaque("o"),
        tar::file("o/seen", "seen"),
    ]);
    let upper = Layer::of_tar(&tar::archive(&upper), Compression::Zstd);
    let layers = [base.layers, vec![middle, upper]].concat();
    Ok(Image::new(layers).cmd(&["sh", "-c", "cat d/kept d/more o/seen second; ls d o; stat -c %a:%u:%g d"]))
}

const SAID: &str = "keptmoreseenlinkedd:\nkept\nmore\n\no:\nseen\n751:3:4\n";

/// The storage of root's podman of this sandbox.
fn storage(sandbox: &Sandbox) -> PathBuf {
    sandbox.path("data/containers/storage")
}

fn place(sandbox: &Sandbox, name: &str) -> String {
    let (root, run) = (storage(sandbox), sandbox.path("session/containers"));
    format!("containers-storage:[overlay@{}+{}]{name}", root.display(), run.display())
}

fn conex(sandbox: &Sandbox, words: &[&str]) -> String {
    sandbox.conex(words).current_dir(sandbox.work()).run().success().stdout
}

fn records(root: &Path, file: &str) -> Vec<Value> {
    serde_json::from_slice(&fs::read(root.join(file)).expect("read records")).expect("records")
}

/// `skopeo inspect --config --raw` as conex has it.
fn config(sandbox: &Sandbox, place: &str) -> String {
    let mut command = sandbox.command(sandbox.programs().join("skopeo"));
    command.current_dir(sandbox.work()).args(["inspect", "--config", "--raw", place]).run().success().stdout
}

fn diff_ids(config: &str) -> Value {
    let config: Value = serde_json::from_str(config).expect("a configuration");
    config["rootfs"]["diff_ids"].clone()
}

/// Layers, and whatever else lies in the storage of images.
fn names(root: &Path) -> BTreeSet<String> {
    let below = |directory: &str| {
        let entries = fs::read_dir(root.join(directory)).expect("read a directory");
        entries
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
            .collect::<Vec<_>>()
    };
    ["overlay", "overlay/l", "overlay-layers", "overlay-images", "tmp"].into_iter().flat_map(below).collect()
}

#[test]
fn root_podman_runs_and_removes_what_conex_writes() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let podman = needs!(Podman::of_root(&sandbox, "conex-runtime"));
    let image = needs!(awkward(true));
    let layout = sandbox.layout("start");
    layout.add("a", &image);
    let before = names(&storage(&sandbox));
    conex(&sandbox, &["copy", "oci:start:a", &place(&sandbox, "localhost/ours:1")]);

    let id = podman.says(&["images", "--no-trunc", "--quiet", "localhost/ours:1"]);
    assert_eq!(id, image::digest(&image.config_bytes()));
    let digest = podman.says(&["image", "inspect", "--format", "{{.Digest}}", "localhost/ours:1"]);
    assert_eq!(digest, layout.index()["manifests"][0]["digest"]);
    let run = ["run", "--rm", "--cgroup-parent", &podman.cgroup(), "localhost/ours:1"];
    let ran = podman.podman(&run).run().success();
    assert_eq!(ran.stdout, SAID);
    // podman puts the layers together from what we have noted of them.
    podman.says(&["save", "--format", "oci-archive", "--output", "saved.tar", "localhost/ours:1"]);
    assert_eq!(
        diff_ids(&config(&sandbox, "oci-archive:saved.tar")),
        diff_ids(std::str::from_utf8(&image.config_bytes()).unwrap())
    );
    // Once more it is there already; under another name it is the same image; a name moves from one to another.
    let other = Image::new(vec![Layer::new(&[tar::file("other", "")])]);
    layout.add("b", &other);
    for (from, to) in [("a", "localhost/ours:1"), ("b", "localhost/moved:1"), ("a", "localhost/moved:1")] {
        conex(&sandbox, &["copy", &format!("oci:start:{from}"), &place(&sandbox, to)]);
    }
    let images = records(&storage(&sandbox), "overlay-images/images.json");
    let named = |name: &str| {
        let images = images.iter().filter(|image| image["names"].to_string().contains(name));
        images.map(|image| format!("sha256:{}", image["id"].as_str().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(named("localhost/moved:1"), std::slice::from_ref(&id));
    assert_eq!(named("localhost/ours:1"), std::slice::from_ref(&id));
    assert_eq!(images.len(), 3);

    podman.says(&["rmi", "localhost/ours:1", "localhost/moved:1", &image::digest(&other.config_bytes())]);
    assert_eq!(names(&storage(&sandbox)), before, "podman has removed all of it");
    podman.end();
    sandbox.finish();
}

#[test]
fn root_conex_reads_what_podman_and_buildah_write() {
    needs!(require::root());
    let buildah = needs!(require::program("buildah"));
    let sandbox = Sandbox::new();
    let podman = needs!(Podman::of_root(&sandbox, "conex-runtime"));
    let base = needs!(busybox::image());
    sandbox.layout("start").add("a", &needs!(awkward(false)));
    podman.says(&["pull", "--quiet", "oci:start:a"]);
    let id = podman.says(&["images", "--no-trunc", "--quiet", "--filter", "dangling=false"]);
    let id = id.lines().find(|id| *id != image::digest(&base.config_bytes())).expect("two images").to_owned();
    for name in [&id["sha256:".len()..][..12], &format!("@{}", &id["sha256:".len()..])] {
        conex(&sandbox, &["copy", &place(&sandbox, name), "oci:read:a"]);
        let read = config(&sandbox, "oci:read:a");
        assert_eq!(image::digest(read.as_bytes()), id, "{name}");
        conex(&sandbox, &["copy", &place(&sandbox, name), "store:from-podman"]);
        let ran = conex(&sandbox, &["run", "--rm", "--network", "none", "from-podman"]);
        assert_eq!(ran, SAID);
    }
    // On top of our layers buildah lays its own; what it wrote, we read.
    conex(&sandbox, &["copy", "oci:start:a", &place(&sandbox, "localhost/base:1")]);
    let buildah = |words: &[&str]| podman.buildah(&buildah, words).run().success().stdout.trim().to_owned();
    let working = buildah(&["from", "--pull-never", "localhost/base:1"]);
    fs::write(sandbox.work().join("new"), "new").unwrap();
    buildah(&["copy", &working, "new", "/d/new"]);
    buildah(&["config", "--cmd", "cat d/new d/kept", &working]);
    buildah(&["commit", "--quiet", "--format", "docker", &working, "localhost/built:1"]);
    buildah(&["rm", &working]);
    conex(&sandbox, &["copy", &place(&sandbox, "localhost/built:1"), "store:built"]);
    assert_eq!(conex(&sandbox, &["run", "--rm", "--network", "none", "built"]), "newkept");
    // From one storage into another, through what is unpacked.
    let other =
        format!("containers-storage:[overlay@{}]localhost/again:1", sandbox.path("data/other").display());
    conex(&sandbox, &["copy", &place(&sandbox, "localhost/built:1"), &other]);
    conex(&sandbox, &["copy", &other, "oci:again:a"]);

    let refused =
        |name: &str| sandbox.conex(["copy", &place(&sandbox, name), "oci:x:a"]).run().exits(2).stderr;
    assert!(refused("localhost/none:1").contains("no image of this name; there are"));
    podman.end();
    sandbox.finish();
}

#[test]
fn root_the_storage_is_as_skopeo_writes_it() {
    needs!(require::root());
    let skopeo = needs!(require::program("skopeo"));
    let sandbox = Sandbox::new();
    sandbox.layout("start").add("a", &needs!(awkward(false)));
    let (ours, theirs) = (sandbox.path("data/ours"), sandbox.path("data/theirs"));
    let place = |root: &Path| {
        format!("containers-storage:[overlay@{}+{}-run]localhost/a:1", root.display(), root.display())
    };
    conex(&sandbox, &["copy", "oci:start:a", &place(&ours)]);
    // It mounts what it looks at, and leaves it so.
    let skopeo = |words: &[&str]| {
        let mut command = sandbox.command("unshare");
        command.args(["--mount", "--propagation", "private"]).arg(&skopeo).current_dir(sandbox.work());
        command.env("PATH", require::HOST_PATH.join(":")).args(["--insecure-policy", "copy", "--quiet"]);
        command.args(words).run().success();
    };
    skopeo(&["oci:start:a", &place(&theirs)]);

    let (our_layers, their_layers) =
        (records(&ours, "overlay-layers/layers.json"), records(&theirs, "overlay-layers/layers.json"));
    let layers = their_layers.len();
    assert_eq!(our_layers.len(), layers);
    for (our, their) in our_layers.iter().zip(&their_layers) {
        for field in [
            "id",
            "parent",
            "compressed-diff-digest",
            "compressed-size",
            "diff-digest",
            "diff-size",
            "compression",
            "uidset",
            "gidset",
        ] {
            assert_eq!(our[field], their[field], "{field}");
        }
        let id = our["id"].as_str().unwrap();
        let read = |root: &Path| {
            let mut tree = tree::read(&root.join("overlay").join(id).join("diff"));
            // Whiteouts: nobody sees their time.
            tree.retain(|_, line| !line.starts_with("c 0x0 "));
            tree
        };
        assert_eq!(tree::difference(&read(&theirs), &read(&ours)), Vec::<String>::new(), "layer {id}");
        let about = |root: &Path| {
            let mut about = tree::read(&root.join("overlay").join(id));
            about.retain(|name, _| !name.contains('/') && name != "diff");
            about.keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(about(&theirs), about(&ours), "layer {id}");
    }
    let (our_image, their_image) = (
        &records(&ours, "overlay-images/images.json")[0],
        &records(&theirs, "overlay-images/images.json")[0],
    );
    for field in ["id", "digest", "names", "names-history", "layer", "created"] {
        assert_eq!(our_image[field], their_image[field], "{field}");
    }
    for (name, digest) in our_image["big-data-digests"].as_object().unwrap() {
        assert_eq!(their_image["big-data-digests"][name], *digest, "{name}");
    }
    // Each side of one storage: skopeo copies out what we wrote, and finds what it wrote itself is ours.
    skopeo(&[&place(&ours), "oci:back:a"]);
    conex(&sandbox, &["copy", "oci:start:a", &place(&theirs)]);
    assert_eq!(records(&theirs, "overlay-layers/layers.json").len(), layers, "what is there stays");
    sandbox.finish();
}

#[test]
fn root_podman_of_an_ordinary_user_shares_its_storage() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let user = sandbox.user(Range::Subordinate);
    let podman = needs!(Podman::of(&user, &sandbox, "conex-runtime"));
    sandbox.layout("start").add("a", &needs!(awkward(false)));
    let start = sandbox.work().join("start");
    for path in [start.clone(), sandbox.work()] {
        user.own(&path);
    }
    let conex = |words: &[&str]| {
        let mut command = user.conex(words);
        command.current_dir(sandbox.work()).run().success().stdout
    };
    // Where podman itself has it by default.
    conex(&["copy", "oci:start:a", "containers-storage:localhost/ours:1"]);
    let run = ["run", "--rm", "--cgroup-parent", &podman.cgroup(), "localhost/ours:1"];
    assert_eq!(podman.podman(&run).run().success().stdout, SAID);
    conex(&["copy", "containers-storage:busybox", "oci:read:a"]);
    conex(&["copy", "containers-storage:localhost/ours:1", "oci:read:b"]);
    podman.says(&["rmi", "localhost/ours:1"]);
    podman.end();
    sandbox.finish();
}
