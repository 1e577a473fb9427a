// SPDX-License-Identifier: Apache-2.0
//! What is written down about a container: `container.json` and the monitor's `exit`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use conex_spec::Digest;
use conex_spec::image::Descriptor;
use serde::{Deserialize, Serialize};

use conex_spec::Timestamp;

/// The version of `container.json` that is written.
pub(super) const VERSION: u32 = 1;

/// `container.json`: what was asked for, and when it was started. Never what state it is in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// [`VERSION`].
    pub version: u32,
    /// 64 hex digits.
    pub id: String,
    /// Unique in the store.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// When its process was started last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// The image as it was called.
    pub image: String,
    /// The digest of the image's configuration.
    pub image_id: Digest,
    /// The image's manifest: keeps its layers from being collected.
    pub manifest: Descriptor,
    /// Entrypoint and command together.
    pub args: Vec<String>,
    /// `-t`
    pub terminal: bool,
    /// `-i`
    pub stdin: bool,
    /// `--rm`
    pub auto_remove: bool,
    /// `--network`
    pub network: Network,
    /// `--label` over the image's.
    pub labels: BTreeMap<String, String>,
    /// What `stop` sends first.
    pub stop_signal: i32,
    /// Seconds until `stop` sends SIGKILL.
    pub stop_timeout: u64,
    /// The runtime that made it and that alone understands its state.
    pub runtime: PathBuf,
}

/// `--network`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// A network namespace of its own with nothing but a loopback interface.
    #[default]
    None,
    /// The host's.
    Host,
}

impl Network {
    /// The word on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Host => "host",
        }
    }
}

/// How a container's process ended (docs/formats/monitor.md, "exit").
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exit {
    /// Its exit code; 128 + n after signal n.
    pub code: u8,
    /// When.
    pub finished: Timestamp,
    /// Whether the kernel killed it for want of memory.
    #[serde(default)]
    pub oom: bool,
}
