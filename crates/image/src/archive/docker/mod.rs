// SPDX-License-Identifier: Apache-2.0
//! `docker save`'s format (moby: image/spec, v1.2), in the shapes that exist.
//!
//! ```text
//!  manifest.json     [{"Config": "<hex>.json", "RepoTags": ["alpine:latest"], "Layers": ["<hex>.tar", …]}, …]
//!  repositories      {"alpine": {"latest": "<id of the top layer>"}}        for docker before 1.10
//!  <hex>.json        image configuration, named by its digest
//!  <hex>.tar         layer, named by its diff_id
//!  <id>/VERSION      1.0
//!  <id>/json         {"id": "<id>", "parent": "<id below>", …}
//!  <id>/layer.tar    → ../<hex>.tar
//! ```
//! Since docker 25 the files lie in `blobs/sha256/` and manifest.json says so, beside an OCI layout; before, layers
//! were `<id>/layer.tar`. Whatever the paths are, manifest.json names them. A layer may be compressed though its name
//! says tar (`download-frozen-image-v2.sh` leaves it as the registry had it).

mod read;
mod write;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use read::DockerArchiveSource;
pub use write::DockerArchiveSink;

use super::index::Members;
use crate::{Error, ErrorKind, Result, Wrap};

const MANIFEST: &str = "manifest.json";
const REPOSITORIES: &str = "repositories";
/// Of manifest.json, and of a configuration.
const LIMIT: u64 = 16 << 20;

/// One image of manifest.json.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    /// `alpine:latest`; null for an image without a name.
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

/// By repository, by tag, the id of the top layer.
type Repositories = BTreeMap<String, BTreeMap<String, String>>;

/// The images that an archive holds.
fn items(members: &Members) -> Result<Vec<Item>> {
    let Some(bytes) = members.read(MANIFEST, LIMIT)? else {
        let message = "has no manifest.json: not an archive of docker 1.10 or later";
        return Err(Error::new(ErrorKind::Invalid, message));
    };
    serde_json::from_slice(&bytes).map_err(|error| Error::invalid(error.to_string())).wrap(|| MANIFEST)
}
