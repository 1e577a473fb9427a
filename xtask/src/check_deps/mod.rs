// SPDX-License-Identifier: Apache-2.0
//! The borders between rooms, checked from `cargo metadata` and the sources, without a network.
//!
//! * arrows between the workspace's crates, as ARCHITECTURE.md draws them ([`rules::ARROWS`]);
//! * the runtime's whitelist, through all its dependencies ([`rules::RUNTIME`]);
//! * every outside crate that a room names stands in the workspace's list, with its reason;
//! * bans, duplicates and licences, from `deny.toml`, in the words of cargo-deny;
//! * `forbid(unsafe_code)` in each crate but `sys`; no path-based `std::fs` in `image` and `runtime`.

mod deny;
mod graph;
mod rules;
mod sources;

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use crate::shell;
use deny::Deny;
use graph::Graph;

pub fn main() -> Result<()> {
    let violations = violations()?;
    if violations.is_empty() {
        println!("borders, licences, bans and duplicates: as drawn");
        return Ok(());
    }
    bail!("{} violations\n  {}", violations.len(), violations.join("\n  "));
}

/// Everything that is not as it should be, in words.
pub fn violations() -> Result<Vec<String>> {
    let mut cargo = shell::cargo();
    cargo.args(["metadata", "--offline", "--locked", "--format-version", "1"]);
    cargo.args(["--filter-platform", "x86_64-unknown-linux-musl"]);
    let metadata = serde_json::from_str(&shell::capture(&mut cargo)?)?;
    let graph = Graph::of_metadata(&metadata)?;
    let deny = Deny::parse(&std::fs::read_to_string(shell::root().join("deny.toml"))?)?;
    let manifest = std::fs::read_to_string(shell::root().join("Cargo.toml"))?;
    let mut found =
        rules::check(&graph, &deny, &rules::listed_dependencies(&manifest), &linked_into_runtime()?);
    found.extend(sources::check(&shell::root())?);
    Ok(found)
}

/// What is linked into `conex-runtime` when it is built by itself, as it is shipped. The metadata cannot tell: it
/// unites the features that all members ask of a crate.
fn linked_into_runtime() -> Result<BTreeSet<String>> {
    let mut cargo = shell::cargo();
    cargo.args(["tree", "--offline", "--locked", "--package", "conex-runtime", "--edges", "normal"]);
    cargo.args(["--target", "x86_64-unknown-linux-musl", "--prefix", "none", "--format", "{p}"]);
    let listed = shell::capture(&mut cargo)?;
    Ok(listed.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}
