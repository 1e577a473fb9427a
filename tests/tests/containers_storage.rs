// SPDX-License-Identifier: Apache-2.0
//! `containers-storage:` with Debian's podman, buildah and skopeo on the same storage: images go both ways without a
//! registry, each side reads, runs, adds to and removes what the other wrote.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use conex_testkit::inject::{Fault, Injector};
use conex_testkit::podman::Podman;
use conex_testkit::user::Range;
use conex_testkit::{
    Compression, Image, Layer, Run, Sandbox, busybox, effort, image, needs, require, tar, tree,
};
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

/// Whatever is recorded is there; the ids of all layers and images.
fn whole(root: &Path) -> (BTreeSet<String>, BTreeSet<String>) {
    let of = |file: &str| if root.join(file).exists() { records(root, file) } else { Vec::new() };
    let id = |record: &Value| record["id"].as_str().expect("an id").to_owned();
    let (layers, images) = (of("overlay-layers/layers.json"), of("overlay-images/images.json"));
    let ids: BTreeSet<String> = layers.iter().map(id).collect();
    for layer in &layers {
        let dir = root.join("overlay").join(id(layer));
        let link = fs::read_to_string(dir.join("link")).expect("link");
        assert_eq!(fs::canonicalize(root.join("overlay/l").join(link)).expect("its link"), dir.join("diff"));
        assert!(root.join("overlay-layers").join(id(layer) + ".tar-split.gz").exists());
        assert!(layer["parent"].as_str().is_none_or(|parent| ids.contains(parent)));
    }
    for image in &images {
        assert!(ids.contains(image["layer"].as_str().expect("a top layer")));
        let files = fs::read_dir(root.join("overlay-images").join(id(image))).expect("its documents").count();
        assert!(files >= image["big-data-names"].as_array().expect("their names").len());
    }
    (ids, images.iter().map(id).collect())
}

#[test]
fn root_a_killed_copy_leaves_a_whole_storage() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let injector = needs!(Injector::new(&sandbox));
    let layers =
        vec![Layer::new(&[tar::file("a", "a")]), Layer::new(&[tar::file("b", "b"), tar::whiteout("a")])];
    let image = Image::new(layers);
    sandbox.layout("start").add("a", &image);
    let root = sandbox.path("data/storage");
    let place = format!("containers-storage:[overlay@{}]localhost/a:1", root.display());
    let copy = sandbox.conex(["copy", "--quiet", "oci:start:a", &place]);
    let points = injector.points(&copy);
    let (_, images) = whole(&root);
    assert_eq!(images.len(), 1);
    let (mut old, mut new) = (0, 0);
    for point in effort::sample(&points, 25) {
        fs::remove_dir_all(&root).unwrap();
        let (hit, _) = injector.run(&copy, point, Fault::Kill);
        if root.exists() {
            let (_, images) = whole(&root);
            if images.is_empty() {
                old += 1
            } else {
                new += 1
            }
            assert!(hit || images.len() == 1, "{point:?}");
        }
        conex(&sandbox, &["copy", "--quiet", "oci:start:a", &place]);
        let (layers, images) = whole(&root);
        let mut left: BTreeSet<String> =
            ["l", "layers.json", "layers.lock", "images.json", "images.lock"].map(str::to_owned).into();
        left.extend(layers.iter().cloned());
        left.extend(layers.iter().map(|id| format!("{id}.tar-split.gz")));
        left.extend(images);
        let found = names(&root);
        let links = found.iter().filter(|name| name.len() == 26).count();
        assert_eq!(links, layers.len(), "{point:?}: {found:?}");
        let found: BTreeSet<String> = found.into_iter().filter(|name| name.len() != 26).collect();
        assert_eq!(found, left, "{point:?}: nothing is left of the killed one");
        conex(&sandbox, &["copy", "--quiet", &place, "dir:out"]);
    }
    assert!(old > 0, "{old} old, {new} new");
    effort::tell(&format!("a copy into a storage was killed at {} points", old + new));
    sandbox.finish();
}
