// SPDX-License-Identifier: Apache-2.0
//! `conex image` and `conex index` on images wherever they are, beside Debian's tools: what is flattened or exported is what
//! umoci unpacks, what is stripped is nowhere, and only one name has changed.

use conex_testkit::server::Registry;
use conex_testkit::{Compression, Image, Layer, Output, Run, Sandbox, needs, require, tar, tree};
use serde_json::Value;

/// Every verb that changes an image, for one place. `$1` is the image, `$2` what leads to another tag, `$3` the new tag.
const VERBS: &str = r#"
set -eux
conex image config $1 $2 --config.env MODE=test --manifest.annotation a=1
conex image annotate $3 b=2 && conex image annotate $3 --remove a
conex image annotate $3 --remove none && exit 9 || true
conex image insert $3 added /opt/added
conex image append $3 layer.tar
conex image strip-file $3 /secret
conex image strip-file $3 /nowhere && exit 9 || true
conex image rebase $3 --old-base oci:base:old --new-base oci:base:new
conex image flatten $3 --compress zstd
echo walked
"#;

fn layers() -> Vec<Layer> {
    let lower = [
        tar::directory("etc"),
        tar::file("etc/a", "lower"),
        tar::file("gone", "x"),
        tar::file("secret", "hush"),
    ];
    let upper = [tar::whiteout("gone"), tar::file("etc/a", "upper"), tar::symlink("etc/link", "../etc/a")];
    vec![Layer::new(&lower), Layer::new(&upper)]
}

/// Bases, an image on the old one, a layer and a file to add.
fn prepare(sandbox: &Sandbox) {
    let base = sandbox.layout("base");
    let old = Layer::new(&[tar::file("base", "old")]);
    base.add("old", &Image::new(vec![old.clone()]));
    base.add("new", &Image::new(vec![Layer::new(&[tar::file("base", "new")])]));
    let layout = sandbox.layout("given");
    layout.add("app", &Image::new([vec![old], layers()].concat()).cmd(&["true"]));
    std::fs::write(sandbox.work().join("added"), "added").expect("write a file");
    let script = "mkdir t && echo appended > t/appended && tar -cf layer.tar -C t appended";
    sandbox.command("sh").args(["-c", script]).run().success();
}

fn conex(sandbox: &Sandbox, words: &[&str]) -> Output {
    sandbox.conex(words.iter().copied()).run()
}

fn file(sandbox: &Sandbox, image: &str, path: &str) -> String {
    conex(sandbox, &["image", "get-file", image, path]).success().stdout
}

/// The verbs on `given`, then what came of it at `made`.
fn changes(sandbox: &Sandbox, given: &str, lead: &str, made: &str) {
    conex(sandbox, &["copy", "oci:given:app", given]).success();
    let words = VERBS.replace("$1", &format!("--image {given}")).replace("$2", lead);
    let words = words.replace("$3", &format!("--image {made}"));
    let mut shell = sandbox.command("sh");
    shell.env("CONEX_ROOT", sandbox.store()).env("CONEX_RUNROOT", sandbox.path("run/conex"));
    shell.env("SOURCE_DATE_EPOCH", "1600000000");
    let output = shell.args(["-c", &words]).run();
    assert!(output.status.success() && output.stdout.ends_with("walked\n"), "{given}: {output}");
    for (path, content) in
        [("etc/link", "upper"), ("opt/added", "added"), ("appended", "appended\n"), ("base", "new")]
    {
        assert_eq!(file(sandbox, made, path), content, "{made} {path}");
    }
    for path in ["secret", "gone"] {
        conex(sandbox, &["image", "get-file", made, path]).exits(125);
    }
    assert_eq!(file(sandbox, given, "secret"), "hush", "the image that it was made of");
    let stat = conex(sandbox, &["image", "stat", "--json", "--image", made]).success().stdout;
    let stat: Value = serde_json::from_str(&stat).expect("stat prints JSON");
    let layers =
        stat["history"].as_array().expect("a list").iter().filter(|step| !step["layer"].is_null()).count();
    assert_eq!(layers, 1, "{stat}");
    let diff = conex(sandbox, &["image", "diff", given, made]).success().stdout;
    for line in ["A appended\n", "A opt\n", "D secret\n", "C base (", " config/config/Env"] {
        assert!(diff.contains(line), "no {line:?} in {diff}");
    }
}

#[test]
fn images_are_changed_wherever_they_are() {
    let sandbox = Sandbox::new();
    sandbox.programs();
    prepare(&sandbox);
    let registry = Registry::conex(&sandbox);
    sandbox.map_registries(&[], &registry.address);
    let on = |tag: &str| format!("docker://{}/team/app:{tag}", registry.address);
    changes(&sandbox, &on("1"), "--tag 2", &on("2"));
    changes(&sandbox, "oci:layout:1", "--tag 2", "oci:layout:2");
    changes(&sandbox, "store:app:1", "--tag 2", "store:app:2");
    changes(
        &sandbox,
        "oci-archive:images.tar:1",
        "--to oci-archive:images.tar:2",
        "oci-archive:images.tar:2",
    );
    conex(&sandbox, &["copy", "oci:layout:1", "docker-archive:docker.tar:app:1"]).success();
    conex(&sandbox, &["copy", "oci:layout:1", "dir:flat"]).success();
    for (given, made) in [("docker-archive:docker.tar:app:1", "store:other:3"), ("dir:flat", "oci:layout:3")]
    {
        let insert = ["image", "insert", "--image", given, "--to", made, "added", "/opt/added"];
        conex(&sandbox, &insert).success();
        assert_eq!(file(&sandbox, made, "opt/added"), "added");
    }
    let refused = conex(&sandbox, &["image", "annotate", "--image", "dir:flat", "a=b"]).exits(125);
    assert!(refused.stderr.contains("--to"), "{refused}");
    let names = conex(&sandbox, &["layout", "list", "layout"]).success().stdout;
    assert_eq!(names, "1\n2\n3\n");
    // The same from anywhere: the manifests say so.
    let digest = |image: &str| {
        let copied =
            conex(&sandbox, &["copy", image, "--digestfile", "digest", "--preserve-digests", "dir:d"]);
        copied.success();
        std::fs::read_to_string(sandbox.work().join("digest")).unwrap()
    };
    assert_eq!(digest(&on("2")), digest("oci:layout:2"));
    drop(registry);
    sandbox.finish();
}

/// An index is made, changed and annotated at every place that holds one, and the tools of others read it.
#[test]
fn indexes_are_made_and_changed_wherever_they_are() {
    let sandbox = Sandbox::new();
    sandbox.programs();
    prepare(&sandbox);
    let registry = Registry::conex(&sandbox);
    sandbox.map_registries(&[], &registry.address);
    for (tag, arch) in [("arm64", "arm64"), ("riscv", "riscv64"), ("again", "arm64")] {
        let config = ["image", "config", "--image", "oci:given:app", "--tag", tag, "--architecture", arch];
        conex(&sandbox, &[&config[..], &["--author", tag]].concat()).success();
    }
    let docker = format!("docker://{}/team/index:1", registry.address);
    for index in [docker.as_str(), "oci:index:1", "store:index:1", "oci-archive:index.tar:1"] {
        conex(&sandbox, &["index", "create", "--image", index, "oci:given:app", "oci:given:arm64"]).success();
        let add =
            ["index", "add", "--image", index, "--annotation", "n=v", "oci:given:riscv", "oci:given:again"];
        conex(&sandbox, &add).success();
        conex(&sandbox, &["index", "annotate", "--image", index, "whole=yes"]).success();
        let entry = ["index", "annotate", "--image", index, "--entry", "linux/arm64", "--platform"];
        conex(&sandbox, &[&entry[..], &["linux/arm64/v8", "x=y"]].concat()).success();
        conex(&sandbox, &["index", "remove", "--image", index, "linux/riscv64"]).success();
        conex(&sandbox, &["index", "remove", "--image", index, "linux/riscv64"]).exits(125);
        conex(&sandbox, &["copy", "--all", index, "dir:read"]).success();
        let read = std::fs::read(sandbox.work().join("read/manifest.json")).unwrap();
        let read: Value = serde_json::from_slice(&read).unwrap();
        let entries = read["manifests"].as_array().unwrap();
        assert_eq!((entries.len(), &read["annotations"]["whole"]), (2, &"yes".into()), "{index}: {read}");
        assert_eq!(entries[1]["platform"]["variant"], "v8");
        assert_eq!(
            (&entries[1]["annotations"]["n"], &entries[1]["annotations"]["x"]),
            (&"v".into(), &"y".into())
        );
        let platform = ["image", "get-file", "--platform", "linux/arm64/v8", index, "etc/a"];
        assert_eq!(conex(&sandbox, &platform).success().stdout, "upper");
    }
    conex(&sandbox, &["index", "add", "--image", "oci:given:app", "oci:given:arm64"]).exits(125);
    if let Ok(skopeo) = require::program("skopeo") {
        for arch in ["amd64", "arm64"] {
            let mut inspect = sandbox.command(&skopeo);
            inspect.args(["--override-arch", arch, "inspect", "oci:index:1"]).run().success();
        }
    }
    drop(registry);
    sandbox.finish();
}

/// GNU tar of what is exported, and umoci of what is flattened, give what umoci unpacks of the layers.
#[test]
fn root_flat_images_are_what_umoci_unpacks() {
    needs!(require::root());
    let umoci = needs!(require::program("umoci"));
    let sandbox = Sandbox::new();
    sandbox.programs();
    let layout = sandbox.layout("images");
    let script = r#"
    set -eux
    mkdir -p a/d/e b/d
    echo 1 > a/d/f; ln a/d/f a/second; ln a/d/f a/third; ln -s d a/link; mkfifo a/p; mknod a/n c 1 3; echo 2 > a/d/e/g
    chown 5:6 a/n; chmod 4755 a/d/f; setfattr -n user.x -v y a/d/f; truncate -s 1M a/sparse; echo end >> a/sparse
    setcap cap_net_raw=ep a/d/e/g || true; echo long > "a/$(printf 'n%.0s' $(seq 200))"
    touch b/.wh.second b/d/.wh.e; echo new > b/d/f; ln -s nowhere b/d/dangling
    mkdir c; touch c/.wh.d; mkdir c/late; echo 3 > c/late/z
    touch -hd @1000000000 a/* a/d/* a/d/e/g b/d/* c/late/z a/d/e a a/d b b/d c c/late
    for l in a b c; do tar --format=pax --xattrs --xattrs-include='*' -Scf $l.tar -C $l .; done"#;
    sandbox.command("sh").args(["-c", script]).run().success();
    let layers = ["a", "b", "c"].map(|name| {
        let bytes = std::fs::read(sandbox.work().join(format!("{name}.tar"))).unwrap();
        Layer::of_tar(&bytes, Compression::Gzip)
    });
    layout.add("app", &Image::new(layers.to_vec()));
    let unpack = |image: &str, to: &str| {
        sandbox.command(&umoci).args(["raw", "unpack", "--image", image, to]).run().success();
        tree::read(&sandbox.work().join(to))
    };
    let expected = unpack("images:app", "unpacked");
    let flatten = |tag: &str| {
        let words = ["image", "flatten", "--image", "oci:images:app", "--tag", tag];
        sandbox.conex(words).env("SOURCE_DATE_EPOCH", "1600000000").run().success();
        unpack(&format!("images:{tag}"), tag)
    };
    for tag in ["flat", "again"] {
        let differences = tree::difference(&expected, &flatten(tag));
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    }
    let index = layout.index();
    let digest = |tag: &str| {
        let entries = index["manifests"].as_array().unwrap();
        entries.iter().find(|entry| entry["annotations"]["org.opencontainers.image.ref.name"] == tag).unwrap()
            ["digest"]
            .clone()
    };
    assert_eq!(digest("flat"), digest("again"), "not the same every time");
    let script = "mkdir exported && conex image export oci:images:app |
        tar --xattrs --xattrs-include='*' --numeric-owner -xpf - -C exported";
    sandbox.command("sh").args(["-c", script]).run().success();
    let exported = tree::read(&sandbox.work().join("exported"));
    let differences = tree::difference(&expected, &exported);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    sandbox.finish();
}
