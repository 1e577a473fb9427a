// SPDX-License-Identifier: Apache-2.0
//! docs/artifacts.md, typed; and what others see of it.

use conex_testkit::server::Registry;
use conex_testkit::{Image, Layer, Run, Sandbox, needs, require, tar};
use serde_json::Value;

/// The lines of the page's `sh` blocks.
fn lines() -> String {
    let page = include_str!("../../docs/artifacts.md");
    let blocks = page.split("```sh\n").skip(1).filter_map(|block| block.split("```").next());
    let script = format!("set -eux\n{}", blocks.collect::<String>());
    assert!(script.lines().count() > 15, "the page shows fewer commands than it did:\n{script}");
    script
}

/// Types the page, and gives the sandbox that it was typed in.
fn typed(sandbox: &Sandbox, registry: &Registry) {
    sandbox.map_registries(&["registry.example"], &registry.address);
    let layout = sandbox.layout("layout");
    layout.add("app", &Image::new(vec![Layer::new(&[tar::file("x", "y")])]));
    sandbox.conex(["copy", "oci:layout:app", "docker://registry.example/app:1"]).run().success();
    sandbox.programs();
    sandbox.command("sh").args(["-c", &lines()]).run().success();
}

#[test]
fn the_page_works_with_a_registry_that_knows_referrers() {
    let sandbox = Sandbox::new();
    let registry = Registry::conex(&sandbox);
    typed(&sandbox, &registry);
    let image = format!("{}/app:1", registry.address);
    let found = sandbox.conex(["artifact", "discover", "--format", "json", &image]).run().success();
    let found: Value = serde_json::from_str(&found.stdout).expect("JSON");
    assert_eq!(found["referrers"][0]["artifactType"], "application/spdx+json");
    let sbom = found["referrers"][0]["reference"].as_str().expect("a reference");
    // A signature on the SBOM: one step further down the tree.
    std::fs::write(sandbox.work().join("signature"), "signed").expect("write");
    sandbox
        .conex(["artifact", "attach", "--artifact-type", "application/x-signature", sbom, "signature"])
        .run()
        .success();
    let tree = sandbox.conex(["artifact", "discover", &image]).run().success().stdout;
    let place = |word: &str| tree.find(word).unwrap_or_else(|| panic!("{word}: {tree}"));
    assert!(place("application/spdx+json") < place("application/x-signature"), "{tree}");
    let filtered = ["artifact", "discover", "--artifact-type", "application/x-signature", &image];
    assert!(!sandbox.conex(filtered).run().success().stdout.contains("spdx"), "nothing else");
    let copied = format!("{}/third/app:1", registry.address);
    sandbox.conex(["artifact", "copy", &image, &copied]).run().success();
    let tree = sandbox.conex(["artifact", "discover", &copied]).run().success().stdout;
    assert!(tree.contains("application/x-signature"), "referrers of referrers go along: {tree}");
    drop(registry);
    sandbox.finish();
}

#[test]
fn the_page_works_with_a_registry_that_does_not() {
    let sandbox = Sandbox::new();
    let registry = needs!(Registry::debian(&sandbox));
    typed(&sandbox, &registry);
    let tags = sandbox.conex(["list-tags", &format!("docker://{}/app", registry.address)]).run().success();
    assert!(tags.stdout.contains("sha256-"), "the list is kept under a tag: {tags}");
    drop(registry);
    sandbox.finish();
}

#[test]
fn others_read_what_was_pushed() {
    needs!(require::program("skopeo"));
    let sandbox = Sandbox::new();
    let registry = Registry::conex(&sandbox);
    std::fs::write(sandbox.work().join("notes"), "hello").expect("write");
    let name = format!("{}/notes:1", registry.address);
    let pushed =
        sandbox.conex(["artifact", "push", &name, "notes:text/plain", "-a", "by=me"]).run().success();
    let raw = ["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")];
    let raw = sandbox.command("skopeo").args(raw).run().success().stdout;
    let manifest: Value = serde_json::from_str(&raw).expect("JSON");
    assert_eq!(manifest["layers"][0]["annotations"]["org.opencontainers.image.title"], "notes");
    assert_eq!(
        (&manifest["layers"][0]["mediaType"], &manifest["annotations"]["by"]),
        (&"text/plain".into(), &"me".into())
    );
    std::fs::write(sandbox.work().join("raw"), &raw).expect("write");
    let digest = sandbox.command("skopeo").args(["manifest-digest", "raw"]).run().success();
    assert_eq!(digest.stdout.trim(), pushed.stdout.trim());
    let copied =
        ["--insecure-policy", "copy", "--src-tls-verify=false", &format!("docker://{name}"), "oci:theirs:1"];
    sandbox.command("skopeo").args(copied).run().success();
    sandbox.conex(["artifact", "pull", "oci:theirs:1", "-o", "out"]).run().success();
    assert_eq!(std::fs::read(sandbox.work().join("out/notes")).expect("pulled"), b"hello");
    sandbox.conex(["artifact", "pull", "oci:theirs:1", "-k", "-o", "out"]).run().fails().says("notes");
    drop(registry);
    sandbox.finish();
}

#[test]
fn mistakes_are_told() {
    let sandbox = Sandbox::new();
    let name = "127.0.0.1:1/notes:1";
    for (words, what) in [
        (vec!["push", name, "missing"], "missing"),
        (vec!["push", name, "/etc/hostname"], "lead down"),
        (vec!["push", name, "-a", "x", "."], "KEY=VALUE"),
        (vec!["push", "UPPER", "x"], "UPPER"),
        (vec!["attach", name, "x"], "--artifact-type"),
        (vec!["pull", name], "127.0.0.1:1"),
    ] {
        let words = [vec!["artifact"], words].concat();
        sandbox.conex(&words).run().fails().says(what);
    }
    sandbox.finish();
}
