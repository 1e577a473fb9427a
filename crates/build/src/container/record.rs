// SPDX-License-Identifier: Apache-2.0
//! `builder.json`: what a working container is made of, and what its image shall say.

use std::collections::BTreeMap;

use conex_image::store::Made;
use conex_spec::image::{Descriptor, History, ImageConfig};
use conex_spec::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

/// The version of the format.
pub(super) const VERSION: u32 = 1;

/// How `run` confines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// All namespaces, a cgroup where there is one.
    #[default]
    Oci,
    /// The same for a runtime that is root in a user namespace only.
    Rootless,
    /// A mount namespace and nothing else: for a host that is a container itself.
    Chroot,
}

/// A working container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// 1
    pub version: u32,
    /// 64 hex digits.
    pub id: String,
    /// When it was made.
    pub made: Timestamp,
    /// The base image as it was named in full; empty: made from `scratch`.
    pub image: String,
    /// The base image's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<Digest>,
    /// The base image's manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Descriptor>,
    /// What the image to be says; `rootfs` and `history` are the base image's with what was committed.
    pub config: ImageConfig,
    /// The manifest's annotations to be.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// The layers' blobs, base first: the base image's with what was committed.
    pub layers: Vec<Descriptor>,
    /// Layers that were committed from here, base first; the last of `layers`.
    #[serde(default)]
    pub committed: Vec<Made>,
    /// A layer on its way into the store: if `top` is gone, it has arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealing: Option<Sealing>,
    /// What the next commit's history entry says (`config --created-by`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// And its comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Steps for the history (`--add-history`).
    #[serde(default)]
    pub steps: Vec<History>,
    /// How `run` confines unless told otherwise.
    #[serde(default)]
    pub isolation: Isolation,
    /// Host name in `run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Mount namespaces in which it was mounted, by boot id and inode.
    #[serde(default)]
    pub mounted_in: Vec<String>,
}

/// A layer on its way into the store, and what the history will say of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealing {
    /// The layer.
    pub made: Made,
    /// Its step.
    pub step: History,
}

impl Record {
    /// From now on the layer is one of those below.
    pub(crate) fn take_over(&mut self, sealed: Sealing) {
        let Sealing { made, step } = sealed;
        self.layers.push(made.descriptor());
        self.config.rootfs.diff_ids.push(made.diff_id.clone());
        self.committed.push(made);
        self.config.history.append(&mut self.steps);
        self.config.history.push(step);
    }

    /// The image's name, or `scratch`.
    pub fn image_name(&self) -> &str {
        if self.image.is_empty() { "scratch" } else { &self.image }
    }
}
