// SPDX-License-Identifier: Apache-2.0
//! config.md: the whole of a bundle's `config.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Hooks, Linux, Mount, Namespace, NamespaceKind, Process, is_default};
use crate::null_is_default;

/// What a bundle asks a runtime for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Config {
    pub oci_version: String,
    /// Absent when the configuration is only ever created, never started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub domainname: String,
    /// Mounted in this order.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_default")]
    pub hooks: Hooks,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linux: Option<Linux>,
}

/// The container's root filesystem.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Root {
    /// Absolute, or relative to the bundle.
    pub path: String,
    #[serde(skip_serializing_if = "is_default")]
    pub readonly: bool,
}

impl Config {
    /// The namespace of a kind that the container is to have of its own, be it a new or an existing one.
    pub fn namespace(&self, kind: NamespaceKind) -> Option<&Namespace> {
        self.linux.iter().flat_map(|linux| &linux.namespaces).find(|namespace| namespace.kind == kind)
    }

    /// Whether the container does not share the runtime's namespace of this kind.
    pub fn has_namespace(&self, kind: NamespaceKind) -> bool {
        self.namespace(kind).is_some()
    }

    /// Whether a new namespace of this kind is asked for.
    pub fn creates_namespace(&self, kind: NamespaceKind) -> bool {
        self.namespace(kind).is_some_and(|namespace| namespace.path.is_empty())
    }
}
