// SPDX-License-Identifier: Apache-2.0
//! One function per parser of hostile bytes. It must return whatever it is given: no panic, no hang, and the
//! property that its comment names.
//!
//! libFuzzer drives them with coverage (`fuzz_targets/`, a nightly toolchain). On stable, a test drives each over
//! its seeds and a fixed number of mutations of them ([`mutate`]): enough to notice that a target rots.
#![forbid(unsafe_code)]

pub mod mutate;

/// A file of the registry room that is no part of its interface, and needs nothing of the rest.
#[path = "../../crates/registry/src/auth/challenge.rs"]
mod challenge_parser;

use std::fs;
use std::io::Read;
use std::path::Path;

use conex_image::layer::apply::{Below, Form, Limits, Options, Owner, Tree};
use conex_image::layer::tar::Reader;
use conex_image::manifest::Document;
use conex_image::snapshot::Stack;
use conex_image::transfer::RawManifest;
use conex_runtime::plan::{Host, Request};
use conex_spec::Digest;
use conex_spec::distribution::Reference;
use conex_spec::image::Descriptor;
use conex_spec::runtime::{Config, Mount, Process, Resources, Seccomp, read, validate};
use conex_sys::path::Dir;
use sha2::Digest as _;

/// An archive: entries never hold more bytes than went in.
pub fn tar(bytes: &[u8]) {
    let bytes = mended(bytes);
    let mut reader = Reader::new(&bytes[..]);
    let mut total = 0;
    while let Ok(Some(_)) = reader.next_entry() {
        let mut data = Vec::new();
        if reader.data().take(1 << 20).read_to_end(&mut data).is_err() {
            break;
        }
        total += data.len();
        assert!(total <= bytes.len(), "more content than bytes");
    }
}

/// A Containerfile: what is wrong has a place in the file, and so has every instruction; a plan ends.
pub fn containerfile(bytes: &[u8]) {
    use conex_build::{containerfile, graph};
    let text = String::from_utf8_lossy(bytes);
    let lines = u32::try_from(text.lines().count().max(1)).unwrap_or(u32::MAX);
    let file = match containerfile::parse(&text) {
        Ok(file) => file,
        Err(mistake) => return assert!(mistake.span.line <= lines + 1, "{mistake}"),
    };
    for instruction in file.stages.iter().flat_map(|stage| &stage.instructions) {
        assert!(instruction.span.line <= instruction.span.end_line, "{instruction:?}");
    }
    let request = graph::Request {
        target: None,
        build_args: std::collections::BTreeMap::new(),
        target_platform: conex_spec::image::Platform::host(),
        build_platform: conex_spec::image::Platform::host(),
        contexts: std::collections::BTreeMap::new(),
    };
    let mut bases = graph::Bases::new();
    while let Ok(graph::Planned::Needs(base, _)) = graph::plan(&file, &request, &bases) {
        assert!(bases.insert(base, conex_spec::image::ImageConfig::default()).is_none(), "asked for twice");
    }
}

/// A word with variables: it has a value or a mistake, and one without special characters is itself.
pub fn expand(bytes: &[u8]) {
    use conex_build::containerfile::{Fuel, expand};
    let text = String::from_utf8_lossy(bytes);
    let fuel = Fuel::default();
    let pairs = [("a", "x/y.tar.gz"), ("b", ""), ("HOME", "/root")];
    let scope: std::collections::BTreeMap<String, String> =
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let value = expand::word(&text, &scope, expand::Reading { escape: '\\', quotes: true, fuel: &fuel });
    if !text.contains(['$', '\\', '"', '\'']) {
        assert_eq!(value.map(|value| value.text).as_deref(), Ok(text.as_ref()));
    }
}

/// An ignore file and a path, divided by the first NUL: a last line that is the path itself takes it back.
pub fn ignore(bytes: &[u8]) {
    use conex_build::ignore::Ignore;
    let text = String::from_utf8_lossy(bytes);
    let (patterns, path) = text.split_once('\0').unwrap_or((&text, "a/b"));
    let path: String = path.chars().filter(|c| c.is_alphanumeric() || *c == '/').collect();
    let path = path.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
    let Ok(ignore) = Ignore::parse(patterns) else { return };
    let _ = ignore.ignores(&path);
    if !path.is_empty() {
        let taken_back = Ignore::parse(&format!("{patterns}\n!{path}")).expect("one plain line more");
        assert!(!taken_back.ignores(&path), "{patterns:?} {path:?}");
    }
}

/// A layer on disk: nothing outside its directory changes.
pub fn layer(bytes: &[u8]) {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let (inside, outside) = (scratch.path().join("inside"), scratch.path().join("outside"));
    fs::create_dir(&inside).expect("make a directory");
    fs::create_dir(&outside).expect("make a directory");
    fs::write(outside.join("canary"), "sings").expect("write a file");
    let before = picture(scratch.path(), &outside);
    let dir = Dir::open_host(&inside).expect("open a directory");
    let options = Options {
        form: Form::Plain { keep_dirlinks: false },
        owner: Owner::Caller,
        unprivileged: true,
        limits: Limits { entries: 1000, bytes: 1 << 20, memory: 1 << 20 },
        digests: false,
    };
    if let Ok(mut tree) = Tree::new(dir, options, Below::Layers(Stack::new(Vec::new(), false))) {
        let _ = tree.apply(&mended(bytes)[..]);
    }
    assert!(before == picture(scratch.path(), &outside), "something outside has changed");
    // The layer may have made directories that even their owner cannot enter.
    let _ = Dir::open_host(scratch.path()).and_then(|dir| dir.remove_all("inside"));
}

/// An archive with the checksum of every header set right: nobody guesses checksums, and a reader that stops at the
/// first wrong one is not put to the test.
fn mended(archive: &[u8]) -> Vec<u8> {
    let mut archive = archive.to_vec();
    for block in archive.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    }
    archive
}

/// Names, modes, link counts and change times of what a layer must not reach.
fn picture(scratch: &Path, outside: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let names = [outside, &outside.join("canary")].map(|path| {
        let found = fs::symlink_metadata(path).expect("it is there");
        format!(
            "{} {:o} {} {} {}",
            path.display(),
            found.mode(),
            found.nlink(),
            found.ctime(),
            found.ctime_nsec()
        )
    });
    let count = fs::read_dir(scratch).expect("read a directory").count();
    names.into_iter().chain([count.to_string()]).collect()
}

/// A manifest or an index: what parses has children whose digests are digests.
pub fn manifest(bytes: &[u8]) {
    let hash: String = sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let digest: Digest = format!("sha256:{hash}").parse().expect("a digest made here");
    for media_type in [
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
        "text/plain",
    ] {
        let descriptor = Descriptor::new(media_type, digest.clone(), bytes.len() as u64);
        if let Ok(document) = Document::parse(&RawManifest { descriptor, bytes: bytes.to_vec() }) {
            for child in document.children() {
                assert!(child.digest.to_string().parse::<Digest>().is_ok(), "{child:?}");
            }
        }
    }
}

/// An image's name: what parses is the same name when written in full and parsed again.
pub fn reference(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(reference) = text.parse::<Reference>() {
        let canonical = reference.canonical();
        let again = canonical.parse::<Reference>().unwrap_or_else(|error| panic!("{canonical}: {error}"));
        assert_eq!(again.canonical(), canonical);
        assert!(!reference.name.contains(".."), "{canonical}");
    }
}

/// `WWW-Authenticate`.
pub fn challenge(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        for challenge in challenge_parser::parse(text) {
            assert_eq!(challenge.scheme, challenge.scheme.to_ascii_lowercase());
            let _ = challenge.parameter("realm");
        }
    }
}

/// `registries.conf`.
pub fn registries(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let mut registries = conex_registry::config::Registries::default();
        if registries.add(text).is_ok() {
            let reference: Reference = "docker.io/library/alpine:latest".parse().expect("a name");
            let _ = registries.endpoints(&reference);
        }
    }
}

/// `config.json`, through validation to a plan: valid stays valid, and a plan can be printed.
pub fn config(bytes: &[u8]) {
    let Ok(config) = read::<Config>(bytes, validate) else { return };
    assert!(validate(&config).is_empty(), "valid a moment ago");
    let request = Request { id: "fuzz".into(), bundle: "/bundle".into(), ..Request::default() };
    for rootless in [false, true] {
        let host = Host { rootless, in_user_namespace: rootless, last_capability: 40, ..Host::default() };
        if let Ok(plan) = conex_runtime::plan::plan(&config, &request, &host) {
            for step in &plan.steps {
                assert!(!step.to_string().is_empty(), "{step:?}");
            }
        }
    }
}

/// `process.json` of `exec`, in a container that is valid: nobody becomes root who was not asked to.
pub fn process(bytes: &[u8]) {
    use conex_runtime::plan::{Step, plan_exec};
    let Ok(process) = read::<Process>(bytes, Process::validate) else { return };
    assert!(process.validate().is_empty(), "valid a moment ago");
    let (request, host) = (Request::default(), Host { last_capability: 40, ..Host::default() });
    if let Ok(plan) = plan_exec(&Config::default(), &process, &request, &host) {
        for step in &plan.steps {
            assert!(!step.to_string().is_empty(), "{step:?}");
            if let Step::SetUser { uid, gid, .. } = step {
                assert_eq!((*uid, *gid), (process.user.uid, process.user.gid));
            }
        }
    }
}

/// `--resources` of `update`, through the plan of a container with them: what is valid can be planned and shown.
pub fn resources(bytes: &[u8]) {
    let Ok(resources) = read::<Resources>(bytes, Resources::validate) else { return };
    assert!(resources.validate().is_empty(), "valid a moment ago");
    let mut config = small();
    config.linux.get_or_insert_default().resources = Some(resources);
    planned(&config);
}

/// Four lines: type, destination, source and options of one mount. What is planned says its target.
pub fn mounts(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default().to_owned();
    let (kind, destination, source, options) = (line(), line(), line(), line());
    let options = options.split(',').map(str::to_owned).collect();
    let mut config = small();
    config.mounts.push(Mount { destination, source, kind, options, ..Mount::default() });
    if validate(&config).is_empty() {
        planned(&config);
    }
}

/// The smallest container that there can be.
fn small() -> Config {
    let text = br#"{"ociVersion":"1.3.0","root":{"path":"r"},"process":{"cwd":"/","args":["a"],"user":{"uid":0,"gid":0}},
                    "linux":{"namespaces":[{"type":"mount"},{"type":"pid"}]}}"#;
    read::<Config>(text, validate).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

fn planned(config: &Config) {
    let request = Request { id: "fuzz".into(), bundle: "/bundle".into(), ..Request::default() };
    let host = Host { last_capability: 40, ..Host::default() };
    if let Ok(plan) = conex_runtime::plan::plan(config, &request, &host) {
        assert!(!plan.to_string().is_empty());
        for step in &plan.steps {
            assert!(!step.to_string().is_empty(), "{step:?}");
        }
    }
}

/// `exec --user`: whole numbers or nothing, and nobody is root by half a reading.
pub fn user(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok((uid, gid)) = conex_runtime::parse_user(text) {
        let zeroes = |text: &str| text.trim_start_matches('0').to_owned();
        let (first, second) = text.split_once(':').map_or((text, None), |(one, two)| (one, Some(two)));
        let again = |number: u32| if number == 0 { String::new() } else { number.to_string() };
        assert_eq!(zeroes(first), again(uid), "{text:?}");
        assert_eq!(second.map(zeroes), gid.map(again), "{text:?}");
    }
}

/// A seccomp profile: what compiles fits into the kernel.
pub fn seccomp(bytes: &[u8]) {
    let Ok(profile) = serde_json::from_slice::<Seccomp>(bytes) else { return };
    if let Ok(filter) = conex_runtime::seccomp::compile(&profile) {
        assert!(filter.program.len() <= 4096, "{} instructions", filter.program.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drive(name: &str, target: fn(&[u8]), rounds: u32) {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
        let mut seeds: Vec<Vec<u8>> =
            fs::read_dir(directory).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
        seeds.sort();
        assert!(!seeds.is_empty(), "a target needs seeds");
        seeds.iter().for_each(|seed| target(seed));
        let mut source = mutate::Source::new(0x0c0d_e0c0);
        // Minutes instead of a second for each, for those who ask for it.
        let factor = if std::env::var_os("CONEX_FULL").is_some() { 300 } else { 1 };
        for _ in 0..rounds * factor {
            target(&mutate::mutate(&mut source, &seeds));
        }
    }

    #[test]
    fn smoke_tar() {
        drive("tar", tar, 20_000);
    }

    #[test]
    fn smoke_layer() {
        drive("tar", layer, 2_000);
    }

    #[test]
    fn smoke_manifest() {
        drive("manifest", manifest, 10_000);
    }

    #[test]
    fn smoke_containerfile() {
        drive("containerfile", containerfile, 3_000);
    }

    #[test]
    fn smoke_expand() {
        drive("expand", expand, 20_000);
    }

    #[test]
    fn smoke_ignore() {
        drive("ignore", ignore, 20_000);
    }

    #[test]
    fn smoke_reference() {
        drive("reference", reference, 50_000);
    }

    #[test]
    fn smoke_challenge() {
        drive("challenge", challenge, 50_000);
    }

    #[test]
    fn smoke_registries() {
        drive("registries", registries, 20_000);
    }

    #[test]
    fn smoke_config() {
        drive("config", config, 5_000);
    }

    #[test]
    fn smoke_process() {
        drive("process", process, 10_000);
    }

    #[test]
    fn smoke_resources() {
        drive("resources", resources, 10_000);
    }

    #[test]
    fn smoke_mounts() {
        drive("mounts", mounts, 20_000);
    }

    #[test]
    fn smoke_user() {
        drive("user", user, 50_000);
    }

    #[test]
    fn smoke_seccomp() {
        drive("seccomp", seccomp, 5_000);
    }
}
