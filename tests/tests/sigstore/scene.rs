// SPDX-License-Identifier: Apache-2.0
//! A registry with two images, keys, and openssl for what cosign would do.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use conex_testkit::server::Registry;
use conex_testkit::{Image, Layer, Output, Run, Sandbox, require, tar};
use serde_json::{Value, json};

/// Where the signature of a payload is.
pub(crate) const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
pub(crate) const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

pub(crate) struct Scene {
    pub(crate) sandbox: Sandbox,
    pub(crate) registry: Registry,
    pub(crate) openssl: PathBuf,
    pub(crate) judge: Option<PathBuf>,
    /// Of the image `one`.
    pub(crate) digest: String,
}

impl Scene {
    /// The images `one` and `two` in a layout and as `team/app:1` and `team/app:2` of `registry.example`, and keys.
    pub(crate) fn new(keys: &[&str]) -> require::Requirement<Self> {
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

    pub(crate) fn finish(self) {
        drop(self.registry);
        self.sandbox.finish();
    }

    pub(crate) fn run(&self, program: &Path, words: &[&str]) -> Output {
        let mut command = self.sandbox.command(program);
        command.env("CONEX_ROOT", self.sandbox.store()).current_dir(self.sandbox.work()).args(words).run()
    }

    pub(crate) fn openssl(&self, words: &[&str]) {
        self.run(&self.openssl, words).success();
    }

    pub(crate) fn skopeo(&self, program: &Path, words: &[&str]) -> Output {
        let d = self.sandbox.path("registries.d").display().to_string();
        self.run(program, &[&["--registries.d", d.as_str()], words].concat())
    }

    pub(crate) fn ours(&self, words: &[&str]) -> Output {
        self.skopeo(&self.sandbox.programs().join("skopeo"), words)
    }

    /// registries.d: a lookaside in the sandbox, and whether registries hold attachments.
    pub(crate) fn attachments(&self, used: bool) {
        let directory = self.sandbox.path("registries.d");
        fs::create_dir_all(&directory).unwrap();
        let lookaside = self.sandbox.path("lookaside");
        let text = format!(
            "default-docker:\n  lookaside: file://{}\n  use-sigstore-attachments: {used}\n",
            lookaside.display()
        );
        fs::write(directory.join("default.yaml"), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.sandbox.work().join(name).display().to_string()
    }

    /// The claim as cosign and as skopeo write it: that `one` is called so.
    pub(crate) fn claim(&self, name: &str) -> Vec<u8> {
        format!(
            "{{\"critical\":{{\"identity\":{{\"docker-reference\":\"{name}\"}},\"image\":{{\"docker-manifest-digest\":\"{}\"}},\
             \"type\":\"cosign container image signature\"}},\"optional\":null}}",
            self.digest
        )
        .into_bytes()
    }

    /// What openssl makes of it with a key.
    pub(crate) fn sign(&self, key: &str, payload: &[u8]) -> Vec<u8> {
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
    pub(crate) fn attached(&self, key: &str, name: &str) -> Value {
        let payload = self.claim(name);
        let signature = self.sign(key, &payload);
        json!({"mimeType": PAYLOAD, "payload": base64(&payload), "annotations": {SIGNATURE: base64(&signature)}})
    }

    /// Attaches signatures to `one` as cosign does.
    pub(crate) fn attach(&self, signatures: &[Value]) {
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
    pub(crate) fn lets_through(&self, requirement: &Value, source: &str) -> (bool, String) {
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

pub(crate) fn at(tag: &str) -> String {
    format!("docker://registry.example/team/app:{tag}")
}

pub(crate) fn signed(key: &str, identity: &Value) -> Value {
    json!({"type": "sigstoreSigned", "keyPath": key, "signedIdentity": identity})
}

pub(crate) fn identity(kind: &str) -> Value {
    json!({ "type": kind })
}

impl Scene {
    /// Whether openssl finds the signature good.
    pub(crate) fn verifies(&self, key: &str, content: &[u8], signature: &[u8]) -> bool {
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

    pub(crate) fn conex(&self, words: &[&str]) -> Output {
        let mut command =
            self.sandbox.conex(["--registries.d", &self.sandbox.path("registries.d").display().to_string()]);
        command.args(words).current_dir(self.sandbox.work()).run()
    }

    /// The signatures that came along to a `dir:`.
    pub(crate) fn signatures(&self, directory: &str) -> Vec<Value> {
        let file = |number: &usize| fs::read(self.path(&format!("{directory}/signature-{number}"))).ok();
        let files = (1..).map_while(|number| file(&number));
        files
            .map(|bytes| serde_json::from_slice(bytes.strip_prefix(b"\0sigstore-json\n").unwrap()).unwrap())
            .collect()
    }
}

/// What DSSE signs.
pub(crate) fn dsse(payload: &[u8]) -> Vec<u8> {
    let kind = "application/vnd.in-toto+json";
    [format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).as_bytes(), payload].concat()
}

impl Scene {
    /// Attaches a bundle to an image as cosign 3 does.
    pub(crate) fn refer(&self, digest: &str, bundle: &Value) {
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

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(crate) fn decode(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap()
}
