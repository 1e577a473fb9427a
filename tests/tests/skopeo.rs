// SPDX-License-Identifier: Apache-2.0
//! conex as skopeo, beside Debian's skopeo, against conex's own registry and Debian's docker-registry.
#![allow(clippy::unwrap_used, reason = "stories are told outside of the #[test] functions, too")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use conex_testkit::server::{HTPASSWD, Registry};
use conex_testkit::{Image, Layer, Output, Run, Sandbox, needs, require, tar};
use serde_json::Value;

/// Debian's skopeo and conex in one sandbox.
struct Both {
    sandbox: Sandbox,
    theirs: PathBuf,
}

impl Both {
    fn new() -> require::Requirement<Self> {
        Ok(Self { theirs: require::program("skopeo")?, sandbox: Sandbox::new() })
    }

    fn run(&self, program: &Path, words: &[&str]) -> Output {
        let mut command = self.sandbox.command(program);
        command.env("CONEX_ROOT", self.sandbox.store()).current_dir(self.sandbox.work()).args(words).run()
    }

    fn ours(&self, words: &[&str]) -> Output {
        self.run(&self.sandbox.programs().join("skopeo"), words)
    }

    fn theirs(&self, words: &[&str]) -> Output {
        self.run(&self.theirs, &[&["--insecure-policy"], words].concat())
    }

    /// What both print, which is the same document.
    fn agree(&self, words: &[&str]) -> Value {
        let read = |output: Output| -> Value {
            let mut shown: Value = serde_json::from_str(&output.success().stdout).unwrap();
            for tags in ["RepoTags", "Tags"] {
                // docker-registry lists them in no order.
                if let Some(tags) = shown.get_mut(tags).and_then(Value::as_array_mut) {
                    tags.sort_by_key(ToString::to_string);
                }
            }
            shown
        };
        let (ours, theirs) = (read(self.ours(words)), read(self.theirs(words)));
        // The manifest of a docker-archive is made up, and not by both in the same words.
        let made_up =
            |key: &str| key == "Digest" && words.iter().any(|word| word.starts_with("docker-archive"));
        for (key, value) in theirs.as_object().unwrap().iter().filter(|(key, _)| !made_up(key)) {
            assert_eq!(&ours[key], value, "{key} of {words:?}");
        }
        ours
    }
}

fn image(content: &str) -> Image {
    Image::new(vec![Layer::new(&[tar::file("content", content)])]).cmd(&["/content"])
}

#[test]
fn inspect_list_and_digests_are_skopeos() {
    let both = needs!(Both::new());
    let registry = needs!(Registry::debian(&both.sandbox));
    let remote = format!("docker://{}/team/app", registry.address);
    both.sandbox.layout("layout").add("one", &image("one"));
    for tag in ["1", "2"] {
        both.ours(&["copy", "-q", "oci:layout:one", &format!("{remote}:{tag}")]).success();
    }
    both.ours(&["copy", "-q", "oci:layout:one", "docker-archive:saved.tar:org/app:1"]).success();
    both.ours(&["copy", "-q", "oci:layout:one", "dir:flat"]).success();
    let no_tls = "--tls-verify=false";

    for place in ["oci:layout:one", "docker-archive:saved.tar", "dir:flat"] {
        both.agree(&["inspect", place]);
        both.agree(&["inspect", "--config", place]);
        for words in [
            &["inspect", "--format", "{{.Architecture}} {{.Os}} {{len .Layers}}", place][..],
            &["inspect", "--config", "--format", "{{.Config.Cmd}} {{.Architecture}}", place],
            &["inspect", "--raw", "--config", place],
        ] {
            let (ours, theirs) = (both.ours(words).success().stdout, both.theirs(words).success().stdout);
            assert_eq!(ours.trim_end(), theirs.trim_end(), "{words:?}");
        }
    }
    let raw = ["inspect", "--raw", "dir:flat"];
    assert_eq!(both.ours(&raw).success().stdout, both.theirs(&raw).success().stdout);
    let whole = both.agree(&["inspect", no_tls, &format!("{remote}:1")]);
    assert_eq!(whole["RepoTags"], serde_json::json!(["1", "2"]));
    let lean = both.agree(&["inspect", "--no-tags", no_tls, &format!("{remote}:1")]);
    assert_eq!(lean["RepoTags"], serde_json::json!([]));
    both.agree(&["list-tags", no_tls, &remote]);
    both.agree(&["list-tags", "docker-archive:saved.tar"]);
    for words in
        [&["inspect", "--raw", "--format", "{{.Digest}}", "dir:flat"][..], &["list-tags", "dir:flat"]]
    {
        both.theirs(words).exits(1);
        both.ours(words).exits(1);
    }
    both.ours(&["list-tags", "dir:flat"]).says("Unsupported transport 'dir' for tag listing");
    both.ours(&["inspect", no_tls, &format!("{remote}:none")]).exits(2);

    let (ours, theirs) = (
        both.ours(&["manifest-digest", "flat/manifest.json"]),
        both.theirs(&["manifest-digest", "flat/manifest.json"]),
    );
    assert_eq!(ours.success().stdout, theirs.success().stdout);
    both.ours(&["manifest-digest", "not-there"]).exits(1).says("Error reading manifest from not-there");
    drop(registry);
    both.sandbox.finish();
}

#[test]
fn delete_takes_an_image_with_its_tags_or_one_tag() {
    let both = needs!(Both::new());
    both.sandbox.layout("layout").add("one", &image("one"));
    let registries = [needs!(Registry::debian(&both.sandbox)), Registry::conex(&both.sandbox)];
    let no_tls = "--tls-verify=false";
    for registry in &registries {
        let remote = format!("docker://{}/team/app", registry.address);
        let push =
            |tag: &str| both.ours(&["copy", "-q", "oci:layout:one", &format!("{remote}:{tag}")]).success();
        let has = |tag: &str| both.theirs(&["inspect", no_tls, &format!("{remote}:{tag}")]).code() == 0;
        for tag in ["1", "2", "3"] {
            push(tag);
        }
        both.ours(&["delete", "--tag-only", &format!("{remote}:1")]).success();
        assert_eq!((has("1"), has("2"), has("3")), (false, true, true), "{remote}");
        both.ours(&["delete", &format!("{remote}:2")]).success();
        assert_eq!((has("2"), has("3")), (false, false), "{remote}");
        let gone = ["delete", no_tls, &format!("{remote}:2")];
        both.theirs(&gone).exits(1).says("Unable to delete");
        both.ours(&gone).exits(1).says("Unable to delete");
        push("2");
        both.theirs(&["delete", no_tls, &format!("{remote}:2")]).success();
        assert!(!has("2"));
    }
    both.theirs(&["delete", "oci:layout:one"])
        .exits(1)
        .says("Deleting images not implemented for oci: images");
    both.ours(&["delete", "oci:layout:one"]).exits(1).says("Deleting images not implemented for oci: images");
    drop(registries);
    both.sandbox.finish();
}

#[test]
fn who_is_logged_in_with_one_is_with_the_other() {
    let both = needs!(Both::new());
    let users = both.sandbox.path("htpasswd");
    fs::write(&users, HTPASSWD).unwrap();
    let config = format!("auth: {{htpasswd: {{realm: here, path: {}}}}}\n", users.display());
    let registries = [
        needs!(Registry::debian_with(&both.sandbox, &config)),
        Registry::conex_with(&both.sandbox, &["--htpasswd", users.to_str().unwrap()]),
    ];
    both.sandbox.layout("layout").add("one", &image("one"));
    let no_tls = "--tls-verify=false";
    for registry in &registries {
        let host = registry.address.as_str();
        let remote = format!("docker://{host}/team/app:1");
        both.ours(&["copy", "-q", "oci:layout:one", &remote]).exits(1).says("401");
        let wrong = ["login", no_tls, "-u", "me", "-p", "wrong", host];
        both.theirs(&wrong).exits(1).says("invalid username/password");
        both.ours(&wrong).exits(1).says("invalid username/password");
        both.ours(&["login", "--get-login", host]).exits(1).says(&format!("not logged into {host}"));

        both.ours(&["login", no_tls, "-u", "me", "-p", "secret", host]).success().prints("Login Succeeded!");
        let user = |output: Output| output.success().stdout;
        assert_eq!(
            user(both.theirs(&["login", "--get-login", host])),
            user(both.ours(&["login", "--get-login", host]))
        );
        both.theirs(&["copy", "-q", "--dest-tls-verify=false", "oci:layout:one", &remote]).success();
        both.ours(&["login", no_tls, host]).success().prints("Already logged in to");
        both.theirs(&["logout", host]).success();
        both.ours(&["logout", host]).exits(1).says(&format!("not logged into {host}"));

        both.theirs(&["login", no_tls, "-u", "me", "-p", "secret", host]).success();
        both.ours(&["inspect", &remote]).success();
        both.ours(&["logout", host]).success().prints("Removed login credentials for");
        both.theirs(&["login", "--get-login", host]).exits(1);
        both.ours(&["login", no_tls, "-u", "me", "-p", "secret", &format!("{host}/team")]).success();
        both.theirs(&["inspect", no_tls, &remote]).success();
        both.ours(&["logout", "--all"]).success();
    }
    drop(registries);
    both.sandbox.finish();
}

#[test]
fn a_password_comes_from_stdin_and_goes_to_a_helper() {
    let sandbox = Sandbox::new();
    let users = sandbox.path("htpasswd");
    fs::write(&users, HTPASSWD).unwrap();
    let registry = Registry::conex_with(&sandbox, &["--htpasswd", users.to_str().unwrap()]);
    let host = registry.address.as_str();
    let log_in = || {
        let words = ["login", "-u", "me", "--password-stdin", "--compat-auth-file", "config.json", host];
        let mut conex = sandbox.conex(words);
        conex.current_dir(sandbox.work()).run_with(b"secret\n", Duration::from_secs(60))
    };
    log_in().success();
    let config = sandbox.work().join("config.json");
    let read = || serde_json::from_str::<Value>(&fs::read_to_string(&config).unwrap()).unwrap();
    assert_eq!(read()["auths"][host]["auth"], "bWU6c2VjcmV0");

    let helper = sandbox.path("bin/docker-credential-here");
    fs::write(&helper, "#!/bin/sh\ncase $1 in store) cat > kept;; get) cat kept;; erase) rm kept;; esac\n")
        .unwrap();
    fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::write(&config, format!("{{\"credHelpers\": {{\"{host}\": \"here\"}}, \"mine\": 1}}")).unwrap();
    log_in().success();
    let kept: Value =
        serde_json::from_str(&fs::read_to_string(sandbox.work().join("kept")).unwrap()).unwrap();
    assert_eq!((&kept["ServerURL"], &kept["Secret"]), (&host.into(), &"secret".into()));
    assert_eq!(read()["mine"], 1);
    assert!(!fs::read_to_string(&config).unwrap().contains("bWU6c2VjcmV0"));
    let conex = |words: &[&str]| sandbox.conex(words).current_dir(sandbox.work()).run();
    let get = ["login", "--get-login", "--compat-auth-file", "config.json", host];
    assert_eq!(conex(&get).success().stdout, "me\n");
    conex(&["logout", "--compat-auth-file", "config.json", host]).success();
    assert!(!sandbox.work().join("kept").exists());
    // podman's and docker's names are the same verb, with their files.
    let mut docker = sandbox.command(sandbox.programs().join("docker"));
    docker.args(["login", "-u", "me", "-p", "secret", host]).run().success();
    assert!(sandbox.path("home/.docker/config.json").exists());
    drop(registry);
    sandbox.finish();
}

/// Every file below a directory, by its path there.
fn files(top: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![top.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => waiting.push(entry.path()),
                false => found.push(entry.path().strip_prefix(top).unwrap().display().to_string()),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn sync_brings_what_skopeos_sync_brings() {
    let both = needs!(Both::new());
    let registry = needs!(Registry::debian(&both.sandbox));
    let host = registry.address.as_str();
    let layout = both.sandbox.layout("layout");
    for name in ["one", "two", "other"] {
        layout.add(name, &image(name));
        both.ours(&[
            "copy",
            "-q",
            &format!("oci:layout:{name}"),
            &format!("docker://{host}/team/app:v-{name}"),
        ])
        .success();
    }
    both.ours(&["copy", "-q", "oci:layout:one", &format!("docker://{host}/lib:1")]).success();
    let digest = both
        .ours(&["inspect", "--format", "{{.Digest}}", &format!("docker://{host}/lib:1")])
        .success()
        .stdout;
    let list = format!(
        "{host}:\n  tls-verify: false\n  images:\n    team/app: [v-one]\n    lib:\n      - \"{}\"\n  images-by-tag-regex:\n    team/app: ^v-ot # other\n",
        digest.trim_end()
    );
    fs::write(both.sandbox.work().join("list.yml"), list).unwrap();
    let repository = format!("{host}/team/app");
    let one_tag = format!("{repository}:v-two");
    for words in [
        &["--src", "docker", "--dest", "dir", "--src-tls-verify=false", &repository][..],
        &["--src", "docker", "--dest", "dir", "--src-tls-verify=false", "--scoped", &repository],
        &["--src", "docker", "--dest", "dir", "--src-tls-verify=false", &one_tag],
        &["--src", "yaml", "--dest", "dir", "list.yml"],
        &["--src", "yaml", "--dest", "dir", "--scoped", "--all", "list.yml"],
    ] {
        let work = both.sandbox.work();
        for directory in ["ours", "theirs"] {
            let _ = fs::remove_dir_all(work.join(directory));
            fs::create_dir(work.join(directory)).unwrap();
        }
        both.ours(&[&["sync"], words, &["ours"]].concat()).success();
        both.theirs(&[&["sync"], words, &["theirs"]].concat()).success();
        let (ours, theirs) = (files(&work.join("ours")), files(&work.join("theirs")));
        assert!(!ours.is_empty() && ours == theirs, "{words:?}\n{ours:#?}\n{theirs:#?}");
    }

    // From a directory to a registry: by both, to two places of it.
    both.ours(&["sync", "--src", "docker", "--dest", "dir", &repository, "flat"]).success();
    for (program, place) in [("ours", "by-us"), ("theirs", "by-them")] {
        let place = format!("{host}/{place}");
        let words = ["sync", "--src", "dir", "--dest", "docker", "--dest-tls-verify=false", "flat", &place];
        if program == "ours" { both.ours(&words) } else { both.theirs(&words) }.success();
    }
    let tags = |place: &str| {
        both.agree(&["list-tags", "--tls-verify=false", &format!("docker://{host}/{place}/app")])["Tags"]
            .clone()
    };
    assert_eq!(tags("by-us"), tags("by-them"));
    drop(registry);
    both.sandbox.finish();
}

#[test]
fn sync_copies_what_is_missing_and_tells_what_fails() {
    let both = needs!(Both::new());
    let registry = needs!(Registry::debian(&both.sandbox));
    let host = registry.address.as_str();
    both.sandbox.layout("layout").add("one", &image("one"));
    for name in ["team/app:v-one", "team/app:v-two", "team/app:v-other", "lib:1"] {
        both.ours(&["copy", "-q", "oci:layout:one", &format!("docker://{host}/{name}")]).success();
    }
    let repository = format!("{host}/team/app");

    // What is there is not copied again; what is excluded does not come; a dry run copies nothing.
    let mirror = format!("{host}/mirror");
    let sync = ["sync", "--src", "docker", "--dest", "docker", "--exclude", "other", &repository, &mirror];
    let dry = both
        .ours(&[&sync[..1], &["--dry-run"], &sync[1..]].concat())
        .success()
        .says("Would have synced 2 images");
    assert!(dry.stderr.contains(&format!("docker://{mirror}/app:v-one")), "{dry}");
    both.ours(&["inspect", &format!("docker://{mirror}/app:v-one")]).exits(2);
    assert_eq!(both.ours(&sync).success().stderr.matches("copied docker://").count(), 2);
    assert_eq!(both.ours(&sync).success().stderr.matches("copied docker://").count(), 0);
    both.ours(&["inspect", &format!("docker://{mirror}/app:v-other")]).exits(2);

    // One that is missing ends it, or with --keep-going fails it in the end.
    fs::write(
        both.sandbox.work().join("list.yml"),
        format!("{host}:\n  images:\n    none: []\n    lib: ['1', '9']\n"),
    )
    .unwrap();
    let yaml = ["sync", "--src", "yaml", "--dest", "docker", "list.yml", &mirror];
    both.ours(&yaml).fails();
    both.ours(&["inspect", &format!("docker://{mirror}/lib:1")]).exits(2);
    both.ours(&[&yaml[..1], &["--keep-going"], &yaml[1..]].concat()).fails().says("lib:9");
    both.ours(&["inspect", &format!("docker://{mirror}/lib:1")]).success();
    both.ours(&["sync", "--src", "dir", "--dest", "dir", "ours", "theirs"]).exits(1).says("not implemented");
    drop(registry);
    both.sandbox.finish();
}
