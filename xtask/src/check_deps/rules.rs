// SPDX-License-Identifier: Apache-2.0
//! The rules, as tables, and their check against a graph.

use std::collections::{BTreeMap, BTreeSet};

use super::deny::Deny;
use super::graph::{Graph, Package};

/// Who may depend on whom, among our own crates, to run. Development crates may use any.
pub const ARROWS: &[(&str, &[&str])] = &[
    ("conex-spec", &[]),
    ("conex-sys", &[]),
    ("conex-runtime", &["conex-spec", "conex-sys"]),
    ("conex-image", &["conex-spec", "conex-sys"]),
    ("conex-registry", &["conex-image", "conex-spec"]),
    ("conex-serve", &["conex-image", "conex-spec"]),
    ("conex-engine", &["conex-image", "conex-registry", "conex-spec", "conex-sys"]),
    ("conex-build", &["conex-engine", "conex-image", "conex-spec", "conex-sys"]),
    ("conex", &["conex-build", "conex-engine", "conex-serve", "conex-spec"]),
];

/// Crates that never ship: the measuring, the fuzzing, the test kit, the black-box tests, this.
pub const DEVELOPMENT: &[&str] = &["conex-bench", "conex-fuzz", "conex-testkit", "conex-tests", "xtask"];

/// Everything that may be linked into `conex-runtime`, however deep.
pub const RUNTIME: &[&str] = &[
    "bitflags",
    "conex-runtime",
    "conex-spec",
    "conex-sys",
    "itoa",
    "lexopt",
    "libc",
    "linux-raw-sys",
    "memchr",
    "proc-macro2",
    "quote",
    "rustix",
    "serde",
    "serde_core",
    "serde_derive",
    "serde_json",
    "syn",
    "unicode-ident",
    "zmij",
];

/// Every violation of the tables and of `deny.toml`. `listed` are the crates with a reason in Cargo.toml, `linked`
/// those that end up in `conex-runtime`.
pub fn check(
    graph: &Graph,
    deny: &Deny,
    listed: &BTreeSet<String>,
    linked: &BTreeSet<String>,
) -> Vec<String> {
    let mut found = Vec::new();
    for member in graph.members() {
        found.extend(check_arrows(graph, member));
        found.extend(check_listed(graph, member, listed));
    }
    found.extend(check_runtime(linked));
    found.extend(check_bans(graph, deny));
    found.extend(check_duplicates(graph, deny));
    found.extend(check_licences(graph, deny));
    found
}

fn check_arrows(graph: &Graph, member: &Package) -> Vec<String> {
    if DEVELOPMENT.contains(&member.name.as_str()) {
        return Vec::new();
    }
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == member.name) else {
        return vec![format!("arrow: {} is no room that the map knows; see ARROWS in xtask", member.name)];
    };
    let own = member.normal.iter().map(|id| &graph.packages[id]).filter(|package| package.member);
    own.filter(|to| !allowed.contains(&to.name.as_str()))
        .map(|to| format!("arrow: {} must not depend on {}", member.name, to.name))
        .collect()
}

fn check_listed(graph: &Graph, member: &Package, listed: &BTreeSet<String>) -> Vec<String> {
    let direct = member.normal.iter().chain(&member.other).map(|id| &graph.packages[id]);
    direct
        .filter(|package| !package.member && !listed.contains(&package.name))
        .map(|package| {
            format!(
                "list: {} uses {}, which Cargo.toml does not give a reason for",
                member.name, package.name
            )
        })
        .collect()
}

fn check_runtime(linked: &BTreeSet<String>) -> Vec<String> {
    let strangers = linked.iter().filter(|name| !RUNTIME.contains(&name.as_str()));
    strangers.map(|name| format!("runtime: {name} is not on the whitelist of conex-runtime")).collect()
}

fn check_bans(graph: &Graph, deny: &Deny) -> Vec<String> {
    let banned = |package: &&Package| deny.banned.contains_key(&package.name);
    graph
        .packages
        .values()
        .filter(banned)
        .map(|package| format!("ban: {} {}: {}", package.name, package.version, deny.banned[&package.name]))
        .collect()
}

fn check_duplicates(graph: &Graph, deny: &Deny) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in graph.packages.values() {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    let duplicate =
        |(name, versions): &(&str, BTreeSet<&str>)| versions.len() > 1 && !deny.may_repeat.contains(*name);
    versions
        .into_iter()
        .filter(duplicate)
        .map(|(name, versions)| format!("duplicate: {name} in versions {versions:?}"))
        .collect()
}

fn check_licences(graph: &Graph, deny: &Deny) -> Vec<String> {
    let refused = |package: &&Package| !licence_allowed(&package.licence, &deny.licences);
    graph
        .packages
        .values()
        .filter(refused)
        .map(|package| {
            format!("licence: {} has {:?}, which deny.toml does not allow", package.name, package.licence)
        })
        .collect()
}

/// An SPDX expression, with `/` for OR as older crates write it. AND binds tighter than OR; WITH names an
/// exception to one licence, and the two together must be allowed or the licence by itself.
pub fn licence_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    !words.is_empty() && any_of(&mut rest, allowed) && rest.is_empty()
}

fn any_of(words: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut result = all_of(words, allowed);
    while let Some(("OR", rest)) = words.split_first().map(|(word, rest)| (*word, rest)) {
        *words = rest;
        result |= all_of(words, allowed);
    }
    result
}

fn all_of(words: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut result = one(words, allowed);
    while let Some(("AND", rest)) = words.split_first().map(|(word, rest)| (*word, rest)) {
        *words = rest;
        result &= one(words, allowed);
    }
    result
}

fn one(words: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    match **words {
        ["(", ref rest @ ..] => {
            *words = rest;
            let inner = any_of(words, allowed);
            *words = words.split_first().map_or(&[], |(_, rest)| rest);
            inner
        }
        [licence, "WITH", exception, ref rest @ ..] => {
            *words = rest;
            allowed.contains(&format!("{licence} WITH {exception}")) || allowed.contains(licence)
        }
        [licence, ref rest @ ..] => {
            *words = rest;
            allowed.contains(licence)
        }
        [] => false,
    }
}

/// The names under `[workspace.dependencies]`.
pub fn listed_dependencies(manifest: &str) -> BTreeSet<String> {
    manifest
        .lines()
        .skip_while(|line| line.trim() != "[workspace.dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.trim().to_owned())
        .collect()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
