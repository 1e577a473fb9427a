// SPDX-License-Identifier: Apache-2.0
//! sigstore's signatures in policies. Keys and signatures are openssl's, laid out as cosign's specification says; a skopeo that
//! knows them (1.13 on; Debian's has it switched off) judges each decision, too, where CONEX_TEST_SKOPEO names one.
#![allow(clippy::unwrap_used, reason = "stories are told outside of the #[test] functions, too")]

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use conex_testkit::server::Registry;
use conex_testkit::{Image, Layer, Output, Run, Sandbox, needs, require, tar};
use serde_json::{Value, json};

/// Where the signature of a payload is.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

struct Scene {
    sandbox: Sandbox,
    registry: Registry,
    openssl: PathBuf,
    judge: Option<PathBuf>,
    /// Of the image `one`.
    digest: String,
}

impl Scene {
    /// The images `one` and `two` in a layout and as `team/app:1` and `team/app:2` of `registry.example`, and keys.
    fn new(keys: &[&str]) -> require::Requirement<Self> {
        let (openssl, sandbox) = (require::program("openssl")?, Sandbox::new());
        let registry = Registry::debian(&sandbox)?;
        sandbox.map_registries(&["registry.example"], &registry.address);
        let layout = sandbox.layout("layout");
        let image = |name| Image::new(vec![Layer::new(&[tar::file("content", name)])]);
        let digest = layout.add("one", &image("one"));
        layout.add("two", &image("two"));
        let judge = std::env::var_os("CONEX_TEST_SKOPEO").map(PathBuf::from);
        let scene = Self { sandbox, registry, openssl, judge, digest };
        for name in keys {
            let algorithm: &[&str] = match *name {
                "rsa" => &["RSA"],
                "ed" => &["ed25519"],
                "p384" => &["EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
                _ => &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            };
            let (private, public) = (format!("{name}.pem"), format!("{name}.pub"));
            scene.openssl(&[&["genpkey", "-out", &private, "-algorithm"], algorithm].concat());
            scene.openssl(&["pkey", "-in", &private, "-pubout", "-out", &public]);
        }
        scene.attachments(true);
        for (name, tag) in [("oci:layout:one", "1"), ("oci:layout:one", "moved"), ("oci:layout:two", "2")] {
            scene.ours(&["copy", "-q", name, &at(tag)]).success();
        }
        Ok(scene)
    }

    fn finish(self) {
        drop(self.registry);
        self.sandbox.finish();
    }

    fn run(&self, program: &Path, words: &[&str]) -> Output {
        let mut command = self.sandbox.command(program);
        command.env("CONEX_ROOT", self.sandbox.store()).current_dir(self.sandbox.work()).args(words).run()
    }

    fn openssl(&self, words: &[&str]) {
        self.run(&self.openssl, words).success();
    }

    fn skopeo(&self, program: &Path, words: &[&str]) -> Output {
        let d = self.sandbox.path("registries.d").display().to_string();
        self.run(program, &[&["--registries.d", d.as_str()], words].concat())
    }

    fn ours(&self, words: &[&str]) -> Output {
        self.skopeo(&self.sandbox.programs().join("skopeo"), words)
    }

    /// registries.d: a lookaside in the sandbox, and whether registries hold attachments.
    fn attachments(&self, used: bool) {
        let directory = self.sandbox.path("registries.d");
        fs::create_dir_all(&directory).unwrap();
        let lookaside = self.sandbox.path("lookaside");
        let text = format!(
            "default-docker:\n  lookaside: file://{}\n  use-sigstore-attachments: {used}\n",
            lookaside.display()
        );
        fs::write(directory.join("default.yaml"), text).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.sandbox.work().join(name).display().to_string()
    }

    /// The claim as cosign and as skopeo write it: that `one` is called so.
    fn claim(&self, name: &str) -> Vec<u8> {
        format!(
            "{{\"critical\":{{\"identity\":{{\"docker-reference\":\"{name}\"}},\"image\":{{\"docker-manifest-digest\":\"{}\"}},\
             \"type\":\"cosign container image signature\"}},\"optional\":null}}",
            self.digest
        )
        .into_bytes()
    }

    /// What openssl makes of it with a key.
    fn sign(&self, key: &str, payload: &[u8]) -> Vec<u8> {
        fs::write(self.path("payload"), payload).unwrap();
        let pem = format!("{key}.pem");
        match key {
            "ed" => self.openssl(&[
                "pkeyutl",
                "-sign",
                "-rawin",
                "-inkey",
                &pem,
                "-in",
                "payload",
                "-out",
                "signature",
            ]),
            _ => self.openssl(&["dgst", "-sha256", "-sign", &pem, "-out", "signature", "payload"]),
        }
        fs::read(self.path("signature")).unwrap()
    }

    /// A signature as a layer of what is attached, and as it is in a file.
    fn attached(&self, key: &str, name: &str) -> Value {
        let payload = self.claim(name);
        let signature = self.sign(key, &payload);
        json!({"mimeType": PAYLOAD, "payload": base64(&payload), "annotations": {SIGNATURE: base64(&signature)}})
    }

    /// Attaches signatures to `one` as cosign does.
    fn attach(&self, signatures: &[Value]) {
        let layout = self.sandbox.layout("attached");
        let mut layers = Vec::new();
        for signature in signatures {
            let payload = decode(signature["payload"].as_str().unwrap());
            layers.push(json!({"mediaType": signature["mimeType"], "digest": layout.blob(&payload),
                "size": payload.len(), "annotations": signature["annotations"]}));
        }
        let diff_ids: Vec<&Value> = layers.iter().map(|layer| &layer["digest"]).collect();
        let config = json!({"architecture": "", "os": "", "rootfs": {"type": "layers", "diff_ids": diff_ids}, "config": {}}).to_string();
        let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": layout.blob(config.as_bytes()), "size": config.len()});
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest =
            json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers});
        layout.add_manifest("signatures", media_type, manifest.to_string().as_bytes());
        let place = at(&format!("{}.sig", self.digest.replace(':', "-")));
        self.ours(&["copy", "-q", "oci:attached:signatures", &place]).success();
        fs::remove_dir_all(self.sandbox.work().join("attached")).unwrap();
    }

    /// Whether an image is let through, which the judge agrees about; and what conex said.
    fn lets_through(&self, requirement: &Value, source: &str) -> (bool, String) {
        let policy = json!({"default": [requirement]});
        fs::write(self.path("policy.json"), policy.to_string()).unwrap();
        let words = ["--policy", "policy.json", "copy", "-q", "--remove-signatures", source, "dir:out"];
        let _ = fs::remove_dir_all(self.path("out"));
        if let Some(judge) = &self.judge {
            let theirs = self.skopeo(judge, &words);
            let _ = fs::remove_dir_all(self.path("out"));
            let ours = self.ours(&words);
            assert_eq!(ours.code(), theirs.code(), "{policy} {source}\n{ours}\n{theirs}");
            let _ = fs::remove_dir_all(self.path("out"));
        }
        let ours = self.ours(&words);
        if ours.code() != 0 {
            assert!(!self.sandbox.work().join("out/manifest.json").exists(), "nothing was taken");
        }
        (ours.code() == 0, ours.stderr)
    }
}

fn at(tag: &str) -> String {
    format!("docker://registry.example/team/app:{tag}")
}

fn signed(key: &str, identity: &Value) -> Value {
    json!({"type": "sigstoreSigned", "keyPath": key, "signedIdentity": identity})
}

fn identity(kind: &str) -> Value {
    json!({ "type": kind })
}

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
        (signed(&bad, &exact), &one, "no key of the policy made it"),
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

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn decode(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap()
}
