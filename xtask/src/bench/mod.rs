// SPDX-License-Identifier: Apache-2.0
//! Tables against peers and floors: medians and ratios of one run, in which the contestants take turns.
//!
//! Nothing is asserted and nothing is kept: absolute figures do not carry over to another day or machine, ratios
//! within one run do. What the tables meant when they were last looked at is in docs/performance.md.

mod build;
mod image;
mod machine;
mod pull;
mod registry;
mod runtime;
mod sample;
mod table;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use conex_testkit::{Sandbox, binaries};

use crate::{dist, host, shell};
use sample::Bill;

/// Everything that contestants share.
struct Bench {
    sandbox: Sandbox,
    /// What containers' control groups are like in here.
    hierarchy: String,
    bill: Bill,
    order: Order,
}

impl Bench {
    /// Puts both programs, as they are shipped, into the sandbox, and lets `race` have a tmpfs of its own.
    fn in_memory(&self, size: &str, race: impl FnOnce(PathBuf) -> Result<()>) -> Result<()> {
        let programs = dist::build()?;
        binaries::install(&self.sandbox.programs_directory(), &programs.conex, &programs.runtime);
        let memory = self.sandbox.path("memory");
        fs::create_dir(&memory)?;
        let option = format!("size={size}");
        shell::run(shell::program("mount").args(["-t", "tmpfs", "-o", &option, "tmpfs"]).arg(&memory))?;
        let raced = race(memory.clone());
        shell::run(shell::program("umount").arg("--lazy").arg(&memory))?;
        raced
    }
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Order {
    what: String,
    rounds: Option<usize>,
    /// Control groups by systemd.
    systemd: bool,
    /// Measure in a virtual machine.
    machine: bool,
}

pub fn main(words: &[String]) -> Result<()> {
    let order = parse(words)?;
    let run = match order.what.as_str() {
        "runtime" if order.machine => return machine::main(&order),
        "runtime" => runtime::main,
        "pull" if !order.machine && !order.systemd => pull::main,
        "image" if !order.machine && !order.systemd => image::main,
        "registry" if !order.machine && !order.systemd => registry::main,
        "build" if !order.machine && !order.systemd => build::main,
        "pull" | "image" | "registry" | "build" => {
            bail!("only bench runtime goes with --vm or --systemd-cgroup")
        }
        other => bail!("no bench {other:?}; there are runtime, pull, image, registry and build"),
    };
    let Some(hierarchy) = inside(words, &order)? else { return Ok(()) };
    if !machine::is_here() {
        shell::stage("what measuring needs", || host::install(&[host::BUILD, host::DEMO, host::TEST]))?;
    }
    let bill = Bill::new(&dist::build_one("conex-bench", "conex-bill", "dist")?);
    let sandbox = Sandbox::new();
    let bench = Bench { sandbox, hierarchy, bill, order };
    run(&bench)?;
    bench.sandbox.remove();
    Ok(())
}

fn parse(words: &[String]) -> Result<Order> {
    let mut words = words.iter();
    let what = words.next().context("bench takes runtime, pull, image or build")?.clone();
    let mut order = Order { what, ..Order::default() };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--rounds" => order.rounds = Some(words.next().context("--rounds needs a number")?.parse()?),
            "--systemd-cgroup" => order.systemd = true,
            "--vm" => order.machine = true,
            other => bail!("no option {other:?}; see cargo xtask help"),
        }
    }
    Ok(order)
}

/// Says in which hierarchy this process measures.
const INSIDE: &str = "CONEX_BENCH_INSIDE";

/// Goes on in private mount namespaces in which every contestant works: crun refuses a hybrid host, where a v2
/// mount with controllers stands beside v1. One has v1 alone; the other a v2 mount with what v1 has left of
/// controllers, which is slower by nothing. `None` for the caller, which has nothing left to do.
fn inside(words: &[String], order: &Order) -> Result<Option<String>> {
    const V1: &str = "! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified; exec \"$@\"";
    const V2: &str = "umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"";
    if let Ok(hierarchy) = std::env::var(INSIDE) {
        return Ok(Some(hierarchy));
    }
    if conex_testkit::require::root().is_err() {
        return Ok(Some("the host's own cgroups".into()));
    }
    let pure = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let rounds: &[_] = match (pure, order.what.as_str()) {
        (true, _) if order.systemd => &[("cgroup v2, systemd", "exec \"$@\"")],
        (true, _) => &[("cgroup v2", "exec \"$@\"")],
        (false, "runtime") if !order.systemd => &[("cgroup v1", V1), ("cgroup v2", V2)],
        (false, _) => &[("cgroup v1", V1)],
    };
    for (hierarchy, script) in rounds {
        let mut command = shell::program("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
        command.arg(std::env::current_exe()?).arg("bench").args(words).env(INSIDE, hierarchy);
        shell::run(&mut command)?;
    }
    Ok(None)
}
