// SPDX-License-Identifier: Apache-2.0
//! How long a container takes to start and end, and what the parts of its life cost.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use conex_testkit::bundle::Bundle;
use conex_testkit::require;

use super::Bench;
use super::sample::Contestant;
use super::table::compare;

pub fn main(bench: &Bench) -> Result<()> {
    let rounds = if bench.rounds == 0 { 30 } else { bench.rounds };
    let bundle = |name: &str, words: &[&str]| -> Result<Bundle> {
        Bundle::create(&bench.sandbox.path(name), words).map_err(anyhow::Error::msg)
    };
    let truth = bundle("true", &["/bin/true"])?;
    let sleep = bundle("sleep", &["/bin/sleep", "1000"])?;

    let seven = bundle("seven", &["/bin/sh", "-c", "exit 7"])?;
    for (name, program) in runtimes(bench) {
        let code = run(bench, name, program, &seven.path).code()?;
        ensure!(code == 7, "{name} does not run containers here: exit code {code}, not 7");
    }

    let mut runs: Vec<Contestant<'_>> =
        runtimes(bench).into_iter().map(|(name, program)| run(bench, name, program, &truth.path)).collect();
    runs.extend(floors(bench, &truth.path));
    compare("run /bin/true: five namespaces, seven mounts", &bench.bill, rounds, &runs)?;

    let lives = runtimes(bench).into_iter().map(|(name, program)| life(bench, name, program, &sleep.path));
    let lives: Vec<Contestant<'_>> = lives.collect();
    compare("create, start, state, delete --force: four processes through sh", &bench.bill, rounds, &lives)
}

/// The runtimes there are on this host, our own first.
fn runtimes(bench: &Bench) -> Vec<(&'static str, std::path::PathBuf)> {
    let peers = ["runc", "crun"].map(|name| (name, require::program(name)));
    let own = ("conex-runtime", bench.sandbox.programs_directory().join("conex-runtime"));
    let there = peers.into_iter().filter_map(|(name, found)| Some((name, found.ok()?)));
    std::iter::once(own).chain(there).collect()
}

fn run<'a>(
    bench: &'a Bench,
    name: &'static str,
    program: std::path::PathBuf,
    bundle: &Path,
) -> Contestant<'a> {
    let bundle = bundle.to_owned();
    let command = move |round: usize| {
        let mut command = bench.sandbox.command(&program);
        command.arg("--root").arg(bench.sandbox.path(format!("state-{name}")));
        command.args(["run", "--bundle"]).arg(&bundle).arg(bench.sandbox.id(&format!("{name}-{round}")));
        command
    };
    Contestant { name, command: Box::new(command), after: Box::new(|_| ()) }
}

fn life<'a>(
    bench: &'a Bench,
    name: &'static str,
    program: std::path::PathBuf,
    bundle: &Path,
) -> Contestant<'a> {
    const LIFE: &str = r#"
        exec >/dev/null 2>/dev/null </dev/null
        "$1" --root "$2" create --bundle "$3" "$4" && "$1" --root "$2" start "$4" &&
        "$1" --root "$2" state "$4" && "$1" --root "$2" delete --force "$4""#;
    let bundle = bundle.to_owned();
    let command = move |round: usize| {
        let mut command = bench.sandbox.command("sh");
        command.args(["-c", LIFE, "sh"]).arg(&program).arg(bench.sandbox.path(format!("state-{name}")));
        command.arg(&bundle).arg(bench.sandbox.id(&format!("{name}-life-{round}")));
        command
    };
    Contestant { name, command: Box::new(command), after: Box::new(|_| ()) }
}

/// What nobody can be faster than: the same namespaces by unshare(1) without a single mount, and a bare start.
fn floors<'a>(bench: &'a Bench, bundle: &Path) -> Vec<Contestant<'a>> {
    let busybox = bundle.join("rootfs/bin/busybox");
    let bare = busybox.clone();
    let rootfs = bundle.join("rootfs");
    let namespaces = move |_| -> Command {
        let mut command = bench.sandbox.command("unshare");
        command.args(["--fork", "--pid", "--net", "--ipc", "--uts", "--mount", "--root"]).arg(&rootfs);
        command.arg("/bin/true");
        command
    };
    let start = move |_| -> Command {
        let mut command = bench.sandbox.command(&bare);
        command.arg("true");
        command
    };
    vec![
        Contestant {
            name: "floor: unshare(1), chroot, no mounts",
            command: Box::new(namespaces),
            after: Box::new(|_| ()),
        },
        Contestant { name: "floor: the program itself", command: Box::new(start), after: Box::new(|_| ()) },
    ]
}
