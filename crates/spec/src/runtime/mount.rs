// SPDX-License-Identifier: Apache-2.0
//! config.md, "Mounts".

use serde::{Deserialize, Serialize};

use crate::null_is_default;

/// One line of an fstab, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Mount {
    /// Path inside the container.
    pub destination: String,
    /// The filesystem; a dummy for bind mounts.
    #[serde(rename = "type", deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// A device name, a dummy, or for bind mounts a path: absolute or relative to the bundle.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// As in the fourth field of fstab(5), one word each.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub uid_mappings: Vec<IdMapping>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub gid_mappings: Vec<IdMapping>,
}

/// A range of ids: `size` ids from `containerID` on inside are those from `hostID` on outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IdMapping {
    #[serde(rename = "containerID")]
    pub container_id: u32,
    #[serde(rename = "hostID")]
    pub host_id: u32,
    pub size: u32,
}
