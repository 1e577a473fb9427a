// SPDX-License-Identifier: Apache-2.0
//! Tables against peers and floors: medians and ratios of one run, in which the contestants take turns.
//!
//! Nothing is asserted and nothing is kept: absolute figures do not carry over to another day or machine, ratios
//! within one run do. What the tables meant when they were last looked at is in docs/performance.md.

mod pull;
mod runtime;
mod sample;
mod table;

use anyhow::{Result, bail};
use conex_testkit::{Sandbox, binaries};

use crate::{dist, host, shell};
use sample::Bill;

/// Everything that contestants share.
struct Bench {
    sandbox: Sandbox,
    /// What containers' control groups are like in here.
    hierarchy: String,
    bill: Bill,
    rounds: usize,
}

pub fn main(words: &[String]) -> Result<()> {
    let (what, rounds) = match words {
        [what] => (what.as_str(), None),
        [what, option, rounds] if option == "--rounds" => (what.as_str(), Some(rounds.parse()?)),
        _ => bail!("bench takes runtime or pull, and --rounds N"),
    };
    let run = match what {
        "runtime" => runtime::main,
        "pull" => pull::main,
        other => bail!("no bench {other:?}; there are runtime and pull"),
    };
    let Some(hierarchy) = inside(words, what == "runtime")? else { return Ok(()) };
    shell::stage("what measuring needs", || host::install(&[host::BUILD, host::DEMO, host::TEST]))?;
    let programs = dist::build()?;
    let bill = Bill::new(&dist::build_one("conex-bench", "conex-bill", "dist")?);
    let sandbox = Sandbox::new();
    binaries::install(&sandbox.programs_directory(), &programs.conex, &programs.runtime);
    let bench = Bench { sandbox, hierarchy, bill, rounds: rounds.unwrap_or(0) };
    run(&bench)?;
    bench.sandbox.remove();
    Ok(())
}

/// Says in which hierarchy this process measures.
const INSIDE: &str = "CONEX_BENCH_INSIDE";

/// Goes on in private mount namespaces in which every contestant works: crun refuses a hybrid host, where a v2
/// mount with controllers stands beside v1. One has v1 alone; the other a v2 mount with what v1 has left of
/// controllers, which is slower by nothing. `None` for the caller, which has nothing left to do.
fn inside(words: &[String], both: bool) -> Result<Option<String>> {
    const V1: &str = "! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified; exec \"$@\"";
    const V2: &str = "umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"";
    if let Ok(hierarchy) = std::env::var(INSIDE) {
        return Ok(Some(hierarchy));
    }
    if conex_testkit::require::root().is_err() {
        return Ok(Some("the host's own cgroups".into()));
    }
    let pure = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let rounds: &[_] = match (pure, both) {
        (true, _) => &[("cgroup v2", "exec \"$@\"")],
        (false, true) => &[("cgroup v1", V1), ("cgroup v2", V2)],
        (false, false) => &[("cgroup v1", V1)],
    };
    for (hierarchy, script) in rounds {
        let mut command = shell::program("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
        command.arg(std::env::current_exe()?).arg("bench").args(words).env(INSIDE, hierarchy);
        shell::run(&mut command)?;
    }
    Ok(None)
}
