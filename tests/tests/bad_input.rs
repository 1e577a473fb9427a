// SPDX-License-Identifier: Apache-2.0
//! Lies, mistakes and absences: each gets one clear error, the exit code that its peer would give, and leaves
//! nothing behind: no half an image, no mount, cgroup, process or file.

use std::fs;
use std::net::Ipv4Addr;

use conex_testkit::bundle::Bundle;
use conex_testkit::liar::{Liar, Lies};
use conex_testkit::server::free_address;
use conex_testkit::{Image, Layer, Layout, Output, Run, Sandbox, busybox, image, needs, require, tar};

/// What podman exits with when it could not even begin.
const ENGINE_FAILED: i32 = 125;

/// A sandbox, and a layout that a lying registry serves as it is.
struct Scene {
    sandbox: Sandbox,
    layout: Layout,
}

impl Scene {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let layout = sandbox.layout("served");
        Self { sandbox, layout }
    }

    /// Pulls `app:TAG` from the layout as served with these lies.
    fn pull(&self, tag: &str, lies: Lies) -> Output {
        let liar = Liar::serve(&self.layout, lies);
        self.sandbox.map_registries(&[], &liar.address);
        let separator = if tag.starts_with("sha256:") { '@' } else { ':' };
        let name = format!("{}/app{separator}{tag}", liar.address);
        self.sandbox.conex(["pull", &name]).run()
    }

    /// The error is one, and about this; the store is as if nothing had been asked of it.
    #[track_caller]
    fn refused(self, output: &Output, code: i32, words: &[&str]) {
        one_error(output, code, words);
        let listed = self.sandbox.conex(["images", "--quiet"]).run().success();
        assert_eq!(listed.stdout, "", "no image is there\n{output}");
        self.sandbox.conex(["system", "fsck"]).run().success();
        self.sandbox.finish();
    }
}

/// One error with all these words in it, and this exit code.
#[track_caller]
fn one_error(output: &Output, code: i32, words: &[&str]) {
    let output = output.clone().fails().exits(code);
    let errors = output.stderr.lines().filter(|line| line.to_lowercase().starts_with("error")).count();
    assert!(errors <= 1, "one error, not {errors}\n{output}");
    for word in words {
        assert!(output.stderr.contains(word), "{word:?} is not said\n{output}");
    }
}

/// Something small to lie about; not all tests have busybox.
fn small() -> Image {
    Image::new(vec![Layer::new(&[tar::directory("etc"), tar::file("etc/motd", "x".repeat(5000))])])
}

#[test]
fn userns_a_truncated_blob() {
    needs!(require::userns());
    let scene = Scene::new();
    let image = small();
    scene.layout.add("cut", &image);
    let output = scene.pull("cut", Lies { cut: Some(60), ..Lies::default() });
    scene.refused(&output, ENGINE_FAILED, &[]);
}

#[test]
fn userns_a_blob_with_other_bytes() {
    needs!(require::userns());
    let scene = Scene::new();
    let (image, other) = (small(), Layer::new(&[tar::file("etc", "y".repeat(4000))]));
    scene.layout.add("lie", &image);
    let mut bytes = other.blob;
    bytes.resize(image.layers[0].blob.len(), 0);
    scene.layout.write_blob(&image.layers[0].digest, &bytes);
    let output = scene.pull("lie", Lies::default());
    scene.refused(&output, ENGINE_FAILED, &[&image.layers[0].digest]);
}

#[test]
fn userns_a_layer_that_unpacks_to_something_else() {
    needs!(require::userns());
    let scene = Scene::new();
    let mut image = small();
    let promised = image::digest(b"something else");
    image.layers[0].diff_id.clone_from(&promised);
    scene.layout.add("lie", &image);
    let output = scene.pull("lie", Lies::default());
    scene.refused(&output, ENGINE_FAILED, &[&promised]);
}

#[test]
fn userns_a_digest_that_nobody_has() {
    needs!(require::userns());
    let scene = Scene::new();
    scene.layout.add("there", &small());
    let wanted = image::digest(b"nobody has this");
    let output = scene.pull(&wanted, Lies::default());
    scene.refused(&output, ENGINE_FAILED, &[&wanted]);
}

#[test]
fn userns_a_manifest_of_the_wrong_type() {
    needs!(require::userns());
    let scene = Scene::new();
    scene.layout.add("odd", &small());
    let output = scene.pull("odd", Lies { manifest_type: Some("text/html"), ..Lies::default() });
    scene.refused(&output, ENGINE_FAILED, &["text/html"]);
}

#[test]
fn userns_a_manifest_that_is_both_manifest_and_index() {
    needs!(require::userns());
    let scene = Scene::new();
    let image = small();
    scene.layout.add("plain", &image);
    let mut both = image.manifest();
    both["manifests"] = serde_json::json!([]);
    scene.layout.add_manifest("both", image::MANIFEST, both.to_string().as_bytes());
    let output = scene.pull("both", Lies::default());
    scene.refused(&output, ENGINE_FAILED, &["manifest"]);
}

#[test]
fn userns_a_layer_that_climbs_out() {
    needs!(require::userns());
    let scene = Scene::new();
    let canary = scene.sandbox.path("canary");
    fs::create_dir(&canary).unwrap();
    let outside = canary.to_str().unwrap();
    let climb = format!("../../../../../../../../../../..{outside}/climbed");
    let hostile = Layer::new(&[
        tar::symlink("way-out", outside),
        tar::file("way-out/through-a-link", "out"),
        tar::file(&climb, "out"),
    ]);
    scene.layout.add("climb", &Image::new(vec![hostile]));
    let output = scene.pull("climb", Lies::default());
    assert_eq!(fs::read_dir(&canary).unwrap().count(), 0, "nothing got out");
    scene.refused(&output, ENGINE_FAILED, &["climbed"]);
}

#[test]
fn userns_a_port_where_nobody_listens() {
    needs!(require::userns());
    let scene = Scene::new();
    let address = free_address().to_string();
    scene.sandbox.map_registries(&[], &address);
    let output = scene.sandbox.conex(["pull", &format!("{address}/app:latest")]).run();
    scene.refused(&output, ENGINE_FAILED, &[&address, "refused"]);
}

#[test]
fn userns_an_image_that_is_not_there() {
    needs!(require::userns());
    let scene = Scene::new();
    let liar = Liar::serve(&scene.layout, Lies::default());
    scene.sandbox.map_registries(&[], &liar.address);
    let name = format!("{}/nothing:here", liar.address);
    let output = scene.sandbox.conex(["run", "--rm", &name]).run();
    scene.refused(&output, ENGINE_FAILED, &[&name]);
}

#[test]
fn an_unknown_flag() {
    let scene = Scene::new();
    let output = scene.sandbox.conex(["run", "--no-such-flag", "image"]).run();
    one_error(&output, ENGINE_FAILED, &["--no-such-flag"]);
    let output = scene.sandbox.runtime(["run", "--no-such-flag", "id"]).run();
    one_error(&output, 1, &["no-such-flag"]);
    let output = scene.sandbox.runtime(["--no-such-flag", "list"]).run();
    one_error(&output, 1, &["no-such-flag"]);
    let output = scene.sandbox.runtime(["no-such-verb"]).run();
    one_error(&output, 3, &["no-such-verb"]);
    let skopeo = scene.sandbox.programs().join("skopeo");
    let output = scene.sandbox.command(skopeo).args(["copy", "--no-such-flag", "a", "b"]).run();
    one_error(&output, 1, &["--no-such-flag"]);
    let umoci = scene.sandbox.programs().join("umoci");
    let output = scene.sandbox.command(umoci).args(["unpack", "--no-such-flag"]).run();
    one_error(&output, 1, &["no-such-flag"]);
    scene.sandbox.finish();
}

#[test]
fn userns_a_configuration_with_three_mistakes() {
    needs!(require::userns());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.path("bundle"), &["true"]));
    bundle.change(|config| {
        config["process"]["cwd"] = "not/absolute".into();
        config["process"]["rlimits"] = serde_json::json!([{ "type": "RLIMIT_NONE", "soft": 1, "hard": 1 }]);
        config["linux"]["namespaces"][1]["type"] = "pid".into();
    });
    let run = |bundle: &Bundle| {
        let id = sandbox.id("mistaken");
        sandbox.runtime(["run", "--bundle", bundle.path.to_str().unwrap(), &id]).run()
    };
    one_error(&run(&bundle), 1, &["/process/cwd", "/process/rlimits/0/type", "/linux/namespaces/1/type"]);
    // What is not even of the right type is found before what breaks a rule, and also all at once.
    bundle.change(|config| {
        config["linux"]["namespaces"][0]["type"] = "pidd".into();
        config["mounts"][1]["destination"] = 7.into();
        config["root"]["readonly"] = "yes".into();
    });
    one_error(&run(&bundle), 1, &["/linux/namespaces/0/type", "/mounts/1/destination", "/root/readonly"]);
    sandbox.finish();
}

#[test]
fn userns_a_configuration_that_asks_for_what_is_not_to_be_had() {
    needs!(require::userns());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["true"]));
    bundle.change(|config| {
        config["mounts"][5]["destination"] = "/proc/sys".into();
        config["mounts"][4]["destination"] = "/../".into();
        // A user namespace, but the host's mounts.
        let maps = serde_json::json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
        config["linux"] = serde_json::json!({
            "namespaces": [{ "type": "pid" }, { "type": "user" }], "uidMappings": maps, "gidMappings": maps,
        });
        config.as_object_mut().unwrap().remove("hostname");
    });
    let said = ["/mounts/4/destination", "/mounts/5/destination", "/linux/namespaces"];
    for verb in ["run", "plan"] {
        let output = sandbox.runtime([verb, &sandbox.id("c")]).run();
        one_error(&output, 1, &said);
        let placed = output.stderr.matches("config.json:").count();
        assert!(placed >= 3, "each with its line and column\n{output}");
    }
    let linted = sandbox.runtime(["lint"]).run().exits(1).stdout;
    assert!(said.iter().all(|pointer| linted.contains(pointer)), "{linted}");
    sandbox.finish();
}

#[test]
fn userns_a_bundle_that_is_not_there() {
    needs!(require::userns());
    let sandbox = Sandbox::new();
    let output = sandbox.runtime(["run", "--bundle", "/no/such/bundle", &sandbox.id("none")]).run();
    one_error(&output, 1, &["/no/such/bundle"]);
    let empty = sandbox.path("empty");
    fs::create_dir(&empty).unwrap();
    let output = sandbox.runtime(["run", "--bundle", empty.to_str().unwrap(), &sandbox.id("empty")]).run();
    one_error(&output, 1, &["config.json"]);
    sandbox.finish();
}

#[test]
fn root_programs_that_cannot_run() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let layout = sandbox.layout("busybox");
    layout.add("latest", &needs!(busybox::image()));
    sandbox.conex(["copy", "oci:busybox:latest", "store:busybox:latest"]).run().success();
    let run =
        |words: &[&str]| sandbox.conex(["run", "--rm", "--network", "none", "busybox"]).args(words).run();
    one_error(&run(&["no-such-program"]), 127, &["no-such-program"]);
    one_error(&run(&["/etc/motd"]), 126, &["/etc/motd"]);
    run(&["sh", "-c", "exit 7"]).exits(7);
    let missing = sandbox.conex(["exec", "no-such-container", "true"]).run();
    one_error(&missing, ENGINE_FAILED, &["no-such-container"]);
    let listed = sandbox.conex(["ps", "--all", "--quiet"]).run().success();
    assert_eq!(listed.stdout, "");
    sandbox.conex(["system", "fsck"]).run().success();
    sandbox.finish();
}

#[test]
fn a_port_that_is_taken() {
    let sandbox = Sandbox::new();
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = sandbox.conex(["registry", "serve", "--listen", &address]).run();
    one_error(&output, ENGINE_FAILED, &[&address]);
    sandbox.finish();
}
