// SPDX-License-Identifier: Apache-2.0
//! config-linux.md, "Namespaces".

use serde::{Deserialize, Serialize};

use crate::null_is_default;

/// A namespace to create, or with a path, to join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    #[serde(rename = "type")]
    pub kind: NamespaceKind,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub path: String,
}

/// The eight kinds of namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamespaceKind {
    User,
    Ipc,
    Uts,
    Network,
    Pid,
    Mount,
    Cgroup,
    Time,
}

impl NamespaceKind {
    /// In the order in which they are joined: `user` first, because it may own the others.
    pub const ALL: [Self; 8] =
        [Self::User, Self::Ipc, Self::Uts, Self::Network, Self::Pid, Self::Mount, Self::Cgroup, Self::Time];

    /// The specification's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Network => "network",
            Self::Pid => "pid",
            Self::Mount => "mount",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
        }
    }

    /// The kernel's word: the file's name in `/proc/PID/ns`.
    pub fn proc_name(self) -> &'static str {
        match self {
            Self::Network => "net",
            Self::Mount => "mnt",
            other => other.name(),
        }
    }
}

impl std::fmt::Display for NamespaceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
