// SPDX-License-Identifier: Apache-2.0
//! `image sign` and `image verify`; keys and bundles of others.

use std::fs;

use conex_testkit::{Run, needs};
use serde_json::{Value, json};

use crate::scene::{Scene, at, base64, decode, dsse};

/// `conex image sign` and `verify`, with every kind of key, in both forms.
#[test]
fn images_are_signed_and_verified() {
    let scene = needs!(Scene::new(&["ec", "rsa", "ed", "other"]));
    let one = at("1");
    let verify = |key: &str| scene.conex(&["image", "verify", "--key", &format!("{key}.pub"), &one]);
    verify("ec").exits(125).says("has no signatures");
    for key in ["ec", "rsa", "ed"] {
        for scheme in ["tag", "bundle"] {
            let pem = format!("{key}.pem");
            scene.conex(&["image", "sign", "--key", &pem, "--scheme", scheme, &one]).success();
        }
        let said = verify(key).success().stdout;
        assert_eq!(said.lines().count(), 2, "{said}");
        assert!(
            said.contains(&format!("{} is signed as \"registry.example/team/app:1\" (tag)", scene.digest)),
            "{said}"
        );
        assert!(said.contains("(bundle)"), "{said}");
        assert!(
            scene
                .lets_through(
                    &json!({"type": "sigstoreSigned", "keyPath": scene.path(&format!("{key}.pub"))}),
                    &one
                )
                .0
        );
    }
    verify("other").exits(125).says("none of the keys made it");
    scene.conex(&["image", "verify", "--key", "other.pub", "--key", "rsa.pub", &one]).success();
    scene.conex(&["image", "verify", "--key", "ec.pub", &at("2")]).exits(125).says("has no signatures");

    // What a bundle signs is DSSE around a statement: openssl verifies it.
    let referrers = at(&scene.digest.replace(':', "-"));
    let index: Value =
        serde_json::from_str(&scene.ours(&["inspect", "--raw", &referrers]).success().stdout).unwrap();
    for (entry, key) in index["manifests"].as_array().unwrap().iter().zip(["ec", "rsa", "ed"]) {
        assert_eq!(entry["artifactType"], "application/vnd.dev.sigstore.bundle.v0.3+json");
        let digest = entry["digest"].as_str().unwrap();
        let place = format!("docker://registry.example/team/app@{digest}");
        scene.ours(&["copy", "-q", &place, "dir:bundle"]).success();
        let read = |name: &str| -> Value {
            serde_json::from_slice(&fs::read(scene.path(&format!("bundle/{name}"))).unwrap()).unwrap()
        };
        let manifest = read("manifest.json");
        assert_eq!(manifest["subject"]["digest"], scene.digest);
        let bundle = read(manifest["layers"][0]["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap());
        let envelope = &bundle["dsseEnvelope"];
        let payload = decode(envelope["payload"].as_str().unwrap());
        let signature = decode(envelope["signatures"][0]["sig"].as_str().unwrap());
        assert!(scene.verifies(key, &dsse(&payload), &signature), "{key}: {bundle}");
        let statement: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(
            format!("sha256:{}", statement["subject"][0]["digest"]["sha256"].as_str().unwrap()),
            scene.digest
        );
    }

    scene.finish();
}

/// The other way round: openssl's signatures in the form of cosign's bundles; and cosign's words for keys.
#[test]
fn others_bundles_and_keys_are_understood() {
    let scene = needs!(Scene::new(&["ec", "ed"]));
    let one = at("1");
    let two = scene.ours(&["inspect", "--format", "{{.Digest}}", &at("2")]).success().stdout;
    let two = two.trim();
    // The list of referrers grows: the good one comes last.
    for (digest, predicate, good) in [
        (two, "https://slsa.dev/provenance/v1", false),
        (scene.digest.as_str(), "https://sigstore.dev/cosign/sign/v1", false),
        (two, "https://sigstore.dev/cosign/sign/v1", true),
    ] {
        let statement = json!({"_type": "https://in-toto.io/Statement/v1", "subject": [{"digest": {"sha256": digest.strip_prefix("sha256:")}}],
            "predicateType": predicate, "predicate": {}}).to_string();
        let signature = scene.sign("ed", &dsse(statement.as_bytes()));
        scene.refer(two, &json!({"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": "any"}, "tlogEntries": []},
            "dsseEnvelope": {"payload": base64(statement.as_bytes()), "payloadType": "application/vnd.in-toto+json",
                "signatures": [{"sig": base64(&signature), "keyid": ""}]}}));
        let verified = scene.conex(&["image", "verify", "--key", "ed.pub", &at("2")]);
        match good {
            true => drop(verified.success().prints(&format!("{two} is signed (bundle)"))),
            false => drop(verified.exits(125)),
        }
    }

    // cosign's words for keys, and its variable for the passphrase.
    let mut command = scene.sandbox.conex(["image", "generate-key-pair"]);
    command.current_dir(scene.sandbox.work()).env("COSIGN_PASSWORD", "").run().success();
    let mut command = scene.sandbox.conex(["image", "sign", "--key", "cosign.key", &one]);
    command.current_dir(scene.sandbox.work()).env("COSIGN_PASSWORD", "").run().success();
    scene.conex(&["image", "verify", "--key", "cosign.pub", &one]).success();
    scene
        .conex(&["image", "sign", "--key", "cosign.key", &one])
        .exits(125)
        .says("no terminal to ask for its passphrase");
    scene
        .conex(&["image", "sign", "--key", "ec.pub", &one])
        .exits(125)
        .says("a PUBLIC KEY, which does not sign images");
    scene
        .conex(&["image", "sign", "--key", "ec.pem", "oci:layout:one"])
        .exits(125)
        .says("only images on a registry");
    scene.finish();
}
