// SPDX-License-Identifier: Apache-2.0
//! config-linux.md: the `linux` object. Its larger parts have files of their own.

use std::collections::BTreeMap;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::{IdMapping, Namespace, Resources, Seccomp, is_default};
use crate::null_is_default;

/// Everything that only Linux knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Linux {
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub uid_mappings: Vec<IdMapping>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub gid_mappings: Vec<IdMapping>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctl: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub cgroups_path: String,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<Namespace>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// By the name on the host.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub net_devices: BTreeMap<String, NetDevice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<Seccomp>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_default")]
    pub rootfs_propagation: RootfsPropagation,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub masked_paths: Vec<String>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub readonly_paths: Vec<String>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub mount_label: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intel_rdt: Option<IntelRdt>,
    #[serde(deserialize_with = "memory_policy", skip_serializing_if = "Option::is_none")]
    pub memory_policy: Option<MemoryPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub personality: Option<Personality>,
    /// By clock: `monotonic`, `boottime`.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub time_offsets: BTreeMap<String, TimeOffset>,
}

/// A device node that must exist in the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    #[serde(default)]
    pub path: String,
    #[serde(rename = "type")]
    pub kind: DeviceKind,
    #[serde(default)]
    pub major: i64,
    #[serde(default)]
    pub minor: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_mode: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
}

/// mknod(1)'s letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceKind {
    #[serde(rename = "c", alias = "u")]
    Char,
    #[serde(rename = "b")]
    Block,
    #[serde(rename = "p")]
    Fifo,
}

/// A network interface to move into the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetDevice {
    /// Inside the container; empty keeps the host's name.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// Seconds and nanoseconds to add to a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TimeOffset {
    #[serde(skip_serializing_if = "is_default")]
    pub secs: i64,
    #[serde(skip_serializing_if = "is_default")]
    pub nanosecs: u32,
}

/// mount(2)'s propagation types, for the container's root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RootfsPropagation {
    /// Not asked for, which Go writes as an empty word.
    #[default]
    #[serde(rename = "")]
    Unset,
    Shared,
    Slave,
    Private,
    Unbindable,
    #[serde(rename = "rshared")]
    RecursiveShared,
    #[serde(rename = "rslave")]
    RecursiveSlave,
    #[serde(rename = "rprivate")]
    RecursivePrivate,
    #[serde(rename = "runbindable")]
    RecursiveUnbindable,
}

/// Cache and memory bandwidth shares through resctrl.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct IntelRdt {
    #[serde(
        rename = "closID",
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub clos_id: String,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub schemata: Vec<String>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub l3_cache_schema: String,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub mem_bw_schema: String,
    #[serde(skip_serializing_if = "is_default")]
    pub enable_monitoring: bool,
}

/// set_mempolicy(2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryPolicy {
    #[serde(deserialize_with = "memory_policy_mode")]
    pub mode: MemoryPolicyMode,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub nodes: String,
    #[serde(default, deserialize_with = "memory_policy_flags", skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<MemoryPolicyFlag>,
}

/// Callers know the words in front, also where there is none.
fn memory_policy<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<MemoryPolicy>, D::Error> {
    Option::deserialize(reader).map_err(|error: D::Error| match error.to_string() {
        words if words.starts_with("missing field") => {
            Error::custom(format_args!("invalid memory policy mode: {words}"))
        }
        _ => error,
    })
}

fn memory_policy_mode<'de, D: Deserializer<'de>>(reader: D) -> Result<MemoryPolicyMode, D::Error> {
    MemoryPolicyMode::deserialize(reader)
        .map_err(|error| Error::custom(format_args!("invalid memory policy mode: {error}")))
}

fn memory_policy_flags<'de, D: Deserializer<'de>>(reader: D) -> Result<Vec<MemoryPolicyFlag>, D::Error> {
    #[derive(Deserialize)]
    struct Flag(#[serde(deserialize_with = "memory_policy_flag")] MemoryPolicyFlag);
    Ok(null_is_default::<_, Vec<Flag>>(reader)?.into_iter().map(|Flag(flag)| flag).collect())
}

fn memory_policy_flag<'de, D: Deserializer<'de>>(reader: D) -> Result<MemoryPolicyFlag, D::Error> {
    MemoryPolicyFlag::deserialize(reader)
        .map_err(|error| Error::custom(format_args!("invalid memory policy flag: {error}")))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MemoryPolicyMode {
    MpolDefault,
    MpolBind,
    MpolInterleave,
    MpolWeightedInterleave,
    MpolPreferred,
    MpolPreferredMany,
    MpolLocal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemoryPolicyFlag {
    #[serde(rename = "MPOL_F_NUMA_BALANCING")]
    NumaBalancing,
    #[serde(rename = "MPOL_F_RELATIVE_NODES")]
    RelativeNodes,
    #[serde(rename = "MPOL_F_STATIC_NODES")]
    StaticNodes,
}

/// personality(2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Personality {
    pub domain: PersonalityDomain,
    /// No flag is defined; what is written here is ignored.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PersonalityDomain {
    Linux,
    Linux32,
}
