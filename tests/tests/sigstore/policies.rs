// SPDX-License-Identifier: Apache-2.0
//! What a policy with sigstoreSigned lets through.

use std::fs;
use std::path::Path;

use conex_testkit::needs;
use serde_json::{Value, json};

use crate::scene::{PAYLOAD, SIGNATURE, Scene, at, base64, identity, signed};

#[test]
fn a_policy_decides_by_key_and_name() {
    let scene = needs!(Scene::new(&["ec", "other"]));
    scene.attach(&[scene.attached("ec", "registry.example/team/app:1")]);
    let (one, two, moved) = (at("1"), at("2"), at("moved"));
    let by_digest = format!("docker://registry.example/team/app@{}", scene.digest);
    let (good, bad) = (scene.path("ec.pub"), scene.path("other.pub"));
    let data = |path: &str| base64(&fs::read(path).unwrap());
    let exact = identity("matchExact");
    let elsewhere = json!({"type": "exactRepository", "dockerRepository": "example.org/other"});
    let here = json!({"type": "exactReference", "dockerReference": "registry.example/team/app:1"});
    let remap =
        json!({"type": "remapIdentity", "prefix": "registry.example/other", "signedPrefix": "x.example"});
    for (requirement, place, through) in [
        (signed(&good, &exact), &one, true),
        (signed(&bad, &exact), &one, false),
        (signed(&good, &exact), &two, false),
        (signed(&good, &exact), &moved, false),
        (signed(&good, &exact), &by_digest, false),
        (signed(&good, &identity("matchRepoDigestOrExact")), &by_digest, true),
        (json!({"type": "sigstoreSigned", "keyPath": good}), &by_digest, true),
        (json!({"type": "sigstoreSigned", "keyPath": good}), &moved, false),
        (signed(&good, &identity("matchRepository")), &moved, true),
        (signed(&good, &here), &moved, true),
        (signed(&good, &elsewhere), &one, false),
        (signed(&good, &remap), &one, true),
        (json!({"type": "sigstoreSigned", "keyData": data(&good), "signedIdentity": exact}), &one, true),
        (json!({"type": "sigstoreSigned", "keyData": data(&bad), "signedIdentity": exact}), &one, false),
        (json!({"type": "sigstoreSigned", "keyPaths": [bad, good], "signedIdentity": exact}), &one, true),
        (json!({"type": "sigstoreSigned", "keyDatas": [data(&bad), data(&good)]}), &one, true),
        (json!({"type": "sigstoreSigned", "keyPaths": [bad, bad]}), &one, false),
        (json!({"type": "sigstoreSigned", "keyPath": good, "rekorPublicKeyPath": good}), &one, false),
        (json!({"type": "sigstoreSigned", "keyPath": "/not/there"}), &one, false),
        (json!({"type": "sigstoreSigned", "keyPath": scene.path("policy.json")}), &one, false),
    ] {
        assert_eq!(scene.lets_through(&requirement, place).0, through, "{requirement} {place}");
    }

    // A refusal says which rule it was, what it asks for, and what was found instead.
    for (requirement, place, words) in [
        (signed(&bad, &exact), &one, "none of the keys made it"),
        (
            signed(&bad, &exact),
            &one,
            &format!("policy.json, default asks for: sigstoreSigned with the key {bad}"),
        ),
        (signed(&good, &exact), &two, "A signature was required, but no signature exists"),
        (
            signed(&good, &exact),
            &moved,
            "Signature for identity \"registry.example/team/app:1\" is not accepted",
        ),
        (
            json!({"type": "sigstoreSigned", "keyPath": good, "rekorPublicKeyPath": good}),
            &one,
            "the policy asks for rekorPublicKeyPath, which conex does not support",
        ),
        (json!({"type": "sigstoreSigned", "keyPath": "/not/there"}), &one, "key /not/there"),
        (
            json!({"type": "sigstoreSigned", "keyPath": scene.path("policy.json")}),
            &one,
            "no public key in PEM",
        ),
    ] {
        let (_, said) = scene.lets_through(&requirement, place);
        assert!(said.contains(words), "{requirement}: {said}");
    }

    // cosign names the repository only; a policy must be content with that.
    scene.attach(&[scene.attached("ec", "registry.example/team/app")]);
    assert!(!scene.lets_through(&signed(&good, &exact), &one).0);
    assert!(!scene.lets_through(&json!({"type": "sigstoreSigned", "keyPath": good}), &by_digest).0);
    assert!(scene.lets_through(&signed(&good, &identity("matchRepository")), &one).0);

    // Nobody looks for them where registries.d does not say so.
    scene.attachments(false);
    assert!(!scene.lets_through(&signed(&good, &identity("matchRepository")), &one).0);
    scene.finish();
}

#[test]
fn keys_of_every_kind_verify() {
    let scene = needs!(Scene::new(&["ec", "p384", "rsa", "ed", "other"]));
    for key in ["ec", "p384", "rsa", "ed"] {
        scene.attach(&[scene.attached(key, "registry.example/team/app:1")]);
        for (other, through) in [(key, true), ("other", false)] {
            let requirement =
                json!({"type": "sigstoreSigned", "keyPath": scene.path(&format!("{other}.pub"))});
            assert_eq!(scene.lets_through(&requirement, &at("1")).0, through, "{key} {other}");
        }
    }
    // One good one among others is enough, whatever else is attached.
    let mut signatures = vec![scene.attached("other", "registry.example/team/app:1"); 2];
    signatures[1]["mimeType"] = "text/plain".into();
    signatures.push(scene.attached("ed", "registry.example/team/app:1"));
    scene.attach(&signatures);
    let by = |key: &str| json!({"type": "sigstoreSigned", "keyPath": scene.path(&format!("{key}.pub"))});
    assert!(scene.lets_through(&by("ed"), &at("1")).0);
    let (through, said) = scene.lets_through(&by("rsa"), &at("1"));
    assert!(!through && said.contains("None of the signatures were accepted"), "{said}");
    scene.finish();
}

/// A signature that is changed in any way counts for nothing.
#[test]
fn a_changed_signature_is_none() {
    let scene = needs!(Scene::new(&["ec"]));
    scene.ours(&["copy", "-q", "--remove-signatures", &at("1"), "dir:flat"]).success();
    let here = json!({"type": "exactReference", "dockerReference": "registry.example/team/app:1"});
    let requirement = signed(&scene.path("ec.pub"), &here);
    let file = scene.sandbox.work().join("flat/signature-1");
    let write = |file: &Path, json: &Value| {
        fs::write(file, [b"\0sigstore-json\n", json.to_string().as_bytes()].concat()).unwrap();
    };
    let good = scene.attached("ec", "registry.example/team/app:1");
    write(&file, &good);
    assert!(scene.lets_through(&requirement, "dir:flat").0);

    let payload = scene.claim("registry.example/team/app:1");
    let other_payload = |from: &str, to: &str| {
        base64(String::from_utf8(payload.clone()).unwrap().replace(from, to).as_bytes())
    };
    type Change<'a> = (&'a str, &'a dyn Fn(&mut Value));
    let changes: [Change<'_>; 7] = [
        ("another name", &|json| json["payload"] = other_payload("team/app", "team/ape").into()),
        ("another digest", &|json| json["payload"] = other_payload("sha256:", "sha512:").into()),
        ("spaces", &|json| json["payload"] = other_payload(",", ", ").into()),
        ("another type", &|json| json["mimeType"] = "application/json".into()),
        ("no signature", &|json| json["annotations"] = json!({})),
        ("an empty one", &|json| json["annotations"][SIGNATURE] = "".into()),
        ("no base64", &|json| json["annotations"][SIGNATURE] = "?".into()),
    ];
    for (what, change) in changes {
        let mut changed = good.clone();
        change(&mut changed);
        write(&file, &changed);
        assert!(!scene.lets_through(&requirement, "dir:flat").0, "{what}");
    }
    for bytes in [&b"\0something\n{}"[..], b"\0sigstore-json\n{", b"\0sigstore-json"] {
        fs::write(&file, bytes).unwrap();
        assert!(!scene.lets_through(&requirement, "dir:flat").0, "{bytes:?}");
    }
    // What is signed must say all that a claim says, and nothing else where it matters.
    let claim = String::from_utf8(payload).unwrap();
    for payload in [
        claim.replace(",\"optional\":null", ""),
        claim.replace("\"optional\":null", "\"optional\":[]"),
        claim.replace("\"optional\":null", "\"optional\":{\"creator\":1}"),
        claim.replace("cosign container image", "atomic container"),
        claim.replace("{\"docker-reference\"", "{\"more\":1,\"docker-reference\""),
        claim.replace("\"optional\":null", "\"optional\":null,\"optional\":null"),
    ] {
        let signature = base64(&scene.sign("ec", payload.as_bytes()));
        write(
            &file,
            &json!({"mimeType": PAYLOAD, "payload": base64(payload.as_bytes()), "annotations": {SIGNATURE: signature}}),
        );
        assert!(!scene.lets_through(&requirement, "dir:flat").0, "{payload}");
    }
    // A good signature of another image does not help.
    write(&file, &good);
    scene.ours(&["copy", "-q", "oci:layout:two", "dir:other"]).success();
    fs::copy(&file, scene.sandbox.work().join("other/signature-1")).unwrap();
    let (_, said) = scene.lets_through(&requirement, "dir:other");
    assert!(said.contains(&format!("Signature for digest {} does not match", scene.digest)), "{said}");
    scene.finish();
}
