// SPDX-License-Identifier: Apache-2.0
//! Every road by which an image comes in.

use std::fs;

use conex_testkit::needs;
use serde_json::{Value, json};

use crate::scene::{Scene, at};

/// The policy stands on every road by which an image comes in, and so does `--require-signed`.
#[test]
fn every_road_is_guarded() {
    let scene = needs!(Scene::new(&["ec", "other"]));
    scene
        .ours(&["copy", "-q", "--sign-by-sigstore-private-key", "ec.pem", "oci:layout:one", &at("1")])
        .success();
    fs::write(scene.path("Containerfile"), "FROM registry.example/team/app:1\nLABEL a=b\n").unwrap();
    let image = "registry.example/team/app:1";
    let one = at("1");
    let roads: [&[&str]; 9] = [
        &["pull", image],
        &["run", "--rm", image, "true"],
        &["create", image],
        &["build", "."],
        &["builder", "from", image],
        &["copy", "-q", "--remove-signatures", &one, "dir:road"],
        &["bundle", "unpack", "--image", &one, "unpacked"],
        &["image", "export", &one, "-o", "exported.tar"],
        &["sync", "--src", "docker", "--dest", "dir", "registry.example/team/app:1", "synced"],
    ];
    let policy = |requirement: &Value| {
        let file = scene.sandbox.path("home/.config/containers/policy.json");
        fs::write(file, json!({"default": [requirement]}).to_string()).unwrap();
    };
    for road in roads {
        policy(&json!({"type": "reject"}));
        scene.conex(road).fails().says("rejected by policy");
        policy(&json!({"type": "sigstoreSigned", "keyPath": scene.path("other.pub")}));
        scene.conex(road).fails().says("asks for: sigstoreSigned with the key").says("other.pub");
        policy(&json!({"type": "insecureAcceptAnything"}));
        scene
            .conex(&[&["--require-signed"], road].concat())
            .fails()
            .says("No signature verification policy found for image");
    }
    assert_eq!(scene.conex(&["images", "-q"]).success().stdout, "", "nothing came in");
    for left in ["road/manifest.json", "unpacked/config.json"] {
        assert!(!scene.sandbox.work().join(left).exists(), "{left}");
    }
    // With a signature that the policy asks for, all is well; what is in the store counts for nothing then.
    policy(&json!({"type": "insecureAcceptAnything"}));
    scene.conex(&["pull", image]).success();
    policy(&json!({"type": "sigstoreSigned", "keyPath": scene.path("other.pub")}));
    scene.conex(&["create", image]).success();
    scene.conex(&["--require-signed", "create", image]).fails().says("other.pub");
    scene.conex(&["--require-signed", "create", "--pull", "never", image]).fails().says("pulled anew");
    scene
        .conex(&["--require-signed", "copy", "-q", &format!("store:{image}"), "dir:road"])
        .fails()
        .says("pull it anew");
    policy(&json!({"type": "sigstoreSigned", "keyPath": scene.path("ec.pub")}));
    scene.conex(&["--require-signed", "create", image]).success();
    for road in [&roads[0], &roads[5]] {
        scene.conex(&[&["--require-signed"], *road].concat()).success();
    }
    scene
        .conex(&["--require-signed", "--insecure-policy", "pull", image])
        .fails()
        .says("cannot be used with");
    let ids = scene.conex(&["ps", "-aq"]).success().stdout;
    for id in ids.lines() {
        scene.conex(&["rm", id]).success();
    }
    scene.finish();
}
