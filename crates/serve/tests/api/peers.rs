// SPDX-License-Identifier: Apache-2.0
//! Clients that are not of this project.

use std::path::Path;
use std::process::Command;

use conex_testkit::require::{program, root};
use conex_testkit::run::Run;
use conex_testkit::tar::file;
use conex_testkit::{Image, Layer, Sandbox, needs};

use crate::http::Registry;

fn image() -> Image {
    let noise: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    Image::new(vec![Layer::new(&[file("noise", noise)]), Layer::new(&[file("x", "y")])])
}

/// All blobs of a layout, by name.
fn blobs(layout: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(layout.join("blobs/sha256"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn skopeo_copies_in_lists_copies_out_and_deletes() {
    needs!(program("skopeo"));
    let sandbox = Sandbox::new();
    let registry = Registry::start(&sandbox.path("registry"));
    let layout = sandbox.layout("layout");
    layout.add("v1", &image());
    let (oci, back) = (format!("oci:{}:v1", layout.path.display()), sandbox.path("back"));
    let docker = format!("docker://{}/team/app:v1", registry.address);
    let skopeo =
        |args: &[&str]| sandbox.command("skopeo").arg("--insecure-policy").args(args).run().success();
    skopeo(&["copy", "--dest-tls-verify=false", &oci, &docker]);
    let listed =
        skopeo(&["list-tags", "--tls-verify=false", &format!("docker://{}/team/app", registry.address)]);
    assert!(listed.stdout.contains("\"v1\""), "{listed}");
    skopeo(&["copy", "--src-tls-verify=false", &docker, &format!("oci:{}:v1", back.display())]);
    assert_eq!(blobs(&back), blobs(&layout.path), "the same bytes under the same names");
    let other = format!("docker://{}/other/app:v2", registry.address);
    skopeo(&["copy", "--src-tls-verify=false", "--dest-tls-verify=false", &docker, &other]);
    skopeo(&["delete", "--tls-verify=false", &other]);
    assert_eq!(registry.get("/v2/other/app/manifests/v2").status, 404);
    assert_eq!(registry.get("/v2/team/app/manifests/v1").status, 200);
}

#[test]
fn root_podman_pushes_and_pulls() {
    needs!(root());
    needs!(program("podman"));
    needs!(program("skopeo"));
    let sandbox = Sandbox::new();
    let registry = Registry::start(&sandbox.path("registry"));
    let layout = sandbox.layout("layout");
    layout.add("v1", &image());
    let podman = |args: &[&str]| {
        let mut command: Command = sandbox.command("podman");
        command.arg("--root").arg(sandbox.path("podman")).arg("--runroot").arg(sandbox.path("podman-run"));
        command.args(["--storage-driver", "vfs", "--events-backend", "none"]).args(args).run().success()
    };
    let name = |tag: &str| format!("{}/team/app:{tag}", registry.address);
    let oci = format!("oci:{}:v1", layout.path.display());
    let filled =
        ["--insecure-policy", "copy", "--dest-tls-verify=false", &oci, &format!("docker://{}", name("v1"))];
    sandbox.command("skopeo").args(filled).run().success();
    let first = podman(&["pull", "-q", "--tls-verify=false", &name("v1")]);
    podman(&["push", "-q", "--tls-verify=false", &name("v1"), &format!("docker://{}", name("v2"))]);
    podman(&["rmi", "-a", "-f"]);
    let second = podman(&["pull", "-q", "--tls-verify=false", &name("v2")]);
    assert_eq!(first.stdout.trim(), second.stdout.trim(), "the same image id");
}
