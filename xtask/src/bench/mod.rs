// SPDX-License-Identifier: Apache-2.0
//! Tables against peers and floors: medians and ratios of one run, in which the contestants take turns.
//!
//! Nothing is asserted and nothing is kept: absolute figures do not carry over to another day or machine, ratios
//! within one run do. What the tables meant when they were last looked at is in docs/performance.md.

mod pull;
mod sample;
mod start;
mod table;

use anyhow::{Result, bail};
use conex_testkit::{Sandbox, binaries};

use crate::{dist, host, shell};
use sample::Bill;

/// Everything that contestants share.
struct Bench {
    sandbox: Sandbox,
    bill: Bill,
    rounds: usize,
}

pub fn main(words: &[String]) -> Result<()> {
    let (what, rounds) = match words {
        [what] => (what.as_str(), None),
        [what, option, rounds] if option == "--rounds" => (what.as_str(), Some(rounds.parse()?)),
        _ => bail!("bench takes start or pull, and --rounds N"),
    };
    let run = match what {
        "start" => start::main,
        "pull" => pull::main,
        other => bail!("no bench {other:?}; there are start and pull"),
    };
    if own_namespace(words)? {
        return Ok(());
    }
    shell::stage("what measuring needs", || host::install(&[host::BUILD, host::DEMO, host::TEST]))?;
    let programs = dist::build("dist")?;
    let bill = Bill::new(&dist::build_one("conex-bench", "conex-bill", "dist")?);
    let sandbox = Sandbox::new();
    binaries::install(&sandbox.programs_directory(), &programs.conex, &programs.runtime);
    let bench = Bench { sandbox, bill, rounds: rounds.unwrap_or(0) };
    run(&bench)?;
    bench.sandbox.remove();
    Ok(())
}

/// Goes on in a private mount namespace in which every contestant works: crun refuses a hybrid host, where a v2
/// mount with controllers stands beside v1. Whether it has done so, and the caller is finished.
fn own_namespace(words: &[String]) -> Result<bool> {
    const INSIDE: &str = "CONEX_BENCH_INSIDE";
    if std::env::var_os(INSIDE).is_some() || conex_testkit::require::root().is_err() {
        return Ok(false);
    }
    let script = "mountpoint -q /sys/fs/cgroup/unified && umount /sys/fs/cgroup/unified; exec \"$@\"";
    let mut command = shell::program("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
    command.arg(std::env::current_exe()?).arg("bench").args(words).env(INSIDE, "1");
    shell::run(&mut command)?;
    Ok(true)
}
