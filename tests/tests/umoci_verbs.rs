// SPDX-License-Identifier: Apache-2.0
//! umoci's verbs beside Debian's umoci: the same words to both, then each reads what the other has made. And what a hostile
//! tree or a kill may do to it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use conex_testkit::inject::{Fault, Injector};
use conex_testkit::user::Range;
use conex_testkit::{Image, Layer, Output, Run, Sandbox, effort, needs, require, tar, tree};
use serde_json::Value;

/// All verbs, as a person would type them; `$1` is the tool.
const VERBS: &str = r#"
set -eux
$1 init --layout l
$1 init --layout l && exit 9 || true
$1 new --image l:a
$1 new --image nowhere:a && exit 9 || true
$1 insert --image l:a src /opt
$1 insert --image l:a --opaque src/d /opt/d
$1 insert --image l:a --whiteout --history.comment 'away with it' /opt/d/f
$1 config --image l:a --tag b --author me --config.user 5 --config.cmd a --config.cmd b --config.env X=y \
  --config.exposedports 80 --config.volume /vol --config.label l=1 --config.workingdir /opt \
  --config.stopsignal 9 --config.entrypoint /bin/sh --manifest.annotation q=z --created 2020-01-01T00:00:00Z
$1 config --image l:b --clear config.cmd --no-history --os linux --architecture amd64
$1 config --image l:b --clear rootfs.diffids && exit 9 || true
$1 raw add-layer --image l:b --tag c --history.created 2021-02-03T04:05:06Z ../layer.tar
$1 tag --image l:c d
$1 tag --image l:none e && exit 9 || true
$1 rm --image l:c
$1 rm --image l:none
$1 raw runtime-config --image l:d --rootfs . config.json
$1 raw unpack --image l:d raw
$1 unpack --image l:d bundle
cd bundle/rootfs
echo y >> opt/d/g; rm -r opt/p; rm d/l; mkdir d/l; ln -s x d/l/x; echo new > new; ln new opt/also
chmod 4711 d/g; chown 7:8 n; setfattr -n user.more -v 1 opt; mkdir vol masked; touch vol/x masked/x
touch -hd @1100000000 new opt/d/g d/l/x d/l d opt opt/d vol masked .
cd ../..
$1 repack --image l:r --refresh-bundle --mask-path /masked bundle
$1 repack --image l:s --history.created_by nothing bundle
touch -d @1 bundle/rootfs/vol
$1 repack --image l:t --no-mask-volumes --no-history bundle
$1 gc --layout l
echo walked
"#;

fn sh(sandbox: &Sandbox, at: &str, script: &str, tool: &Path) -> Output {
    let mut shell = sandbox.command("sh");
    shell.current_dir(sandbox.work().join(at)).args(["-c", script, "sh"]).arg(tool).run()
}

fn walked(output: &Output) {
    assert!(output.status.success() && output.stdout.ends_with("walked\n"), "{output}");
}

/// What the verbs are given: files of every type, and a tar of them.
fn make_source(sandbox: &Sandbox) {
    let script = r#"
    set -eux
    mkdir -p src/d
    echo x > src/d/f; ln src/d/f src/d/g; ln -s f src/d/l; mkfifo src/p; mknod src/n c 1 3; chown 5:6 src/n
    chmod 4755 src/d/f; setfattr -n user.x -v y src/d/f; echo odd > 'src/odd *?[#]\ name'
    touch -hd @1000000001 src/* src/d/* src
    tar --format=pax -cf layer.tar -C src .
    for at in theirs ours; do mkdir $at; cp -a src $at; done
    echo walked"#;
    walked(&sh(sandbox, ".", script, Path::new("sh")));
}

/// Debian's umoci and ours.
fn tools(sandbox: &Sandbox) -> require::Requirement<[PathBuf; 2]> {
    for tool in ["jq", "setfattr", "mtree"] {
        require::program(tool)?;
    }
    Ok([require::program("umoci")?, sandbox.programs().join("umoci")])
}

/// `stat --json` without what no two runs have in common.
fn history(sandbox: &Sandbox, tool: &Path, image: &str) -> Value {
    let stat = sandbox.command(tool).args(["stat", "--json", "--image", image]).run().success();
    let mut stat: Value = serde_json::from_str(&stat.stdout).expect("stat prints JSON");
    for step in stat["history"].as_array_mut().expect("a list") {
        step["diff_id"] = step["diff_id"].as_str().expect("text").is_empty().into();
        step["layer"] = step["layer"].get("mediaType").cloned().unwrap_or_default();
        if step["created"] != "2021-02-03T04:05:06Z" {
            step["created"] = step["created"].is_string().into();
        }
    }
    stat
}

/// What an image unpacks to.
fn unpacked(sandbox: &Sandbox, tool: &Path, image: &str) -> tree::Tree {
    let rootfs = sandbox.work().join("unpacked");
    sandbox.command(tool).args(["raw", "unpack", "--image", image]).arg(&rootfs).run().success();
    let tree = tree::read(&rootfs);
    fs::remove_dir_all(rootfs).expect("remove what was unpacked");
    tree
}

fn layers(history: &Value) -> usize {
    history["history"].as_array().expect("a list").iter().filter(|step| !step["layer"].is_null()).count()
}

#[test]
fn root_every_verb_does_what_debians_umoci_does() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let tools = needs!(tools(&sandbox));
    make_source(&sandbox);
    for (tool, at) in tools.iter().zip(["theirs", "ours"]) {
        walked(&sh(&sandbox, at, VERBS, tool));
    }
    let [theirs, ours] = &tools;
    for tag in ["a", "b", "d", "r", "s", "t"] {
        let (left, right) = (format!("theirs/l:{tag}"), format!("ours/l:{tag}"));
        let expected = history(&sandbox, theirs, &left);
        let tree = unpacked(&sandbox, theirs, &left);
        for (tool, image) in [(theirs, &right), (ours, &left), (ours, &right)] {
            assert_eq!(history(&sandbox, tool, image), expected, "{} stat {image}", tool.display());
            let differences = tree::difference(&tree, &unpacked(&sandbox, tool, image));
            assert!(differences.is_empty(), "{} {image}:\n{}", tool.display(), differences.join("\n"));
        }
        let stat = |tool: &PathBuf| sandbox.command(tool).args(["stat", "--image", &left]).run().success();
        assert_eq!(stat(theirs).stdout, stat(ours).stdout);
    }
    // Nothing has changed: a step, no layer. Then a volume, which no longer is a mask: a layer, no step.
    let layers = ["r", "s", "t"].map(|tag| {
        let manifest = format!(".manifests[] | select(.annotations[] == \"{tag}\") | .digest[7:]");
        let count = format!("jq '.layers | length' l/blobs/sha256/$(jq -r '{manifest}' l/index.json)");
        sh(&sandbox, "ours", &count, ours).success().stdout
    });
    assert_eq!(layers, ["5\n", "5\n", "6\n"]);
    let configs = r#"
    set -eux
    for at in theirs ours; do
      for tag in a b d r s t; do
        manifest=$(jq -r --arg tag $tag '.manifests[] | select(.annotations[] == $tag) | .digest[7:]' $at/l/index.json)
        jq -S '[.annotations, (.layers | length)]' $at/l/blobs/sha256/$manifest
        jq -S 'del(.created, .history[].created, .rootfs.diff_ids)' $at/l/blobs/sha256/$(jq -r '.config.digest[7:]' $at/l/blobs/sha256/$manifest)
      done > $at/configs
      jq -S '[.process.args, .process.cwd, .process.user, [.mounts[] | select(.destination == "/vol")]]' $at/config.json > $at/runtime
      ls $at/l/blobs/sha256 | wc -l > $at/blobs
      [ -z "$(ls -A $at/l | grep -v -e blobs -e index.json -e oci-layout)" ]
    done
    diff theirs/configs ours/configs
    diff theirs/runtime ours/runtime
    diff theirs/blobs ours/blobs
    for tag in a b d r s; do oci-image-tool validate --type imageLayout --ref name=$tag ours/l; done
    echo walked"#;
    walked(&sh(&sandbox, ".", configs, ours));
    sandbox.finish();
}

/// Whoever unpacks and whoever repacks: the image is the tree, and the other sees no change after it.
#[test]
fn root_bundles_go_back_and_forth() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let [theirs, ours] = needs!(tools(&sandbox));
    make_source(&sandbox);
    walked(&sh(
        &sandbox,
        ".",
        "$1 init --layout l && $1 new --image l:a && $1 insert --image l:a src / && echo walked",
        &ours,
    ));
    const EDIT: &str = r#"
    cd $1/rootfs
    printf z > d/f; touch -d @1000000001 d/f; rm p; mkdir p; touch -d @3 p
    mkdir -p deep/er; echo 1 > deep/er/1; ln deep/er/1 deep/2; ln -s /nowhere deep/l; mknod deep/b b 7 9
    chown -h 3:4 deep/l; setfattr -n trusted.x -v z deep; rm n; touch -hd @5 deep/er/1 deep/er deep/l deep/b deep .
    echo walked"#;
    for (number, (unpacker, repacker)) in
        [(&theirs, &ours), (&ours, &theirs), (&ours, &ours)].into_iter().enumerate()
    {
        let bundle = format!("bundle-{number}");
        sandbox.command(unpacker).args(["unpack", "--image", "l:a", &bundle]).run().success();
        walked(&sh(&sandbox, ".", EDIT, Path::new(&bundle)));
        let repack = ["repack", "--refresh-bundle", "--image", "l:edited", &bundle];
        sandbox.command(repacker).args(repack).run().success();
        let edited = history(&sandbox, &ours, "l:edited");
        assert_eq!(layers(&edited), 2, "{edited}");
        let tree = tree::read(&sandbox.work().join(&bundle).join("rootfs"));
        for tool in [&theirs, &ours] {
            let differences = tree::difference(&tree, &unpacked(&sandbox, tool, "l:edited"));
            assert!(differences.is_empty(), "{number} {}:\n{}", tool.display(), differences.join("\n"));
            sandbox.command(tool).args(["repack", "--image", "l:again", &bundle]).run().success();
            let again = history(&sandbox, &ours, "l:again");
            assert_eq!(layers(&again), 2, "{} sees a change in bundle {number}", tool.display());
        }
        // mtree(8) knows neither umoci's time nor attributes.
        let verify = format!(
            "sed 's/ tar_time=[0-9.]*//; s/ xattr[.][^ ]*//g' {bundle}/*.mtree > spec && mtree -p {bundle}/rootfs -f spec && echo walked"
        );
        walked(&sh(&sandbox, ".", &verify, &ours));
    }
    sandbox.finish();
}

/// A change that keeps size and time is seen by what nobody can set.
#[test]
fn root_a_change_that_hides_is_found() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let umoci = sandbox.programs().join("umoci");
    sandbox
        .layout("l")
        .add("a", &Image::new(vec![Layer::new(&[tar::file("f", "old"), tar::file("g", "x")])]));
    sandbox.command(&umoci).args(["unpack", "--image", "l:a", "bundle"]).run().success();
    walked(&sh(
        &sandbox,
        "bundle/rootfs",
        "touch -r f ../t; printf new > f; touch -r ../t f; echo walked",
        &umoci,
    ));
    sandbox.command(&umoci).args(["repack", "--image", "l:b", "bundle"]).run().success();
    let tree = unpacked(&sandbox, &umoci, "l:b");
    let was = unpacked(&sandbox, &umoci, "l:a");
    assert_eq!(tree.len(), 2);
    assert_ne!(tree["f"], was["f"]);
    assert_eq!(tree["g"], was["g"]);
    sandbox.finish();
}

/// What a container may have left behind: nothing outside is read, nothing blocks, nothing half-made stays.
#[test]
fn root_a_hostile_tree_is_packed_or_refused() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let umoci = sandbox.programs().join("umoci");
    let image =
        Image::new(vec![Layer::new(&[tar::directory("d"), tar::file("d/f", "x"), tar::file("s", "y")])]);
    sandbox.layout("l").add("a", &image);
    let canary = sandbox.path("canary");
    fs::write(&canary, "SECRET").unwrap();
    let rootfs = sandbox.work().join("bundle/rootfs");
    let unpack = || {
        let _absent = fs::remove_dir_all(sandbox.work().join("bundle"));
        sandbox.command(&umoci).args(["unpack", "--image", "l:a", "bundle"]).run().success();
    };
    let repack = || sandbox.command(&umoci).args(["repack", "--image", "l:b", "bundle"]).run();

    // Links in place of files and directories, a pipe nobody writes to, a socket in place of a file.
    unpack();
    fs::remove_dir_all(rootfs.join("d")).unwrap();
    symlink(sandbox.path(""), rootfs.join("d")).unwrap();
    symlink(&canary, rootfs.join("leak")).unwrap();
    symlink("loop", rootfs.join("loop")).unwrap();
    fs::remove_file(rootfs.join("s")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(rootfs.join("s")).unwrap();
    walked(&sh(&sandbox, "bundle/rootfs", "mkfifo pipe; echo walked", &umoci));
    repack().success();
    let tree = unpacked(&sandbox, &umoci, "l:b");
    assert_eq!(tree.keys().collect::<Vec<_>>(), ["d", "leak", "loop", "pipe"]);
    let blobs = fs::read_dir(sandbox.work().join("l/blobs/sha256")).unwrap();
    for blob in blobs.map(|blob| blob.unwrap().path()) {
        let secret = sandbox
            .command("sh")
            .args(["-c", "{ zcat $1 || cat $1; } | grep -q SECRET", "sh"])
            .arg(blob)
            .run();
        assert!(!secret.status.success(), "a file of the host is in the image");
    }

    // What a layer cannot say, what nobody can unpack, a tree without end: an error, and everything as it was.
    let refused = [
        ("printf x > .wh.d", ".wh.d"),
        ("truncate -s 2T hole", "--mask-path"),
        ("i=0; while [ $i -lt 600 ]; do mkdir x; cd x; i=$((i+1)); done", "nested deeper"),
        ("cd ..; rm -r rootfs; ln -s / rootfs", "rootfs"),
        ("cd ..; rm umoci.json; mkfifo umoci.json", "umoci.json"),
    ];
    let before = fs::read(sandbox.work().join("l/index.json")).unwrap();
    for (what, complaint) in refused {
        unpack();
        walked(&sh(&sandbox, "bundle/rootfs", &format!("set -e; {what}; echo walked"), &umoci));
        repack().fails().says(complaint);
        assert_eq!(fs::read(sandbox.work().join("l/index.json")).unwrap(), before, "{what}");
        assert!(!sandbox.work().join("l/.ingest").exists(), "{what}");
    }
    let masked = ["repack", "--image", "l:b", "--mask-path", "/hole", "bundle"];
    unpack();
    walked(&sh(&sandbox, "bundle/rootfs", "truncate -s 2T hole; echo walked", &umoci));
    sandbox.command(&umoci).args(masked).run().success();
    sandbox.finish();
}

/// Killed at any call, a repack has changed nothing, or everything; gc leaves no byte of it; the bundle can be repacked.
#[test]
fn root_a_killed_repack_leaves_a_whole_layout() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let umoci = sandbox.programs().join("umoci");
    let injector = needs!(Injector::new(&sandbox));
    sandbox.layout("first").add("a", &Image::new(vec![Layer::new(&[tar::file("f", "x")])]));
    let prepare = || {
        let script = r#"
        set -e
        rm -rf l bundle; cp -a first l; $1 unpack --image l:a bundle; echo new > bundle/rootfs/new; echo walked"#;
        walked(&sh(&sandbox, ".", script, &umoci));
    };
    let mut repack = Command::new(&umoci);
    repack.args(["repack", "--refresh-bundle", "--image", "l:a", "bundle"]);
    prepare();
    let points = injector.points(&repack);
    let (mut old, mut new) = (0, 0);
    for point in effort::sample(&points, 50) {
        prepare();
        let (hit, _) = injector.run(&repack, point, Fault::Kill);
        let count = layers(&history(&sandbox, &umoci, "l:a"));
        match count {
            1 => old += 1,
            2 => new += 1,
            other => panic!("{other} layers after a kill at {point:?}"),
        }
        assert!(hit || count == 2);
        // The bundle is of the old image or of the new one; either can be repacked.
        sandbox.command(&umoci).args(["repack", "--image", "l:a", "bundle"]).run().success();
        assert!(unpacked(&sandbox, &umoci, "l:a").contains_key("new"), "{point:?}");
        sandbox.command(&umoci).args(["gc", "--layout", "l"]).run().success();
        let validate = ["validate", "--type", "imageLayout", "--ref", "name=a", "l"];
        sandbox.command(sandbox.programs().join("oci-image-tool")).args(validate).run().success();
        let names: Vec<_> =
            fs::read_dir(sandbox.work().join("l")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 3, "{point:?}: {names:?}");
    }
    assert!(old > 0 && new > 0, "{old} old, {new} new");
    effort::tell(&format!("a repack was killed at {} points", old + new));
    sandbox.finish();
}

/// Without privileges: owners that could not be given go back into the image.
#[test]
fn root_bundles_of_an_ordinary_user_go_back() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    needs!(tools(&sandbox));
    let image = Image::new(vec![Layer::new(&[
        tar::directory("etc").mtime(5),
        tar::file("etc/hers", "x").owner(3, 4).mtime(6),
        tar::directory("closed").mode(0).mtime(6),
        tar::file("locked", "z").mode(0).mtime(7),
    ])]);
    sandbox.layout("l").add("a", &image);
    let user = sandbox.user(Range::Missing);
    let script = r#"
    set -eux
    for unpacker in umoci /usr/bin/umoci; do
      $unpacker unpack --rootless --image l:a bundle
      umoci repack --image l:same bundle
      umoci stat --image l:same --json | jq -e '.history[-1].empty_layer'
      echo more >> bundle/rootfs/etc/hers; echo mine > bundle/rootfs/mine
      umoci repack --image l:b bundle
      blob=$(umoci stat --image l:b --json | jq -r '.history[-1].layer.digest[7:]')
      zcat l/blobs/sha256/$blob | tar -tv --numeric-owner > listing
      grep ' 3/4 .* etc/hers$' listing && grep ' 0/0 .* mine$' listing && [ $(wc -l < listing) = 3 ]
      chmod -R u+rwx bundle; rm -r bundle
    done
    echo walked"#;
    walked(&user.command("sh").args(["-c", script]).run());
    sandbox.finish();
}

/// What umoci lacks: one image of several platforms is changed, the others stay; Docker's media types stay Docker's.
#[test]
fn indexes_and_dockers_images_are_changed_in_their_own_form() {
    let sandbox = Sandbox::new();
    let umoci = sandbox.programs().join("umoci");
    let image = |text: &str| Image::new(vec![Layer::new(&[tar::file("f", text)])]);
    let mut other = image("arm");
    other.config["architecture"] = "arm64".into();
    let layout = sandbox.layout("l");
    layout.add_index("many", &[("amd64", image("amd")), ("arm64", other)]);
    layout.add("docker", &image("docker").docker());
    fs::write(sandbox.work().join("new"), "new").unwrap();
    let insert = |words: &[&str]| {
        sandbox.command(&umoci).arg("insert").args(words).args(["new", "/new"]).run().success();
    };
    insert(&["--rootless", "--image", "l:many", "--platform", "linux/arm64"]);
    insert(&["--rootless", "--image", "l:docker"]);
    let read = |digest: &str| -> Value {
        serde_json::from_slice(&fs::read(layout.blob_path(digest)).unwrap()).unwrap()
    };
    let named = |name: &str| {
        let index = layout.index();
        let hit = index["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .find(|entry| entry["annotations"]["org.opencontainers.image.ref.name"] == name);
        read(hit.unwrap()["digest"].as_str().unwrap())
    };
    let many = named("many");
    let counts: Vec<_> = many["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            let manifest = read(entry["digest"].as_str().unwrap());
            (entry["platform"]["architecture"].clone(), manifest["layers"].as_array().unwrap().len())
        })
        .collect();
    assert_eq!(counts, [("amd64".into(), 1), ("arm64".into(), 2)]);
    let docker = named("docker");
    assert_eq!(docker["mediaType"], conex_testkit::image::DOCKER_MANIFEST);
    assert_eq!(docker["layers"][1]["mediaType"], conex_testkit::image::DOCKER_LAYER);
    sandbox.command(&umoci).args(["gc", "--layout", "l"]).run().success();
    for name in ["many", "docker"] {
        sandbox
            .conex(["copy", "--all", &format!("oci:l:{name}"), &format!("oci:copied:{name}")])
            .run()
            .success();
    }
    sandbox.finish();
}

/// conex' own words for the same, and the same bytes whenever it is done.
#[test]
fn the_same_input_gives_the_same_image() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.work().join("src")).unwrap();
    fs::write(sandbox.work().join("src/f"), "x").unwrap();
    fs::write(sandbox.work().join("layer.tar"), tar::archive(&[tar::file("of-base", "x")])).unwrap();
    let script = r#"
    set -eux
    for at in one two; do
      conex layout init $at
      conex image new --image oci:$at:a
      touch src/f
      conex image insert --rootless --image oci:$at:a --tag b src /src
      conex image config --image oci:$at:b --config.env A=1
      conex layout tag --image oci:$at:b c
      conex layout rm --image oci:$at:a
      conex layout rm --image oci:$at:a && exit 9 || true
      conex bundle unpack --rootless --image oci:$at:b bundle-$at
      conex bundle config --image oci:$at:b config-$at.json
      echo new > bundle-$at/rootfs/new
      conex bundle repack --compress zstd --image oci:$at:d bundle-$at
      conex image stat --image oci:$at:d
      conex image new --image oci:$at:base
      conex image append --image oci:$at:base --tag newer layer.tar layer.tar
      conex image rebase --image oci:$at:d --tag on-newer --old-base oci:$at:base --new-base oci:$at:newer
      conex image history --image oci:$at:on-newer
      conex bundle unpack --rootless --image oci:$at:on-newer rebased-$at
      [ -e rebased-$at/rootfs/of-base ] && [ "$(cat rebased-$at/rootfs/new)" = new ]
      conex image rebase --image oci:$at:d --old-base oci:$at:newer --new-base oci:$at:base && exit 9 || true
      conex image append --image oci:$at:base src/f && exit 9 || true
      conex layout gc $at
      conex layout list $at
    done
    diff -r one two
    conex image stat --image one:d && exit 9 || true
    jq -e '.config.digest' one/blobs/sha256/$(jq -r '.manifests[-1].digest[7:]' one/index.json)
    echo walked"#;
    needs!(require::program("jq"));
    sandbox.programs();
    let mut shell = sandbox.command("sh");
    walked(&shell.env("SOURCE_DATE_EPOCH", "1700000000").args(["-c", script]).run());
    sandbox.finish();
}
