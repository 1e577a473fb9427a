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
        let image = |name| Image::new(vec![Layer::new(&[tar::file("content", name)])]).cmd(&["true"]);
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

impl Scene {
    /// Whether openssl finds the signature good.
    fn verifies(&self, key: &str, content: &[u8], signature: &[u8]) -> bool {
        fs::write(self.path("content"), content).unwrap();
        fs::write(self.path("signature"), signature).unwrap();
        let public = format!("{key}.pub");
        let words: &[&str] = match key {
            "ed" => &[
                "pkeyutl",
                "-verify",
                "-rawin",
                "-pubin",
                "-inkey",
                &public,
                "-in",
                "content",
                "-sigfile",
                "signature",
            ],
            _ => &["dgst", "-sha256", "-verify", &public, "-signature", "signature", "content"],
        };
        self.run(&self.openssl, words).code() == 0
    }

    fn conex(&self, words: &[&str]) -> Output {
        let mut command =
            self.sandbox.conex(["--registries.d", &self.sandbox.path("registries.d").display().to_string()]);
        command.args(words).current_dir(self.sandbox.work()).run()
    }

    /// The signatures that came along to a `dir:`.
    fn signatures(&self, directory: &str) -> Vec<Value> {
        let file = |number: &usize| fs::read(self.path(&format!("{directory}/signature-{number}"))).ok();
        let files = (1..).map_while(|number| file(&number));
        files
            .map(|bytes| serde_json::from_slice(bytes.strip_prefix(b"\0sigstore-json\n").unwrap()).unwrap())
            .collect()
    }
}

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

/// What DSSE signs.
fn dsse(payload: &[u8]) -> Vec<u8> {
    let kind = "application/vnd.in-toto+json";
    [format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).as_bytes(), payload].concat()
}

impl Scene {
    /// Attaches a bundle to an image as cosign 3 does.
    fn refer(&self, digest: &str, bundle: &Value) {
        let layout = self.sandbox.layout("referrer");
        let (bundle, media_type) = (bundle.to_string(), "application/vnd.oci.image.manifest.v1+json");
        let raw = self
            .ours(&["inspect", "--raw", &format!("docker://registry.example/team/app@{digest}")])
            .success()
            .stdout;
        let kind = "application/vnd.dev.sigstore.bundle.v0.3+json";
        let manifest = json!({"schemaVersion": 2, "mediaType": media_type, "artifactType": kind,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": layout.blob(b"{}"), "size": 2},
            "layers": [{"mediaType": kind, "digest": layout.blob(bundle.as_bytes()), "size": bundle.len()}],
            "subject": {"mediaType": media_type, "digest": digest, "size": raw.len()}});
        layout.add_manifest("bundle", media_type, manifest.to_string().as_bytes());
        self.ours(&["copy", "-q", "oci:referrer:bundle", &at("bundle")]).success();
        fs::remove_dir_all(self.sandbox.work().join("referrer")).unwrap();
    }
}

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

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn decode(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap()
}
