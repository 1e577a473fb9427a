// SPDX-License-Identifier: Apache-2.0
//! What does not depend on the clock: system calls of one `run`, and the size of each program.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use conex_testkit::require;

use super::Race;
use super::scenarios::NAMESPACES;
use crate::shell;

pub(super) fn main(race: &Race<'_>) -> Result<()> {
    println!("\n### system calls of one run, and size ({})\n", race.bench.hierarchy);
    println!("| | system calls | program, bytes |\n|---|---|---|");
    let rows = race.peers.iter().map(|peer| {
        let mut run = race.command(peer, &["run", "--bundle"]);
        run.arg(&race.truth.path).arg(race.bench.sandbox.id("counted"));
        (peer.name, peer.program.as_path(), run)
    });
    let floors = [("floor with a cgroup", true), ("floor", false)].map(|(name, with_cgroup)| {
        (name, race.floor.as_path(), race.floor_command(&NAMESPACES, with_cgroup))
    });
    for (name, program, command) in rows.chain(floors) {
        let calls =
            system_calls(race, &command).map_or_else(|why| format!("{why:#}"), |count| count.to_string());
        println!("| {name} | {calls} | {} |", size(program)?);
    }
    Ok(())
}

fn size(program: &Path) -> Result<u64> {
    Ok(std::fs::metadata(program)?.len())
}

/// By strace(1), children included.
fn system_calls(race: &Race<'_>, command: &Command) -> Result<u64> {
    let strace = require::program("strace").map_err(anyhow::Error::msg)?;
    let summary = race.bench.sandbox.path("work/strace");
    let mut traced = race.bench.sandbox.command(strace);
    traced.args(["-f", "-c", "-o"]).arg(&summary).arg(command.get_program()).args(command.get_args());
    shell::capture(&mut traced)?;
    let text = std::fs::read_to_string(&summary)?;
    // `100.00    0.001565           4       354        26 total`
    let total = text.lines().find(|line| line.ends_with(" total")).context("no summary")?;
    total.split_whitespace().nth(3).and_then(|count| count.parse().ok()).context("a summary without a count")
}
