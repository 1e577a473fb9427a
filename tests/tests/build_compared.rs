// SPDX-License-Identifier: Apache-2.0
//! The same Containerfiles by Debian's buildah and by `conex build`: files with owners, modes and times, the image's
//! configuration, and which instructions the history tells of. Where the two differ on purpose, it is said here.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use conex_testkit::podman::Podman;
use conex_testkit::{Place, Run, Sandbox, needs, require, tar};
use serde_json::Value;

/// Files are compared with times, which all become this.
const TIME: &str = "1000000000";

/// A name, options, and the file.
const CASES: [(&str, &[&str], &str); 9] = [
    (
        "words",
        &[],
        "FROM busybox\nENTRYPOINT [\"/bin/sh\", \"-c\"]\nCMD [\"echo hi\"]\nLABEL a=1 \"b c\"=\"2 3\"\nEXPOSE 80 53/udp 7000-7002\n\
         VOLUME /data /more\nUSER 1000:2000\nSTOPSIGNAL SIGINT\nENV one=1 two=\"2 3\"\nENV old style of value\nMAINTAINER me\n",
    ),
    (
        "shells",
        &[],
        "FROM busybox\nSHELL [\"/bin/sh\", \"-e\", \"-c\"]\nCMD echo shell form\nENTRYPOINT exec top\n\
         HEALTHCHECK --interval=5s --timeout=3s --retries=4 --start-period=2s CMD test -e /etc\nONBUILD RUN echo later\n\
         ONBUILD COPY . /src\n",
    ),
    (
        "resets",
        &[],
        "FROM busybox AS base\nCMD [\"one\"]\nHEALTHCHECK CMD true\nENV a=b\nLABEL x=base\n\
         FROM base\nENTRYPOINT [\"two\"]\nHEALTHCHECK NONE\nENV a=c d=$a\nLABEL x=top\n",
    ),
    (
        "arguments",
        &["--build-arg", "GIVEN=g", "--build-arg", "GLOBAL=other"],
        "ARG GLOBAL=busybox\nARG BASE=busybox\nFROM $BASE\nARG GLOBAL\nARG GIVEN=d DEFAULT=e\nARG UNSET\n\
         RUN echo \"$GLOBAL ${GIVEN} $DEFAULT ${UNSET:-u} ${UNSET:+s} $(echo $BASE)\" > /args\nENV kept=${GIVEN}x\\$y\n",
    ),
    (
        "target",
        &["--target", "middle"],
        "FROM busybox AS first\nRUN echo 1 > /1\nFROM first AS middle\nRUN echo 2 > /2\nCMD [\"m\"]\nFROM middle\nRUN exit 1\n",
    ),
    (
        "triggers",
        &[],
        "FROM busybox AS base\nONBUILD ARG T=t\nONBUILD RUN echo $T > /triggered\nONBUILD LABEL from=trigger\nFROM base\nCMD [\"after\"]\n",
    ),
    (
        "copies",
        &[],
        "FROM busybox AS made\nRUN mkdir -p /out/d && echo 1 > /out/d/f && chmod 640 /out/d/f && chown 5:6 /out/d/f && ln -s d/f /out/l\n\
         FROM busybox\nCOPY a.txt b.txt /texts/\nCOPY *.txt /wild/\nCOPY dir /dir/\nCOPY dir/ /etc/\nCOPY a.txt /named\n\
         COPY --chown=7:8 --chmod=0751 a.txt dir /owned/\nCOPY --chown=user a.txt /user/\nCOPY --from=made /out /kept/\n\
         COPY --from=made /out/l /followed\nADD a.tar /unpacked/\nADD a.tar.gz /gzip/\nCOPY a.tar /packed/\n",
    ),
    (
        "directories",
        &[],
        "FROM busybox\nWORKDIR /a/b\nWORKDIR c\nRUN pwd > here && touch made\nUSER user\nRUN id > /tmp/who\nWORKDIR /w\n",
    ),
    (
        "removals",
        &[],
        "FROM busybox\nRUN rm -rf /etc/motd /var/new && mkdir /var/new && touch /var/new/x\nRUN rm /var/new/x && chmod 700 /root\n\
         RUN [\"ln\", \"/etc/passwd\", \"/etc/again\"]\n",
    ),
];

/// Where conex does not do what Debian's buildah does, and why.
const MEANT: [(&str, &str, &str); 7] = [
    ("words", "ExposedPorts", "a range is so many ports, as docker has it: nothing else reads ranges"),
    ("shells", "Cmd", "a SHELL holds for what comes behind it in the same stage"),
    ("shells", "Entrypoint", "the same"),
    ("shells", "history", "an ONBUILD changes nothing yet, and is no event, as BuildKit has it"),
    ("triggers", "history", "the same"),
    ("directories", "w", "a WORKDIR makes its directory even if no RUN follows"),
    ("directories", "history", "and so it makes a layer"),
];

/// What buildah leaves of what it mounts, and the name of its container.
const LEFT_BY_BUILDAH: [&str; 5] = ["etc/hostname", "etc/hosts", "etc/resolv.conf", "run", "Hostname"];

#[test]
fn root_images_are_what_buildah_makes_of_the_same_file() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let place = needs!(Place::of_root(&sandbox));
    let podman = needs!(Podman::of_root(&sandbox, "conex-runtime"));
    let buildah = needs!(require::packaged("buildah"));
    let context = context(&sandbox);
    let mut found = Vec::new();
    for (name, options, file) in CASES {
        fs::write(context.join("Containerfile"), file).expect("write a Containerfile");
        let same = ["--timestamp", TIME, "--format", "docker", "--isolation", "chroot", "--layers"];
        let words = ["build", "--network", "host", "--tag", name];
        let mut command = podman.buildah(&buildah, &[&words[..], &same, options].concat());
        command.arg("--identity-label=false").arg(&context).run().success();
        let theirs = format!("dir:{}", sandbox.path(format!("theirs-{name}")).display());
        podman.buildah(&buildah, &["push", "--format", "v2s2", name, &theirs]).run().success();
        let mut command = place.conex(&[&["build", "--tag", name], &same[..4], options].concat());
        command.arg(&context).run().success();
        let ours = format!("dir:{}", sandbox.path(format!("ours-{name}")).display());
        place.conex(&["copy", "--quiet", &format!("store:localhost/{name}"), &ours]).run().success();
        let files = place.conex(&["image", "diff", "--json", &theirs, &ours]).run();
        let files: Value = serde_json::from_str(&files.stdout).expect("a difference is JSON");
        found.extend(differences(&files).into_iter().map(|(path, what)| (name, path, what)));
        found.extend(
            compare(&config(&theirs), &config(&ours)).into_iter().map(|(key, what)| (name, key, what)),
        );
    }
    podman.end();
    sandbox.finish();
    found.retain(|(_, what, _)| !LEFT_BY_BUILDAH.contains(&what.as_str()));
    let seen: Vec<(&str, &str)> = found.iter().map(|(case, what, _)| (*case, what.as_str())).collect();
    let meant: Vec<(&str, &str)> = MEANT.iter().map(|(case, what, _)| (*case, *what)).collect();
    assert_eq!(sorted(seen), sorted(meant), "{found:#?}");
}

fn context(sandbox: &Sandbox) -> std::path::PathBuf {
    let context = sandbox.path("work/compared");
    fs::create_dir_all(context.join("dir/below")).expect("make a context");
    for (name, text) in [("a.txt", "a"), ("b.txt", "b"), ("dir/c", "c"), ("dir/below/d", "d")] {
        fs::write(context.join(name), text).expect("write a file");
    }
    std::os::unix::fs::symlink("c", context.join("dir/link")).expect("make a link");
    let entries = [tar::directory("t").mode(0o750), tar::file("t/f", "in").owner(3, 4).mode(0o600)];
    fs::write(context.join("a.tar"), tar::archive(&entries)).expect("write an archive");
    sandbox.command("gzip").arg("-k").arg(context.join("a.tar")).run().success();
    context
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list
}

/// Paths that differ, and in what.
fn differences(diff: &Value) -> Vec<(String, String)> {
    let files = diff["files"].as_array().expect("a list of files");
    files
        .iter()
        .map(|file| (file["path"].as_str().unwrap_or_default().to_owned(), file.to_string()))
        .collect()
}

fn config(place: &str) -> Value {
    let directory = Path::new(place.trim_start_matches("dir:"));
    let read = |name: &str| -> Value {
        serde_json::from_slice(&fs::read(directory.join(name)).expect("a document")).expect("JSON")
    };
    let manifest = read("manifest.json");
    read(manifest["config"]["digest"].as_str().expect("a digest").trim_start_matches("sha256:"))
}

/// Properties that differ; what is empty is as good as absent.
fn compare(theirs: &Value, ours: &Value) -> Vec<(String, String)> {
    let list = |document: &Value| -> BTreeMap<String, String> {
        let properties = document["config"].as_object().expect("a configuration");
        let said = properties.iter().filter(|(_, value)| {
            let text = value.to_string();
            !["null", "\"\"", "[]", "{}", "false"].contains(&text.as_str())
        });
        let mut list: BTreeMap<String, String> =
            said.map(|(key, value)| (key.clone(), value.to_string())).collect();
        list.insert("history".to_owned(), history(document));
        list.insert("author".to_owned(), document["author"].as_str().unwrap_or_default().to_owned());
        list
    };
    let (theirs, ours) = (list(theirs), list(ours));
    let keys: std::collections::BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    let value = |list: &BTreeMap<String, String>, key: &str| list.get(key).cloned().unwrap_or_default();
    keys.into_iter()
        .filter(|key| theirs.get(*key) != ours.get(*key))
        .map(|key| (key.clone(), format!("buildah {}, conex {}", value(&theirs, key), value(&ours, key))))
        .collect()
}

/// The instructions' words, `+` behind those that made a layer.
fn history(document: &Value) -> String {
    let events = document["history"].as_array().expect("a history");
    let word = |event: &Value| {
        let text = event["created_by"].as_str().unwrap_or_default();
        let text = text.trim_start_matches("/bin/sh -c #(nop)").trim_start();
        let word = text.split([' ', '[']).next().unwrap_or_default();
        let word = if word.starts_with('/') || word.starts_with('|') { "RUN" } else { word };
        format!("{word}{}", if event["empty_layer"] == true { "" } else { "+" })
    };
    events.iter().map(word).collect::<Vec<_>>().join(" ")
}
