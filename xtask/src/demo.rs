// SPDX-License-Identifier: Apache-2.0
//! The main job, from a fresh clone: a registry, an image in it, and a container that runs from it by name.
//!
//! Everything happens in a directory of its own and on loopback, and nothing of it is left. With `--image`, the
//! image comes from wherever its name says.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use conex_testkit::server::Registry;
use conex_testkit::{Output, Run, Sandbox, binaries, busybox, leak};

use crate::{dist, host, shell};

/// A real registry may be far away.
const LIMIT: Duration = Duration::from_secs(600);

pub fn main(words: &[String]) -> Result<()> {
    let image = match words {
        [] => None,
        [option, name] if option == "--image" => Some(name.clone()),
        [option] => match option.strip_prefix("--image=") {
            Some(name) => Some(name.to_owned()),
            None => bail!("no option {option:?}; see cargo xtask help"),
        },
        _ => bail!("demo takes --image REF and nothing else"),
    };
    shell::stage("what building and running needs", || host::install(&[host::BUILD, host::DEMO]))?;
    let programs = dist::build()?;
    let sandbox = Sandbox::new();
    binaries::install(&sandbox.programs_directory(), &programs.conex, &programs.runtime);
    let shown = match image {
        Some(name) => from_afar(&sandbox, &name),
        None => from_loopback(&sandbox),
    };
    let cleaned = clean(sandbox);
    shown.and(cleaned)
}

/// From an image that is made here, through a registry that is started here.
fn from_loopback(sandbox: &Sandbox) -> Result<()> {
    let start = Instant::now();
    let registry = Registry::conex(sandbox);
    sandbox.map_registries(&[], &registry.address);
    say("registry", &format!("conex registry serve at {}", registry.address), start);

    let start = Instant::now();
    let image = busybox::image().map_err(anyhow::Error::msg)?;
    let layout = sandbox.layout("busybox");
    let digest = layout.add("latest", &image);
    let [below, above] = &image.layers[..] else { bail!("the small image has two layers") };
    let what = format!(
        "{digest}\n      layer 1: {} bytes, static busybox and its applets\n      layer 2: {} bytes, \
         takes /{} away and brings /etc/motd",
        below.size,
        above.size,
        busybox::REMOVED
    );
    say("image", &what, start);

    let name = format!("{}/demo/busybox:latest", registry.address);
    let bytes = image.blob_bytes();
    step(
        &format!("push {bytes} bytes"),
        sandbox.conex(["copy", "oci:busybox:latest", &format!("docker://{name}")]),
    )?;
    let script = format!("cat /etc/motd; id -u; test ! -e /{} && echo the whiteout holds", busybox::REMOVED);
    let title = format!("pull {bytes} bytes, verify, unpack, bundle, run");
    let ran = step(&title, sandbox.conex(["run", "--rm", &name, "sh", "-c", &script]))?;
    ensure!(ran.stdout.starts_with(busybox::MOTD) && ran.stdout.contains("the whiteout holds"), "{ran}");
    step("run again, from the store", sandbox.conex(["run", "--rm", &name]))?;
    step("images", sandbox.conex(["images"]))?;
    step("check the store", sandbox.conex(["system", "fsck"]))?;
    Ok(())
}

/// From a registry somewhere.
fn from_afar(sandbox: &Sandbox, name: &str) -> Result<()> {
    step("pull, verify, unpack", sandbox.conex(["pull", name]))?;
    step("run", sandbox.conex(["run", "--rm", name, "cat", "/etc/os-release"]))?;
    step("images", sandbox.conex(["images"]))?;
    step("check the store", sandbox.conex(["system", "fsck"]))?;
    Ok(())
}

/// Runs one command of the demonstration and shows it: what, its words, its output, its time.
fn step(title: &str, mut command: Command) -> Result<Output> {
    let start = Instant::now();
    let output = command.run_with(b"", LIMIT);
    let words: Vec<&str> = output.command.split(' ').skip(5).collect(); // the program, --root, --runroot
    say(title, &format!("$ conex {}", words.join(" ")), start);
    for line in output.stderr.lines().chain(output.stdout.lines()) {
        println!("      {line}");
    }
    ensure!(output.status.success(), "{output}");
    Ok(output)
}

fn say(title: &str, what: &str, start: Instant) {
    println!("==> {title} ({:.0} ms)\n    {what}", start.elapsed().as_secs_f64() * 1000.0);
}

fn clean(sandbox: Sandbox) -> Result<()> {
    let left = leak::left_behind(sandbox.tag(), &sandbox.path(""));
    sandbox.remove();
    ensure!(left.is_empty(), "left behind:\n  {}", left.join("\n  "));
    println!("==> left behind: nothing (no mount, cgroup, process or file)");
    Ok(())
}
