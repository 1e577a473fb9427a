// SPDX-License-Identifier: Apache-2.0
//! The transports that are files, against Debian's skopeo and podman: what one side writes the other reads, and what
//! comes out is the image that went in.

use std::path::Path;

use conex_testkit::dockerd::{Dockerd, Setup};
use conex_testkit::{Image, Layer, Run, Sandbox, busybox, image, needs, require, tar};
use serde_json::Value;

/// Where an image may be in files, as both programs write it.
const PLACES: [&str; 4] =
    ["oci:layout:a", "oci-archive:o.tar:a", "docker-archive:d.tar:localhost/a:1", "dir:flat"];

fn conex(sandbox: &Sandbox, words: &[&str]) -> String {
    sandbox.conex(words).current_dir(sandbox.work()).run().success().stdout
}

/// Debian's skopeo, which is told to trust everything, as `--insecure-policy` of it.
fn skopeo(sandbox: &Sandbox, program: &Path, words: &[&str]) -> String {
    let mut command = sandbox.command(program);
    command.current_dir(sandbox.work()).env("PATH", require::HOST_PATH.join(":"));
    command.arg("--insecure-policy").args(words).run().success().stdout
}

/// The image id and the layers' diff_ids: what no change of form changes.
fn identity(config: &str) -> (String, Value) {
    let parsed: Value = serde_json::from_str(config).unwrap_or_else(|error| panic!("{error}: {config}"));
    (image::digest(config.as_bytes()), parsed["rootfs"]["diff_ids"].clone())
}

#[test]
fn what_skopeo_writes_conex_reads_and_the_other_way_round() {
    let program = needs!(require::program("skopeo"));
    let sandbox = Sandbox::new();
    let upper = Layer::new(&[tar::file("added", "more")]);
    let base = needs!(busybox::image());
    let two = Image::new([base.layers.clone(), vec![upper]].concat()).cmd(&["sh"]);
    let wanted = identity(&String::from_utf8(two.config_bytes()).unwrap());
    sandbox.layout("start").add("a", &two);
    let config = ["inspect", "--config", "--raw"];

    for place in PLACES {
        let (transport, rest) = place.split_once(':').unwrap();
        let (theirs, ours) = (format!("{transport}:their-{rest}"), format!("{transport}:our-{rest}"));
        skopeo(&sandbox, &program, &["copy", "--quiet", "oci:start:a", &theirs]);
        conex(&sandbox, &["copy", &theirs, &ours]);
        for (what, shown) in [
            ("skopeo of conex'", skopeo(&sandbox, &program, &[&config[..], &[&ours]].concat())),
            ("conex of conex'", conex_inspect(&sandbox, &ours)),
        ] {
            assert_eq!(identity(&shown), wanted, "{what} {place}");
        }
        // To the end: every layer is read and verified by the other.
        skopeo(&sandbox, &program, &["copy", "--quiet", &ours, &format!("oci:back-{transport}:a")]);
        let back = conex_inspect(&sandbox, &format!("oci:back-{transport}:a"));
        // skopeo writes the configuration anew when it converts, so the id may be another.
        assert_eq!(identity(&back).1, wanted.1, "{place}");
    }
    sandbox.finish();
}

/// `skopeo inspect` as conex has it.
fn conex_inspect(sandbox: &Sandbox, place: &str) -> String {
    let mut command = sandbox.command(sandbox.programs().join("skopeo"));
    command.current_dir(sandbox.work()).args(["inspect", "--config", "--raw", place]).run().success().stdout
}

#[test]
fn forms_are_those_that_skopeo_makes() {
    let program = needs!(require::program("skopeo"));
    let sandbox = Sandbox::new();
    sandbox.layout("start").add("a", &needs!(busybox::image()));
    for (words, media_type) in [
        (&["--format", "v2s2"][..], "application/vnd.docker.distribution.manifest.v2+json"),
        (&["--format", "oci"], "application/vnd.oci.image.manifest.v1+json"),
        (&["--format", "v2s2", "--dest-decompress"], "application/vnd.docker.distribution.manifest.v2+json"),
        (&["--dest-compress-format", "zstd"], "application/vnd.oci.image.manifest.v1+json"),
    ] {
        conex(&sandbox, &[&["copy"], words, &["oci:start:a", "dir:ours"]].concat());
        let manifest: Value =
            serde_json::from_slice(&std::fs::read(sandbox.work().join("ours/manifest.json")).unwrap())
                .unwrap();
        assert_eq!(manifest["mediaType"], media_type, "{words:?}");
        skopeo(&sandbox, &program, &["inspect", "--config", "dir:ours"]);
        conex(&sandbox, &["copy", "--preserve-digests", "dir:ours", "dir:same"]);
    }
    let refused = |words: &[&str]| sandbox.conex(words).current_dir(sandbox.work()).run().fails().stderr;
    let said = refused(&["copy", "--preserve-digests", "--format", "v2s2", "oci:start:a", "dir:x"]);
    assert!(said.contains("another form has another digest"), "{said}");
    let said = refused(&["copy", "--format", "v3", "oci:start:a", "dir:x"]);
    assert!(said.contains("Choose one of the supported formats"), "{said}");
    sandbox.finish();
}

#[test]
fn root_podman_loads_what_conex_saves_and_saves_what_conex_runs() {
    needs!(require::root());
    let program = needs!(require::program("podman"));
    let sandbox = Sandbox::new();
    sandbox.layout("start").add("a", &needs!(busybox::image()));
    let podman = |words: &[&str]| {
        let mut command = sandbox.command(&program);
        command.env("PATH", require::HOST_PATH.join(":")).current_dir(sandbox.work());
        for (option, place) in [("--root", "podman"), ("--runroot", "podman-run"), ("--tmpdir", "tmp/podman")]
        {
            command.arg(option).arg(sandbox.path(place));
        }
        command
            .args(["--events-backend", "file", "--storage-driver", "vfs"])
            .args(words)
            .run()
            .success()
            .stdout
    };
    for archive in ["docker-archive", "oci-archive"] {
        let file = format!("{archive}.tar");
        conex(&sandbox, &["copy", "oci:start:a", &format!("{archive}:{file}:localhost/{archive}:1")]);
        let loaded = podman(&["load", "--input", &file]);
        assert!(loaded.contains(&format!("localhost/{archive}:1")), "{loaded}");
        let saved = format!("saved-{file}");
        podman(&["save", "--format", archive, "--output", &saved, &format!("localhost/{archive}:1")]);
        conex(&sandbox, &["copy", &format!("{archive}:{saved}"), &format!("store:from-{archive}")]);
        let said = conex(&sandbox, &["run", "--rm", "--network", "none", &format!("from-{archive}")]);
        assert_eq!(said, busybox::MOTD);
    }
    sandbox.finish();
}

#[test]
fn root_a_running_docker_is_a_place_too() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let docker = needs!(Dockerd::start(&sandbox, &Setup::default()));
    sandbox.layout("start").add("a", &needs!(busybox::image()));
    let host = format!("unix://{}", sandbox.path("docker.sock").display());
    let copy = |words: &[&str]| {
        sandbox.conex(["copy"]).args(words).env("DOCKER_HOST", &host).current_dir(sandbox.work()).run()
    };
    copy(&["oci:start:a", "docker-daemon:docker.io/mine:latest"]).success();
    assert_eq!(docker.says(&["run", "--rm", "--network", "none", "mine:latest"]), busybox::MOTD.trim_end());
    copy(&["docker-daemon:mine:latest", "docker-archive:docker.tar.gz"]).success();
    conex(&sandbox, &["copy", "docker-archive:docker.tar.gz", "oci:back:a"]);
    assert_eq!(
        identity(&conex_inspect(&sandbox, "oci:back:a")),
        identity(&conex_inspect(&sandbox, "oci:start:a"))
    );
    let id = docker.says(&["images", "--no-trunc", "--quiet", "mine"]);
    copy(&[&format!("docker-daemon:{id}"), "dir:by-id"]).success();
    copy(&["docker-daemon:not-there:1", "dir:x"])
        .exits(2)
        .says("docker-daemon:not-there:1: the docker daemon answers 404");
    let elsewhere = ["--src-daemon-host", "unix:///no/such.sock", "docker-daemon:mine:latest", "dir:x"];
    copy(&elsewhere).exits(1).says("connect to the docker daemon at /no/such.sock");
    docker.end();
    sandbox.finish();
}

#[test]
fn archives_have_several_names_and_go_through_pipes() {
    let program = needs!(require::program("skopeo"));
    let sandbox = Sandbox::new();
    sandbox.layout("start").add("a", &needs!(busybox::image()));
    let wanted = identity(&conex_inspect(&sandbox, "oci:start:a"));
    let names = ["--additional-tag", "localhost/b:2", "--additional-tag", "c"];
    conex(
        &sandbox,
        &[&["copy"], &names[..], &["oci:start:a", "docker-archive:named.tar:localhost/a:1"]].concat(),
    );
    let listed = skopeo(&sandbox, &program, &["list-tags", "docker-archive:named.tar"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["Tags"], serde_json::json!(["localhost/a:1", "localhost/b:2", "c:latest"]));
    for (transport, name) in [("docker-archive", "localhost/a:1"), ("oci-archive", "a")] {
        let script = format!(
            "conex copy --quiet oci:start:a {transport}:/dev/stdout:{name} >plain.tar
             cat plain.tar | conex copy --quiet {transport}:/dev/stdin:{name} dir:{transport}
             mkfifo {transport}.fifo
             gzip <plain.tar >{transport}.fifo & conex copy --quiet {transport}:{transport}.fifo dir:packed; wait
             conex copy --quiet oci:start:a {transport}:{transport}.fifo:{name} & cat {transport}.fifo >{transport}.tar; wait"
        );
        let mut command = sandbox.command("sh");
        command.args(["-e", "-c", &script]).current_dir(sandbox.work()).run().success();
        let theirs = skopeo(
            &sandbox,
            &program,
            &["inspect", "--config", "--raw", &format!("{transport}:{transport}.tar")],
        );
        assert_eq!(identity(&theirs), wanted, "skopeo, {transport}");
        assert_eq!(identity(&conex_inspect(&sandbox, &format!("dir:{transport}"))), wanted, "{transport}");
    }
    sandbox.finish();
}

/// Files of a `dir:`, but for its version.
fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let entries =
        std::fs::read_dir(directory).expect("read a directory").map(|entry| entry.expect("an entry"));
    let mut files: Vec<_> = entries
        .map(|entry| {
            (
                entry.file_name().into_string().expect("a name"),
                std::fs::read(entry.path()).expect("read a file"),
            )
        })
        .filter(|(name, _)| name != "version")
        .collect();
    files.sort();
    files
}

#[test]
fn of_an_index_what_was_asked_for_is_copied() {
    let program = needs!(require::program("skopeo"));
    let sandbox = Sandbox::new();
    let image = |content: &str| Image::new(vec![Layer::new(&[tar::file("f", content)])]);
    let all = [("amd64", image("x")), ("arm64", image("a")), ("s390x", image("z"))];
    let layout = sandbox.layout("start");
    let index = layout.add_index("i", &all);
    let work = |name: &str| sandbox.work().join(name);

    conex(&sandbox, &["copy", "--multi-arch", "index-only", "oci:start:i", "dir:ours"]);
    skopeo(
        &sandbox,
        &program,
        &["copy", "--quiet", "--multi-arch", "index-only", "oci:start:i", "dir:theirs"],
    );
    assert_eq!(files(&work("ours")), files(&work("theirs")));

    // The index as it is, with the images for two of three platforms: a manifest, a configuration and a layer each.
    let two = ["copy", "--multi-arch", "linux/arm64,linux/amd64"];
    conex(&sandbox, &[&two[..], &["oci:start:i", "dir:some"]].concat());
    let some = files(&work("some"));
    assert_eq!(some.len(), 1 + 2 * 3);
    assert!(some.iter().any(|(name, bytes)| name == "manifest.json" && image::digest(bytes) == index));
    skopeo(&sandbox, &program, &["--override-arch", "arm64", "copy", "--quiet", "dir:some", "oci:arm:a"]);

    // Another index, without the third.
    conex(&sandbox, &[&two[..], &["--strip-removed-platforms", "oci:start:i", "oci:less:i"]].concat());
    skopeo(&sandbox, &program, &["copy", "--quiet", "--all", "oci:less:i", "dir:flat"]);
    let less = files(&work("flat"));
    assert_eq!(less.len(), 1 + 2 * 3);
    let (_, bytes) = less.iter().find(|(name, _)| name == "manifest.json").unwrap();
    let entries = &serde_json::from_slice::<Value>(bytes).unwrap()["manifests"];
    let architectures: Vec<_> =
        entries.as_array().unwrap().iter().map(|entry| &entry["platform"]["architecture"]).collect();
    assert_eq!(architectures, ["amd64", "arm64"]);

    let refused = |words: &[&str]| {
        let words = [&["copy"], words, &["oci:start:i", "dir:x"]].concat();
        sandbox.conex(words).current_dir(sandbox.work()).run().fails().stderr
    };
    let said = refused(&["--multi-arch", "linux/arm64,linux/riscv64"]);
    assert!(said.contains("the index has no image for linux/riscv64"), "{said}");
    let said = refused(&["--multi-arch", "linux/arm64", "--format", "v2s2"]);
    assert!(said.contains("it would be another index"), "{said}");
    let said = refused(&["--multi-arch", "linux/arm64", "--strip-removed-platforms", "--preserve-digests"]);
    assert!(said.contains("has another digest"), "{said}");
    let said = refused(&["--multi-arch", "some"]);
    assert!(said.contains("there are system, all, index-only, and platforms"), "{said}");
    sandbox.finish();
}
