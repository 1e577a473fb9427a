// SPDX-License-Identifier: Apache-2.0
//! The resolved dependency graph, as `cargo metadata --format-version 1` prints it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::Value;

/// One package of the graph.
#[derive(Debug, Default)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub licence: String,
    pub member: bool,
    /// Ids of what it needs to run.
    pub normal: Vec<String>,
    /// Ids of what its tests and build script need as well.
    pub other: Vec<String>,
}

/// Packages by cargo's id.
#[derive(Debug, Default)]
pub struct Graph {
    pub packages: BTreeMap<String, Package>,
}

impl Graph {
    pub fn of_metadata(metadata: &Value) -> Result<Self> {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let members: BTreeSet<String> = list(&metadata["workspace_members"]).iter().map(text).collect();
        let described: BTreeMap<String, Value> =
            list(&metadata["packages"]).into_iter().map(|package| (text(&package["id"]), package)).collect();
        let mut graph = Self::default();
        for node in list(&metadata["resolve"]["nodes"]) {
            let id = text(&node["id"]);
            let about = described.get(&id).with_context(|| format!("cargo metadata: no package {id}"))?;
            let mut package = Package {
                name: text(&about["name"]),
                version: text(&about["version"]),
                licence: text(&about["license"]),
                member: members.contains(&id),
                ..Package::default()
            };
            for dependency in list(&node["deps"]) {
                let kinds = list(&dependency["dep_kinds"]);
                let normal = kinds.iter().any(|kind| kind["kind"].is_null());
                let side = if normal { &mut package.normal } else { &mut package.other };
                side.push(text(&dependency["pkg"]));
            }
            graph.packages.insert(id, package);
        }
        Ok(graph)
    }

    pub fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.values().filter(|package| package.member)
    }
}
