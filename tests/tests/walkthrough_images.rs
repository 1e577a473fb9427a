// SPDX-License-Identifier: Apache-2.0
//! Images by hand, as people who learn them type it: archives and a running docker by skopeo, a bundle by
//! oci-image-tool, layers one by one. Every tool is conex here, by its name; public registries are one on loopback.

use conex_testkit::dockerd::{Dockerd, Setup};
use conex_testkit::server::Registry;
use conex_testkit::user::Range;
use conex_testkit::{Image, Layer, Output, Run, Sandbox, busybox, needs, require, tar};
use serde_json::Value;

/// Images by skopeo; a plain tar, whatever its name says.
const COPY: &str = r#"
skopeo --version
skopeo copy --help > /dev/null
skopeo inspect docker://docker.io/busybox
skopeo copy docker://docker.io/alpine:latest docker-daemon:docker.io/alpine:latest
skopeo copy docker-daemon:docker.io/alpine:latest docker-archive:docker-io-alpine-latest.tar.gz
mkdir archive && cd archive
tar -xvf ../docker-io-alpine-latest.tar.gz
[ -e manifest.json ] && [ -e repositories ]
for config in $(jq -r '.[].Config' manifest.json); do [ "$(sha256sum < $config)" = "$(basename $config .json)  -" ]; done
for layer in $(jq -r '.[].Layers[]' manifest.json); do tar --list --file $layer > /dev/null; done
cd ..
echo walked
"#;

/// Bundles by oci-image-tool: `--ref latest` means the name.
const CREATE: &str = r#"
skopeo copy docker://busybox:latest oci:busybox-oci
oci-image-tool validate --type imageLayout --ref latest busybox-oci
oci-image-tool create --ref latest busybox-oci busybox-bundle
jq -e '.root.path == "rootfs"' busybox-bundle/config.json
[ -x busybox-bundle/rootfs/bin/busybox ]
oci-image-tool unpack --ref latest busybox-oci rootfs
diff -r --no-dereference rootfs busybox-bundle/rootfs
oci-image-tool unpack busybox-oci rootfs && exit 9 || true
oci-image-tool unpack --ref none busybox-oci other && exit 9 || true
[ ! -e other ]
echo walked
"#;

/// Layers one by one.
const LAYERS: &str = r#"
conex pull alpine
conex bundle layers alpine layers
ls layers
for diff_id in $(jq -r '.rootfs.diff_ids[]' layers/config.json); do [ -d "layers/$diff_id" ]; done
[ "$(ls layers | wc -l)" = 5 ]
conex bundle create --overlay layers bundle
[ "$(cat bundle/rootfs/added)" = upper ] && [ ! -e bundle/rootfs/gone ]
sed -i 's/"terminal": *true/"terminal": false/' bundle/config.json
[ "$(conex-runtime run --bundle bundle layers-by-hand < /dev/null)" = "$GREETING" ]
conex-runtime plan --bundle bundle | grep pivot
umount bundle/rootfs
conex copy docker://archlinux:latest docker-archive-dir:arch-dir
for layer in arch-dir/*/layer.tar; do tar --list --file $layer > /dev/null; done
[ -e arch-dir/manifest.json ] && [ -e arch-dir/repositories ] && [ "$(jq length arch-dir/manifest.json)" = 1 ]
for directory in arch-dir/*/; do [ "$(cat $directory/VERSION)" = 1.0 ] && jq -e .id $directory/json; done
echo walked
"#;

fn walked(output: &Output) {
    assert!(output.status.success() && output.stdout.ends_with("walked\n"), "{output}");
}

/// An image of four layers, one of which takes something away again.
fn alpine() -> require::Requirement<Image> {
    let lower = Layer::new(&[tar::file("gone", "lower"), tar::file("added", "lower")]);
    let upper = Layer::new(&[tar::whiteout("gone"), tar::file("added", "upper")]);
    Ok(Image::new([busybox::image()?.layers, vec![lower, upper]].concat()).cmd(&["cat", "/etc/motd"]))
}

/// A registry with what the walks pull.
fn registry(sandbox: &Sandbox) -> require::Requirement<Registry> {
    for tool in ["jq", "tar"] {
        require::program(tool)?;
    }
    let layout = sandbox.layout("pushed");
    layout.add("busybox", &busybox::image()?);
    layout.add("alpine", &alpine()?);
    layout.add("archlinux", &alpine()?);
    let registry = Registry::conex(sandbox);
    for name in ["busybox", "alpine", "archlinux"] {
        let to = format!("docker://{}/library/{name}:latest", registry.address);
        sandbox.conex(["copy", &format!("oci:pushed:{name}"), &to]).run().success();
    }
    let names = ["docker.io", "quay.io", "registry.access.redhat.com"];
    sandbox.map_registries(&names, &registry.address);
    Ok(registry)
}

#[test]
fn root_archives_and_a_running_docker() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    sandbox.programs();
    let registry = needs!(registry(&sandbox));
    let docker = needs!(Dockerd::start(&sandbox, &Setup::default()));
    let mut walk = sandbox.command("sh");
    walk.env("DOCKER_HOST", format!("unix://{}", sandbox.path("docker.sock").display()));
    walked(&walk.args(["-c", &format!("set -eux\n{COPY}")]).run());
    docker.end();
    drop(registry);
    sandbox.finish();
}

#[test]
fn root_bundles_by_oci_image_tool() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    sandbox.programs();
    let registry = needs!(registry(&sandbox));
    walked(&sandbox.command("sh").args(["-c", &format!("set -eux\n{CREATE}")]).run());
    drop(registry);
    sandbox.finish();
}

#[test]
fn root_bundles_by_oci_image_tool_for_an_ordinary_user() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let registry = needs!(registry(&sandbox));
    let user = sandbox.user(Range::Subordinate);
    walked(&user.command("sh").args(["-c", &format!("set -eux\n{CREATE}")]).run());
    drop(registry);
    sandbox.finish();
}

#[test]
fn root_layers_by_hand() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    sandbox.programs();
    let registry = needs!(registry(&sandbox));
    let mut walk = sandbox.command("unshare");
    walk.env("CONEX_ROOT", sandbox.store()).env("CONEX_RUNROOT", sandbox.path("run/conex"));
    walk.env("GREETING", busybox::MOTD.trim_end());
    let script = format!("set -eux\nmount -t tmpfs run /run\n{LAYERS}");
    walked(&walk.args(["--mount", "--propagation", "private", "sh", "-c", &script]).run());
    drop(registry);
    sandbox.finish();
}

/// Debian's oci-image-tool finds nothing wrong with what conex writes, and ours finds in a spoilt layout all that is.
#[test]
fn layouts_are_judged_to_the_end() {
    let theirs = needs!(require::program("oci-image-tool"));
    let sandbox = Sandbox::new();
    let layout = sandbox.layout("good");
    layout.add("latest", &needs!(busybox::image()));
    sandbox.conex(["copy", "oci:good:latest", "oci:ours:latest"]).run().success();
    let judge = |words: &[&str]| {
        let mut command = sandbox.command(sandbox.programs().join("oci-image-tool"));
        command.args(["validate"]).args(words).run()
    };
    assert_eq!(judge(&["ours", "good"]).success().stdout, "ours: OK\ngood: OK\n");
    let named = ["validate", "--type", "image", "--ref", "name=latest", "ours"];
    sandbox.command(theirs).args(named).run().success();
    sandbox.conex(["copy", "oci:good:latest", "oci-archive:good.tar:latest"]).run().success();
    judge(&["good.tar"]).success();

    let mut index = layout.index();
    let manifest = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
    let parsed: Value = serde_json::from_slice(&std::fs::read(layout.blob_path(&manifest)).unwrap()).unwrap();
    let layer = parsed["layers"][0]["digest"].as_str().unwrap();
    let config = parsed["config"]["digest"].as_str().unwrap();
    layout.write_blob(layer, b"something else");
    std::fs::remove_file(layout.blob_path(config)).unwrap();
    index["schemaVersion"] = 1.into();
    layout.write_index(&index);
    let judged = judge(&["good"]).exits(1);
    for said in ["index.json: /schemaVersion: must be 2", &format!("{layer}: "), &format!("{config}: ")] {
        assert!(judged.stdout.contains(said), "no {said:?} in {judged}");
    }
    sandbox.finish();
}
