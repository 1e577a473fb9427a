// SPDX-License-Identifier: Apache-2.0
//! Signatures go along with copies, or the copy is refused.

use std::fs;

use conex_testkit::{Image, Layer, needs, tar};
use serde_json::{Value, json};

use crate::scene::{SIGNATURE, Scene, at, decode};

/// Copies sign, keep what is signed, and refuse to lose it.
#[test]
fn copies_carry_signatures() {
    let scene = needs!(Scene::new(&["ec", "ed"]));
    fs::write(scene.path("pass"), "a passphrase\n").unwrap();
    scene
        .ours(&["generate-sigstore-key", "--output-prefix", "own", "--passphrase-file", "pass"])
        .success()
        .prints("Key written to");
    scene
        .ours(&["generate-sigstore-key", "--output-prefix", "own", "--passphrase-file", "pass"])
        .exits(1)
        .says("Refusing to overwrite existing \"own.private\"");
    let sealed = fs::read_to_string(scene.path("own.private")).unwrap();
    assert!(sealed.starts_with("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----"), "{sealed}");
    let sign = ["copy", "-q", "--sign-by-sigstore-private-key"];
    let signed_as = at("signed");
    scene
        .ours(
            &[
                &sign[..],
                &["own.private", "--sign-passphrase-file", "passphrase", "oci:layout:one", &signed_as],
            ]
            .concat(),
        )
        .exits(1)
        .says("passphrase");
    fs::write(scene.path("wrong"), "another").unwrap();
    scene
        .ours(
            &[&sign[..], &["own.private", "--sign-passphrase-file", "wrong", "oci:layout:one", &signed_as]]
                .concat(),
        )
        .exits(1)
        .says("does not open the private key");
    scene.ours(&["inspect", &signed_as]).exits(2);
    scene
        .ours(
            &[&sign[..], &["own.private", "--sign-passphrase-file", "pass", "oci:layout:one", &signed_as]]
                .concat(),
        )
        .success();
    let own = json!({"type": "sigstoreSigned", "keyPath": scene.path("own.pub"), "signedIdentity": {"type": "matchExact"}});
    assert!(scene.lets_through(&own, &signed_as).0);
    assert!(!scene.lets_through(&own, &at("1")).0, "the same image, signed under another tag");

    // The claim is what openssl finds signed.
    scene.ours(&["copy", "-q", &signed_as, "dir:kept"]).success();
    let [kept] = &scene.signatures("kept")[..] else { panic!("one signature") };
    let payload = decode(kept["payload"].as_str().unwrap());
    assert!(scene.verifies("own", &payload, &decode(kept["annotations"][SIGNATURE].as_str().unwrap())));
    let claim: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(claim["critical"]["identity"]["docker-reference"], "registry.example/team/app:signed");
    assert_eq!(claim["critical"]["image"]["docker-manifest-digest"], scene.digest);

    // A second signature joins the first, on the registry and in a directory; a third that is there already is not added.
    scene.ours(&[&sign[..], &["ed.pem", "dir:kept", &signed_as]].concat()).success();
    scene.ours(&["copy", "-q", &signed_as, &at("again")]).success();
    for (place, directory) in [(&signed_as, "both"), (&at("again"), "moved")] {
        scene.ours(&["copy", "-q", place, &format!("dir:{directory}")]).success();
        assert_eq!(scene.signatures(directory).len(), 2, "{directory}");
    }
    let requirement = json!({"type": "sigstoreSigned", "keyPath": scene.path("ed.pub")});
    assert!(scene.lets_through(&requirement, &signed_as).0);

    scene.finish();
}

/// What was synced before it was signed gets its signature with the next sync.
#[test]
fn sync_takes_later_signatures_along() {
    let scene = needs!(Scene::new(&["ec"]));
    let synced = "docker://registry.example/mirror/app:1";
    let sync = [
        "sync",
        "--src",
        "docker",
        "--dest",
        "docker",
        "registry.example/team/app:1",
        "registry.example/mirror",
    ];
    let signatures = |directory: &str| {
        scene.ours(&["copy", "-q", synced, &format!("dir:{directory}")]).success();
        scene.signatures(directory).len()
    };
    scene.ours(&sync).success();
    assert_eq!(signatures("unsigned"), 0);
    scene.attach(&[scene.attached("ec", "registry.example/team/app:1")]);
    scene.ours(&sync).success();
    assert_eq!(signatures("signed"), 1);
    scene.finish();
}

#[test]
fn what_would_lose_signatures_is_refused() {
    let scene = needs!(Scene::new(&["ec", "ed"]));
    let (sign, signed_as) = (["copy", "-q", "--sign-by-sigstore-private-key"], at("signed"));
    scene.ours(&[&sign[..], &["ed.pem", "oci:layout:one", &signed_as]].concat()).success();
    for destination in ["oci:elsewhere:1", "oci-archive:a.tar", "docker-archive:b.tar", "store:kept"] {
        scene
            .ours(&["copy", "-q", &signed_as, destination])
            .exits(1)
            .says("Can not copy signatures to")
            .says("--remove-signatures");
        assert!(!scene.sandbox.work().join("a.tar").exists());
    }
    scene
        .ours(&["copy", "-q", "--format", "v2s2", &signed_as, &at("converted")])
        .exits(1)
        .says("Would invalidate signatures");
    scene.ours(&["copy", "-q", "--remove-signatures", &signed_as, "oci:elsewhere:1"]).success();
    scene
        .ours(&["copy", "-q", "--remove-signatures", "--format", "v2s2", &signed_as, &at("converted")])
        .success();
    scene
        .ours(&[&sign[..], &["ed.pem", "oci:layout:one", "dir:unnamed"]].concat())
        .exits(1)
        .says("Cannot determine canonical Docker reference for destination dir:unnamed");
    scene
        .ours(
            &[&sign[..], &["ed.pem", "--sign-identity", "q.io/a:1", "oci:layout:one", "dir:named"]].concat(),
        )
        .success();
    assert_eq!(scene.signatures("named").len(), 1);

    // An index and each image in it.
    let image = |name| Image::new(vec![Layer::new(&[tar::file("content", name)])]);
    scene.sandbox.layout("many").add_index("all", &[("amd64", image("a")), ("arm64", image("b"))]);
    scene.ours(&[&sign[..], &["ec.pem", "--all", "oci:many:all", &at("many")]].concat()).success();
    scene.ours(&["copy", "-q", "--all", &at("many"), "dir:many-flat"]).success();
    let files = fs::read_dir(scene.path("many-flat")).unwrap().flatten();
    let signatures = files.filter(|file| file.file_name().to_string_lossy().ends_with("signature-1")).count();
    assert_eq!(signatures, 3);
    let by_ec = json!({"type": "sigstoreSigned", "keyPath": scene.path("ec.pub")});
    assert!(scene.lets_through(&by_ec, &at("many")).0);
    assert!(
        scene
            .lets_through(
                &json!({"type": "sigstoreSigned", "keyPath": scene.path("ec.pub"),
        "signedIdentity": {"type": "exactReference", "dockerReference": "registry.example/team/app:many"}}),
                "dir:many-flat"
            )
            .0
    );

    scene.attachments(false);
    scene
        .ours(&[&sign[..], &["ec.pem", "oci:layout:one", &at("off")]].concat())
        .exits(1)
        .says("writing sigstore attachments is disabled by configuration");
    scene.finish();
}
