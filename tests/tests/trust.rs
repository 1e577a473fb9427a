// SPDX-License-Identifier: Apache-2.0
//! Signature policies (containers-policy.json(5)), beside Debian's skopeo: what one signs the other verifies, and what
//! one refuses the other does.
#![allow(clippy::unwrap_used, reason = "stories are told outside of the #[test] functions, too")]

use std::fs;
use std::path::{Path, PathBuf};

use conex_testkit::server::Registry;
use conex_testkit::{Image, Layer, Output, Run, Sandbox, needs, require, tar};
use serde_json::{Value, json};

struct Scene {
    sandbox: Sandbox,
    skopeo: PathBuf,
    /// Of the person's key.
    key: String,
}

impl Scene {
    fn new() -> require::Requirement<Self> {
        let (skopeo, sandbox) = (require::program("skopeo")?, Sandbox::new());
        require::program("gpg")?;
        let layout = sandbox.layout("layout");
        layout.add("one", &image("one"));
        layout.add("two", &image("two"));
        let mut scene = Self { sandbox, skopeo, key: String::new() };
        scene.key = scene.new_key("signer@example.org");
        Ok(scene)
    }

    /// A new key of the person's, and `<user>.gpg` with its public half.
    fn new_key(&self, user: &str) -> String {
        let home = self.sandbox.path("home/.gnupg");
        fs::create_dir_all(&home).unwrap();
        fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let gpg = |words: &[&str]| {
            let mut command = self.sandbox.command("gpg");
            command
                .current_dir(self.sandbox.work())
                .args(["--batch", "--no-tty"])
                .args(words)
                .run()
                .success()
                .stdout
        };
        gpg(&[
            "--passphrase",
            "",
            "--pinentry-mode",
            "loopback",
            "--quick-generate-key",
            user,
            "ed25519",
            "sign",
            "never",
        ]);
        gpg(&["--output", &format!("{user}.gpg"), "--export", user]);
        let listed = gpg(&["--with-colons", "--list-keys", user]);
        let line = listed.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    fn run(&self, program: &Path, words: &[&str]) -> Output {
        let mut command = self.sandbox.command(program);
        command.env("CONEX_ROOT", self.sandbox.store()).current_dir(self.sandbox.work()).args(words).run()
    }

    fn ours(&self, words: &[&str]) -> Output {
        self.run(&self.sandbox.programs().join("skopeo"), words)
    }

    fn theirs(&self, words: &[&str]) -> Output {
        self.run(&self.skopeo, words)
    }

    /// Whether both let an image through with this policy, which they agree about.
    fn lets_through(&self, policy: &Value, source: &str) -> bool {
        fs::write(self.sandbox.work().join("policy.json"), policy.to_string()).unwrap();
        let _ = fs::remove_dir_all(self.sandbox.work().join("out"));
        let d = self.registries_d();
        let words =
            ["--policy", "policy.json", "--registries.d", &d, "copy", "-q", "--remove-signatures", source];
        let theirs = self.theirs(&[&words[..], &["--src-tls-verify=false", "dir:out"]].concat());
        let _ = fs::remove_dir_all(self.sandbox.work().join("out"));
        let ours = self.ours(&[&words[..], &["dir:out"]].concat());
        assert_eq!(ours.code(), theirs.code(), "{policy} {source}\n{ours}\n{theirs}");
        if ours.code() != 0 {
            assert!(ours.stderr.contains("Source image rejected"), "{ours}\n{theirs}");
            assert!(!self.sandbox.work().join("out/manifest.json").exists(), "nothing was taken");
        }
        ours.code() == 0
    }

    /// registries.d with a lookaside in the sandbox.
    fn registries_d(&self) -> String {
        let directory = self.sandbox.path("registries.d");
        fs::create_dir_all(&directory).unwrap();
        let lookaside = self.sandbox.path("lookaside");
        // `sigstore` is what skopeo of those days calls it.
        let text = format!("default-docker:\n  sigstore: file://{}\n", lookaside.display());
        fs::write(directory.join("default.yaml"), text).unwrap();
        directory.display().to_string()
    }
}

fn image(content: &str) -> Image {
    Image::new(vec![Layer::new(&[tar::file("content", content)])])
}

fn signed_by(keys: &str, identity: Value) -> Value {
    json!({"type": "signedBy", "keyType": "GPGKeys", "keyPath": keys, "signedIdentity": identity})
}

#[test]
fn a_policy_lets_through_what_skopeo_lets_through() {
    let scene = needs!(Scene::new());
    let registry = needs!(Registry::debian(&scene.sandbox));
    let host = registry.address.as_str();
    let other = scene.new_key("other@example.org");
    assert_ne!(other, scene.key);
    let keys = |user: &str| scene.sandbox.work().join(format!("{user}.gpg")).display().to_string();
    let (good, bad) = (keys("signer@example.org"), keys("other@example.org"));
    let d = scene.registries_d();
    // skopeo signs one tag and leaves the other as it is.
    let sign = [
        "--insecure-policy",
        "--registries.d",
        &d,
        "copy",
        "-q",
        "--dest-tls-verify=false",
        "--sign-by",
        &scene.key,
    ];
    let one = format!("docker://{host}/team/app:1");
    scene.theirs(&[&sign[..], &["oci:layout:one", &one]].concat()).success();
    let two = format!("docker://{host}/team/app:2");
    scene.ours(&["copy", "-q", "oci:layout:two", &two]).success();
    let same_as_one = format!("docker://{host}/team/app:moved");
    scene.ours(&["copy", "-q", &one, &same_as_one]).success();

    let policy = |requirement: Value| json!({"default": [{"type": "reject"}], "transports": {"docker": {host: [requirement]}}});
    let exact = || json!({"type": "matchExact"});
    for (requirement, place, through) in [
        (json!({"type": "insecureAcceptAnything"}), &two, true),
        (json!({"type": "reject"}), &one, false),
        (signed_by(&good, exact()), &one, true),
        (signed_by(&good, exact()), &two, false),
        (signed_by(&good, exact()), &same_as_one, false),
        (signed_by(&good, json!({"type": "matchRepository"})), &same_as_one, true),
        (signed_by(&bad, exact()), &one, false),
        (
            signed_by(&good, json!({"type": "exactRepository", "dockerRepository": "example.org/other"})),
            &one,
            false,
        ),
        (
            signed_by(&good, json!({"type": "remapIdentity", "prefix": "x.example", "signedPrefix": host})),
            &one,
            true,
        ),
    ] {
        assert_eq!(scene.lets_through(&policy(requirement.clone()), place), through, "{requirement} {place}");
    }
    assert!(!scene.lets_through(&policy(json!({"type": "insecureAcceptAnything"})), "oci:layout:one"));

    // What is no whole signature counts for nothing.
    let accepted = policy(signed_by(&good, exact()));
    let lookaside = scene.sandbox.path("lookaside/team");
    let directory = fs::read_dir(lookaside).unwrap().flatten().next().unwrap().path();
    let signature = directory.join("signature-1");
    let whole = fs::read(&signature).unwrap();
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    for (what, bytes) in [
        ("changed", changed),
        ("no signature", b"not a signature".to_vec()),
        ("empty", Vec::new()),
        ("cut", whole[..whole.len() - 9].to_vec()),
    ] {
        fs::write(&signature, bytes).unwrap();
        assert!(!scene.lets_through(&accepted, &one), "{what}");
    }
    fs::write(directory.join("signature-2"), whole).unwrap();
    assert!(scene.lets_through(&accepted, &one), "one good one is enough");

    // The same guard stands before the store, by the user's own file.
    let own = scene.sandbox.path("home/.config/containers/policy.json");
    fs::write(&own, json!({"default": [{"type": "reject"}]}).to_string()).unwrap();
    let pull = ["pull", &format!("{host}/team/app:1")];
    scene.sandbox.conex(pull).run().exits(125).says("rejected by policy");
    fs::write(&own, "{\"default\": [{\"type\": \"reject\"}], \"typo\": 1}").unwrap();
    scene.sandbox.conex(pull).run().exits(125).says("policy.json");
    // Who opens no image is not stopped by it.
    scene.sandbox.conex(["images"]).run().success();
    drop(registry);
    end(scene);
}

#[test]
fn signatures_in_files_are_each_others() {
    let scene = needs!(Scene::new());
    scene.ours(&["copy", "-q", "oci:layout:one", "dir:flat"]).success();
    let (manifest, name, key) = ("flat/manifest.json", "example.org/app:1", scene.key.as_str());
    scene.ours(&["standalone-sign", manifest, name, key, "-o", "ours"]).success();
    scene.theirs(&["standalone-sign", manifest, name, key, "-o", "theirs"]).success();
    for signature in ["ours", "theirs"] {
        scene
            .ours(&["standalone-verify", manifest, name, key, signature])
            .success()
            .prints("Signature verified");
        scene
            .theirs(&["standalone-verify", manifest, name, key, signature])
            .success()
            .prints("Signature verified");
        for wrong in [
            ["standalone-verify", manifest, "example.org/app:2", key, signature],
            ["standalone-verify", "flat/version", name, key, signature],
            ["standalone-verify", manifest, name, "0000000000000000000000000000000000000000", signature],
            ["standalone-verify", manifest, name, key, manifest],
        ] {
            scene.ours(&wrong).exits(1).says("Error verifying signature");
            scene.theirs(&wrong).exits(1).says("Error verifying signature");
        }
    }
    end(scene);
}

#[test]
fn copies_carry_signatures() {
    let scene = needs!(Scene::new());
    let registry = needs!(Registry::debian(&scene.sandbox));
    let (host, key, d) = (registry.address.as_str(), scene.key.as_str(), scene.registries_d());
    let words = ["--insecure-policy", "--registries.d", &d, "copy", "-q"];
    let copy = |more: &[&str]| scene.ours(&[&words[..], more].concat());
    let their_copy = |more: &[&str]| scene.theirs(&[&words[..], more].concat());
    let (one, two) = (format!("docker://{host}/team/app:1"), format!("docker://{host}/team/app:2"));

    // What one signs the other verifies.
    copy(&["--sign-by", key, "oci:layout:one", &one]).success();
    their_copy(&["--dest-tls-verify=false", "--sign-by", key, "oci:layout:two", &two]).success();
    let keys = scene.sandbox.work().join("signer@example.org.gpg").display().to_string();
    let exact = json!({"type": "matchExact"});
    let policy = json!({"default": [signed_by(&keys, exact)]});
    assert!(scene.lets_through(&policy, &one) && scene.lets_through(&policy, &two));

    // What comes along is the same, file by file; new signatures join it.
    copy(&[&two, "dir:ours"]).success();
    their_copy(&["--src-tls-verify=false", &two, "dir:theirs"]).success();
    let read = |file: &str| fs::read(scene.sandbox.work().join(file)).unwrap();
    assert_eq!(read("ours/signature-1"), read("theirs/signature-1"));
    let moved = format!("docker://{host}/team/moved:1");
    copy(&["--sign-by", key, "dir:theirs", &moved]).success();
    let lookaside = fs::read_dir(scene.sandbox.path("lookaside/team")).unwrap().flatten();
    let moved_to = lookaside
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().contains("moved@sha256="))
        .unwrap();
    assert_eq!(fs::read(moved_to.join("signature-1")).unwrap(), read("theirs/signature-1"));
    assert!(moved_to.join("signature-2").exists() && scene.lets_through(&policy, &moved));
    // Fewer take the place of more.
    copy(&["oci:layout:two", "dir:unsigned"]).success();
    copy(&["--sign-by", key, "dir:unsigned", &moved]).success();
    assert!(!moved_to.join("signature-2").exists() && scene.lets_through(&policy, &moved));

    // What would lose them both refuse, in the same words.
    for more in [
        &[two.as_str(), "oci:kept:1"][..],
        &[&two, "docker-archive:kept.tar"],
        &["--sign-by", key, "oci:layout:one", "dir:unnamed"],
        &[
            "--sign-by",
            "0000000000000000000000000000000000000000",
            "oci:layout:one",
            "dir:unnamed",
            "--sign-identity",
            "q.io/a:1",
        ],
    ] {
        let tls: &[&str] = if more[0] == two { &["--src-tls-verify=false"] } else { &[] };
        let (ours, theirs) = (copy(more), their_copy(&[tls, more].concat()));
        assert_eq!((ours.code(), theirs.code()), (1, 1), "{ours}{theirs}");
        for words in
            ["Can not copy signatures to", "Cannot determine canonical Docker reference for destination"]
        {
            assert_eq!(ours.stderr.contains(words), theirs.stderr.contains(words), "{ours}{theirs}");
        }
    }
    copy(&["--remove-signatures", &two, "oci:kept:1"]).success();

    // A lookaside that is read over HTTP is written where staging says.
    let staging = scene.sandbox.path("staging");
    let file = scene.sandbox.path("registries.d/default.yaml");
    let http = format!("default-docker:\n  sigstore: http://{host}/signatures\n");
    fs::write(&file, &http).unwrap();
    copy(&["--sign-by", key, "oci:layout:one", &one])
        .exits(1)
        .says("Configure a lookaside-staging: location");
    fs::write(&file, format!("{http}  sigstore-staging: file://{}\n", staging.display())).unwrap();
    copy(&["--sign-by", key, "oci:layout:one", &one]).success();
    assert_eq!(fs::read_dir(staging.join("team")).unwrap().count(), 1);
    drop(registry);
    end(scene);
}

/// gpg leaves an agent behind, which ends when it is asked to.
fn end(scene: Scene) {
    scene.sandbox.command("gpgconf").args(["--kill", "all"]).run().success();
    scene.sandbox.finish();
}
