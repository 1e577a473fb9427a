// SPDX-License-Identifier: Apache-2.0
//! Images through the command line: every place to every place, tables and templates, other tools' names.
#![allow(clippy::unwrap_used, reason = "stories are told outside of the #[test] functions, too")]

use std::time::Duration;

use conex_testkit::server::Registry;
use conex_testkit::{Image, Layer, Output, Run, Sandbox, busybox, needs, require, tar};
use serde_json::Value;

/// A sandbox, conex's own registry in it, and busybox pushed there as `base:1`.
struct Scene {
    sandbox: Sandbox,
    registry: Registry,
}

impl Scene {
    fn new() -> require::Requirement<Self> {
        let sandbox = Sandbox::new();
        sandbox.layout("busybox").add("latest", &busybox::image()?);
        let registry = Registry::conex(&sandbox);
        let scene = Self { sandbox, registry };
        scene.conex(&["copy", "oci:busybox:latest", &scene.remote("base:1")]);
        Ok(scene)
    }

    fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.registry.address)
    }

    fn remote(&self, rest: &str) -> String {
        format!("docker://{}", self.name(rest))
    }

    fn conex(&self, words: &[&str]) -> String {
        self.sandbox.conex(words).run().success().stdout
    }

    fn tool(&self, tool: &str, words: &[&str]) -> Output {
        run_tool(&self.sandbox, tool, words)
    }

    fn finish(self) {
        self.conex(&["system", "fsck"]);
        drop(self.registry);
        self.sandbox.finish();
    }
}

/// conex by another tool's name, with its store in the sandbox.
fn run_tool(sandbox: &Sandbox, tool: &str, words: &[&str]) -> Output {
    let mut command = sandbox.command(sandbox.programs().join(tool));
    command.env("CONEX_ROOT", sandbox.store()).env("CONEX_RUNROOT", sandbox.path("run/conex"));
    command.args(words).run()
}

#[test]
fn root_pull_list_tag_push_remove() {
    needs!(require::root());
    let scene = needs!(Scene::new());
    let base = scene.name("base:1");
    let pulled = scene.sandbox.conex(["pull", &base]).run().success();
    let id = pulled.stdout.trim_end().to_owned();
    assert!(id.len() == 64 && pulled.stderr.contains(&format!("{base}@sha256:")), "{pulled}");
    let again = scene.sandbox.conex(["pull", "--quiet", &base]).run().success();
    assert_eq!((again.stdout.trim_end(), again.stderr.as_str()), (id.as_str(), ""));

    let table = scene.conex(&["images"]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("REPOSITORY"), "{table}");
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>(),
        ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    );
    assert!(lines[1].starts_with(&scene.name("base")) && lines[1].contains(&id[..12]), "{table}");
    assert_eq!(scene.conex(&["images", "-q"]), format!("{}\n", &id[..12]));
    assert_eq!(scene.conex(&["images", "--format", "{{.Repository}}:{{.Tag}}"]), format!("{base}\n"));

    let copy = scene.name("mine:2");
    scene.conex(&["tag", &id[..8], &copy]);
    scene.conex(&["push", &copy]);
    let tags: Value = serde_json::from_str(&scene.conex(&["list-tags", &scene.remote("mine")])).unwrap();
    assert_eq!(tags["Tags"], serde_json::json!(["2"]));
    let inspected: Value = serde_json::from_str(&scene.conex(&["inspect", &copy])).unwrap();
    assert_eq!(inspected[0]["Id"], format!("sha256:{id}"));
    assert_eq!(inspected[0]["Config"]["Cmd"], serde_json::json!(["cat", "/etc/motd"]));

    let removed = scene.conex(&["rmi", &copy]);
    assert!(
        removed.contains("Untagged:") && !removed.contains("Deleted:"),
        "the other name still leads there"
    );
    assert!(scene.conex(&["rmi", &base]).contains(&format!("Deleted: sha256:{id}")));
    assert_eq!(scene.conex(&["images", "-q"]), "");
    let blobs = std::fs::read_dir(scene.sandbox.store().join("blobs/sha256")).unwrap().count();
    assert_eq!(blobs, 0, "what only that name led to is gone");
    scene.sandbox.conex(["rmi", &base]).run().exits(1).says("hint:");
    scene.finish();
}

/// Every name has its line, with the id and size of what it means, however many mean the same; so has what is no image.
#[test]
fn root_many_names_of_one_image() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let conex = |words: &[&str]| sandbox.conex(words).run().success().stdout;
    let layout = sandbox.layout("given");
    let images = [1_usize, 2].map(|count| {
        let layer = |at: usize| Layer::new(&[tar::file(&format!("file-{at}"), "x".repeat(at * 5000))]);
        let image = Image::new((0..count).map(layer).collect());
        layout.add(&format!("layers-{count}"), &image);
        conex(&[
            "copy",
            &format!("oci:given:layers-{count}"),
            &format!("store:localhost/one:layers-{count}"),
        ]);
        let id = conex(&["images", "-q", "--no-trunc", &format!("one:layers-{count}")]);
        let size: u64 = image.manifest()["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|layer| layer["size"].as_u64().unwrap())
            .sum();
        (id.trim_end().to_owned(), size + image.config_bytes().len() as u64)
    });
    assert_ne!(images[0], images[1]);
    let path = sandbox.store().join("index.json");
    let mut index: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let entries = index["manifests"].as_array_mut().unwrap();
    let given = entries.clone();
    for at in 0..200 {
        let mut entry = given[at % 2].clone();
        entry["annotations"]["org.opencontainers.image.ref.name"] = format!("localhost/many:{at}").into();
        if at >= 198 {
            entry["digest"] = format!("sha256:{}", "0".repeat(64)).into();
        }
        entries.push(entry);
    }
    std::fs::write(&path, index.to_string()).unwrap();
    let rows: Value =
        serde_json::from_str(&conex(&["images", "--no-trunc", "--format", "json", "many"])).unwrap();
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 200);
    for row in rows {
        let at: usize = row["Tag"].as_str().unwrap().parse().unwrap();
        let (id, size) = &images[at % 2];
        match at {
            0..198 => assert_eq!(
                (row["ID"].as_str(), row["Size"].as_str()),
                (Some(id.as_str()), Some(format!("{size}B").as_str()))
            ),
            _ => assert_eq!((row["ID"].as_str(), row["Size"].as_str()), (Some("<none>"), Some("N/A"))),
        }
    }
    let second = images[1].0.trim_start_matches("sha256:");
    let found: Value = serde_json::from_str(&conex(&["inspect", &second[..12]])).unwrap();
    assert_eq!(found[0]["Id"], images[1].0.as_str());
    sandbox.finish();
}

#[test]
fn root_many_images_are_remembered() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    // The store is a layout.
    let store = conex_testkit::image::Layout::create(&sandbox.store());
    let layer = Layer::new(&[tar::file("a", "a")]);
    for at in 0..80 {
        let image = Image::new(vec![layer.clone()]).cmd(&[&at.to_string()]);
        store.add(&format!("localhost/many/{at}:latest"), &image);
    }
    let list = || sandbox.conex(["images", "--no-trunc"]).run().success().stdout;
    let (first, memory) = (list(), sandbox.store().join("summaries"));
    assert_eq!(first.lines().count(), 81, "{first}");
    let remembered = std::fs::read_to_string(&memory).unwrap();
    assert_eq!(remembered.lines().count(), 81, "{remembered}");
    assert_eq!(list(), first, "by memory");
    // index.json alone says which names there are; whatever is wrong with the memory, the images say what they are.
    sandbox.conex(["rmi", "localhost/many/7:latest"]).run().success();
    let others: String = first.split_inclusive('\n').filter(|line| !line.contains("many/7 ")).collect();
    assert_eq!(list(), others);
    for broken in [remembered.replace("linux/", "plan9/"), remembered.replace(' ', ""), String::new()] {
        std::fs::write(&memory, broken).unwrap();
        assert_eq!(list(), others);
    }
    sandbox.finish();
}

/// SIGKILL in the middle of a pull: the store is whole, the next pull succeeds and leaves no rest.
#[test]
fn root_a_pull_is_killed() {
    needs!(require::root());
    let scene = needs!(Scene::new());
    // Bytes that do not compress, so that the pull takes its time.
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let layers = (0..3).map(|n| {
        let content: Vec<u8> = (0..4_000_000).map(|_| noise()).collect();
        Layer::new(&[tar::file(&format!("noise-{n}"), content)])
    });
    scene.sandbox.layout("big").add("latest", &Image::new(layers.collect()));
    let big = scene.name("big:1");
    scene.conex(&["copy", "oci:big:latest", &format!("docker://{big}")]);
    for step in 0..15 {
        let mut pull = scene.sandbox.conex(["pull", &big]).background();
        std::thread::sleep(Duration::from_millis(step * 15));
        pull.child.kill().unwrap();
        pull.child.wait().unwrap();
        scene.conex(&["system", "fsck"]);
    }
    scene.conex(&["pull", "--quiet", &big]);
    scene.conex(&["system", "prune"]);
    let ingest: Vec<_> = std::fs::read_dir(scene.sandbox.store().join("ingest")).unwrap().collect();
    assert!(ingest.is_empty(), "{ingest:?}");
    let report: Value = serde_json::from_str(&scene.conex(&["system", "fsck", "--json"])).unwrap();
    assert_eq!((&report["garbage"], &report["layers"]), (&serde_json::json!([]), &serde_json::json!(3)));
    scene.finish();
}

#[test]
fn root_an_image_in_use_stays() {
    needs!(require::root());
    let scene = needs!(Scene::new());
    let base = scene.name("base:1");
    scene.conex(&["create", "--name", "user", &base, "cat", "/etc/motd"]);
    scene.sandbox.conex(["rmi", &base]).run().exits(2).says("conex rm user");
    scene.conex(&["rmi", "-f", &base]);
    // The name is gone; what the container lives on is not.
    assert_eq!(scene.conex(&["start", "-a", "user"]), busybox::MOTD);
    scene.conex(&["rm", "user"]);
    scene.finish();
}

#[test]
fn skopeo_by_another_name() {
    let scene = needs!(Scene::new());
    let skopeo = |words: &[&str]| scene.tool("skopeo", words);
    let base = scene.remote("base:1");
    assert!(skopeo(&["--version"]).success().stdout.starts_with("skopeo version "));
    skopeo(&["copy", "--src-tls-verify=false", &base, "oci:copied:1"]).success();
    let same = skopeo(&["inspect", "--raw", "oci:copied:1"]).success().stdout;
    assert_eq!(skopeo(&["inspect", "--tls-verify=false", "--raw", &base]).success().stdout, same);
    let seen: Value = serde_json::from_str(&skopeo(&["inspect", &base]).success().stdout).unwrap();
    assert_eq!(seen["Name"], scene.name("base"));
    assert_eq!(seen["RepoTags"], serde_json::json!(["1"]));
    assert_eq!(seen["Layers"].as_array().unwrap().len(), 2);
    skopeo(&["copy", "oci:copied:1", "--dest-tls-verify=false", &scene.remote("copied:1")]).success();
    skopeo(&["copy", &scene.remote("nothing:1"), "oci:x:1"]).exits(2).says("nothing");
    skopeo(&["copy", "oci:not-there:1", "oci:x:1"]).exits(2);
    skopeo(&["copy", "busybox", "oci:x:1"]).exits(1).says("docker://busybox");
    skopeo(&["copy", "dir:x", "oci:x:1"]).exits(2).says("no manifest.json");
    skopeo(&["copy", "sif:x", "oci:x:1"]).exits(1).says("sif:");
    skopeo(&["layers", "a"]).exits(1).says("skopeo --help");
    drop(scene.registry);
    scene.sandbox.finish();
}

/// Debian's skopeo reads what ours wrote, and the other way round.
#[test]
fn layouts_agree_with_debians_skopeo() {
    let debian = needs!(require::program("skopeo"));
    let scene = needs!(Scene::new());
    scene.tool("skopeo", &["copy", &scene.remote("base:1"), "oci:ours:1"]).success();
    let theirs =
        |words: &[&str]| scene.sandbox.command(&debian).arg("--insecure-policy").args(words).run().success();
    theirs(&["copy", "oci:ours:1", "oci:theirs:1"]);
    scene.tool("skopeo", &["copy", "oci:theirs:1", "oci:back:1"]).success();
    let raw = |layout: &str| scene.tool("skopeo", &["inspect", "--raw", layout]).success().stdout;
    assert_eq!(raw("oci:ours:1"), theirs(&["inspect", "--raw", "oci:ours:1"]).stdout);
    assert_eq!(raw("oci:back:1"), raw("oci:theirs:1"));
    theirs(&["copy", "--src-tls-verify=false", &scene.remote("base:1"), "oci:pulled:1"]);
    assert_eq!(raw("oci:pulled:1"), raw("oci:ours:1"));
    drop(scene.registry);
    scene.sandbox.finish();
}

#[test]
fn umoci_by_another_name() {
    let scene = needs!(Scene::new());
    let umoci = |words: &[&str]| scene.tool("umoci", words);
    assert!(umoci(&["--version"]).success().stdout.starts_with("umoci version "));
    umoci(&["unpack", "--rootless", "--image", "busybox:latest", "bundle"]).success();
    for name in ["rootfs/bin/busybox", "config.json", "umoci.json"] {
        assert!(scene.sandbox.work().join("bundle").join(name).exists(), "{name}");
    }
    assert_eq!(umoci(&["ls", "--layout", "busybox"]).success().stdout, "latest\n");
    umoci(&["unpack", "--rootless", "--image", "busybox:latest", "bundle"]).exits(1);
    umoci(&["unpack", "--rootless", "--image", "busybox:nothing", "other"]).exits(1).says("nothing");
    umoci(&["repack", "--image", "busybox:x", "bundle"]).success();
    drop(scene.registry);
    scene.sandbox.finish();
}

#[test]
fn names_of_other_tools() {
    let sandbox = Sandbox::new();
    let tool = |tool: &str, words: &[&str]| run_tool(&sandbox, tool, words);
    assert!(tool("podman", &["--version"]).success().stdout.starts_with("podman version "));
    assert!(tool("docker", &["--version"]).success().stdout.starts_with("Docker version "));
    assert!(tool("podman", &["images"]).success().stdout.starts_with("REPOSITORY"));
    tool("buildah", &["manifest"]).exits(125).says("unrecognized subcommand");
    tool("oci-image-tool", &["create", "none", "x"]).exits(1).says("oci-image-tool:");
    sandbox.finish();
}

/// Every verb's help stands on its own, and the completions are a shell's.
#[test]
fn help_and_completions() {
    let sandbox = Sandbox::new();
    let help = sandbox.conex(["--help"]).run().success().stdout;
    for verb in
        ["run", "ps", "exec", "logs", "stop", "rm", "pull", "images", "copy", "bundle", "registry", "system"]
    {
        assert!(help.contains(&format!("\n  {verb}")), "{verb} is not in the help");
        sandbox.conex([verb, "--help"]).run().success();
    }
    assert!(sandbox.conex(["run", "--help"]).run().success().stdout.contains("Examples:"));
    let script = sandbox.conex(["completions", "bash"]).run().success().stdout;
    let mut check = sandbox.command("bash");
    check.arg("-n").run_with(script.as_bytes(), conex_testkit::run::LIMIT).success();
    sandbox.finish();
}

#[test]
fn what_the_host_offers() {
    let sandbox = Sandbox::new();
    let text = sandbox.conex(["system", "info"]).run().success().stdout;
    assert!(text.contains("KERNEL FEATURE") && text.contains("overlay"), "{text}");
    let info: Value =
        serde_json::from_str(&sandbox.conex(["system", "info", "--format", "json"]).run().success().stdout)
            .unwrap();
    assert!(info["RuntimeVersion"].as_str().unwrap().starts_with("conex-runtime version"), "{info}");
    let kernel = sandbox.conex(["system", "info", "--format", "{{.Kernel}}"]).run().success().stdout;
    assert_eq!(kernel, std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap());
    sandbox.finish();
}
