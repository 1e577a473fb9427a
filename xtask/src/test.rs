// SPDX-License-Identifier: Apache-2.0
//! Everything a change must pass, and the count of it.
//!
//! Tests have tiers by the beginning of their names: none, `userns_`, `root_`, `vm_`. One that cannot run here
//! writes `SKIP name: reason` to the file that `CONEX_SKIP_LOG` names (or to its captured stderr) and passes;
//! it is counted as skipped, and as failed when its tier must run (`--must`).

mod cargo_test;
mod tally;

use std::fs;

use anyhow::{Result, bail, ensure};
use conex_testkit::{binaries, leak::Traces};

use crate::{check_deps, dist, host, shell, sizes};
use tally::Tally;

#[derive(Default)]
struct Options {
    must: Vec<String>,
    only: Option<String>,
    offline: bool,
}

impl Options {
    fn parse(words: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().cloned().ok_or_else(|| anyhow::anyhow!("{word} needs a value"));
            match word.as_str() {
                "--must" => options.must = value()?.split(',').map(str::to_owned).collect(),
                "--only" => options.only = Some(value()?),
                "--offline" => options.offline = true,
                other => bail!("no option {other:?}; see cargo xtask help"),
            }
        }
        let unknown = options.must.iter().find(|tier| !tally::TIERS.contains(&tier.as_str()));
        ensure!(unknown.is_none(), "no tier {unknown:?}; there are {:?}", tally::TIERS);
        Ok(options)
    }
}

pub fn main(words: &[String]) -> Result<()> {
    let options = Options::parse(words)?;
    let mut tally = Tally::default();
    if !options.offline {
        shell::stage("what tests need", || {
            host::install(&[host::BUILD, host::DEMO, host::TEST])?;
            host::machines()
        })?;
    }
    if options.only.is_none() {
        check(&mut tally, "fmt", || shell::run(shell::cargo().args(["fmt", "--all", "--check"])));
        check(&mut tally, "clippy", clippy);
        check(&mut tally, "check-deps", check_deps::main);
    }
    let programs = dist::build()?;
    let before = Traces::of_host();
    let mut tests = shell::cargo();
    tests.args(["test", "--workspace", "--no-fail-fast"]);
    tests.env(binaries::CONEX, &programs.conex).env(binaries::RUNTIME, &programs.runtime);
    shell::stage("tests", || cargo_test::run(&mut tests, options.only.as_deref(), &mut tally))?;
    if options.only.is_none() {
        check(&mut tally, "nothing is left on the host", || left_nothing(&before));
        sizes::main()?;
    }
    finish(&tally, &options.must)
}

fn check(tally: &mut Tally, name: &str, work: impl FnOnce() -> Result<()>) {
    match shell::stage(name, work) {
        Ok(()) => tally.passed += 1,
        Err(error) => {
            println!("    {error:#}");
            tally.failed.push(format!("{name} (see above)"));
        }
    }
}

fn clippy() -> Result<()> {
    let mut cargo = shell::cargo();
    shell::run(cargo.args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn left_nothing(before: &Traces) -> Result<()> {
    let left = before.new_since();
    ensure!(left.is_empty(), "left behind by the tests:\n      {}", left.join("\n      "));
    Ok(())
}

/// Prints skips, failures and the closing count; an error when something failed.
fn finish(tally: &Tally, must: &[String]) -> Result<()> {
    let slowest = tally.slowest(12).into_iter().map(|(seconds, name)| format!("{name} {seconds:.0} s"));
    println!("\nthe slowest: {}\n", slowest.collect::<Vec<_>>().join(", "));
    for (test, reason) in &tally.skipped {
        println!("SKIP {test}: {reason}");
    }
    let forbidden = tally.forbidden_skips(must);
    for name in &forbidden {
        println!("FAILED {name}: skipped, but its tier must run");
    }
    for name in &tally.failed {
        println!("FAILED {name}");
    }
    let failed = tally.failed.len() + forbidden.len();
    let skipped = tally.skipped.len() - forbidden.len();
    println!(
        "\n{} passed, {failed} failed, {skipped} skipped",
        tally.passed.saturating_sub(tally.skipped_as_passed())
    );
    ensure!(failed == 0, "the whole output is in {}", cargo_test::log_path().display());
    let _ = fs::remove_file(cargo_test::skip_log());
    Ok(())
}
