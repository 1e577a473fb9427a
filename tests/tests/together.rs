// SPDX-License-Identifier: Apache-2.0
//! Many processes at one store: nothing is fetched twice, nothing is lost, and nobody sees half an image. What a
//! registry was asked for is read from its access log.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use conex_testkit::server::Registry;
use conex_testkit::{Image, Layer, Output, Run, Sandbox, effort, needs, require, tar};

/// Layers that take a moment to unpack; those of equal `kind` are the same in all images.
fn layer(kind: &str) -> Layer {
    let file = |n: usize| tar::file(&format!("{kind}/{n}"), format!("{kind} {n} ").repeat(800));
    Layer::new(&std::iter::once(tar::directory(kind)).chain((0..200).map(file)).collect::<Vec<_>>())
}

/// A registry with the images that `kinds` name, which share their lowest layer.
fn registry(sandbox: &Sandbox, kinds: &[&str]) -> Result<Registry, String> {
    let registry = Registry::debian(sandbox)?;
    sandbox.map_registries(&[], &registry.address);
    for kind in kinds {
        let busybox = Layer::new(&[tar::directory("bin"), sandbox_shell()?]);
        let image = Image::new(vec![busybox, layer("shared"), layer(kind)]).cmd(&["/bin/true"]);
        sandbox.layout("pushed").add(kind, &image);
        let target = format!("docker://{}/{kind}:latest", registry.address);
        sandbox.conex(["copy", "--quiet", &format!("oci:pushed:{kind}"), &target]).run().success();
    }
    Ok(registry)
}

/// A static program that ends well.
fn sandbox_shell() -> Result<tar::Entry, String> {
    let program = std::fs::read(require::program("busybox")?).map_err(|error| error.to_string())?;
    Ok(tar::file("bin/true", program).mode(0o755))
}

/// How often each blob was asked for since the log had `from` lines.
fn fetches(registry: &Registry, from: usize) -> Vec<String> {
    let log = registry.output();
    let mut blobs: Vec<String> = log
        .lines()
        .skip(from)
        .filter_map(|line| line.split_once("\"GET /v2/")?.1.split_once("/blobs/"))
        .map(|(_, rest)| rest.split_whitespace().next().unwrap_or_default().to_owned())
        .collect();
    blobs.sort();
    blobs
}

#[test]
fn root_many_who_pull_the_same_fetch_it_once() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let registry = needs!(registry(&sandbox, &["one"]));
    let name = format!("{}/one:latest", registry.address);
    let before = registry.output().lines().count();
    let pull = |_| sandbox.conex(["pull", "--quiet", &name]).background();
    let pullers: Vec<_> = (0..32).map(pull).collect();
    for mut puller in pullers {
        let status = puller.wait(conex_testkit::run::LIMIT).expect("pulls end");
        assert!(status.success(), "{}", puller.output());
    }
    let fetched = fetches(&registry, before);
    let mut once = fetched.clone();
    once.dedup();
    assert_eq!(once.len(), 4, "three layers and a configuration: {fetched:?}");
    assert_eq!(fetched, once, "each is fetched by one of them");
    sandbox.conex(["run", "--rm", &name]).run().success();
    sandbox.conex(["system", "fsck"]).run().success();
    drop(registry);
    sandbox.finish();
}

/// What may go wrong where others remove what one uses: it is told, as this.
fn is_gone(output: &Output) -> bool {
    ["no image", "is used by", "in use", "another process is using"]
        .iter()
        .any(|why| output.stderr.contains(why))
}

#[test]
fn root_pulls_runs_and_removals_leave_a_whole_store() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let kinds = ["one", "two", "three"];
    let registry = needs!(registry(&sandbox, &kinds));
    let (rounds, done) = (effort::rounds(6, 200), AtomicUsize::new(0));
    thread::scope(|scope| {
        for worker in 0..4 {
            let (sandbox, registry, done) = (&sandbox, &registry, &done);
            scope.spawn(move || {
                for round in 0..rounds {
                    let name =
                        format!("{}/{}:latest", registry.address, kinds[(worker + round) % kinds.len()]);
                    let words: &[&str] = match (worker * 7 + round * 3) % 5 {
                        0 | 1 => &["pull", "--quiet", &name],
                        2 => &["run", "--rm", &name],
                        3 => &["rmi", &name],
                        _ => &["system", "prune"],
                    };
                    let output = sandbox.conex(words).run();
                    let fine = output.status.success() || (words[0] != "pull" && is_gone(&output));
                    assert!(fine, "{words:?}\n{output}");
                    done.fetch_add(usize::from(output.status.success()), Ordering::Relaxed);
                }
            });
        }
    });
    assert!(done.into_inner() >= rounds, "hardly anything was done");
    sandbox.conex(["system", "fsck"]).run().success();
    for kind in kinds {
        let name = format!("{}/{kind}:latest", registry.address);
        sandbox.conex(["pull", "--quiet", &name]).run().success();
        sandbox.conex(["run", "--rm", &name]).run().success();
    }
    sandbox.conex(["system", "fsck"]).run().success();
    drop(registry);
    sandbox.finish();
}
