// SPDX-License-Identifier: Apache-2.0
//! `umoci.json`, version 2: what a bundle was made of, and with which id maps.
//!
//! ```json
//! {"umoci_version":"2",
//!  "from_descriptor_path":{"descriptor_walk":[{"mediaType":…,"digest":…,"size":…}]},
//!  "map_options":{"uid_mappings":null,"gid_mappings":null,"rootless":false}}
//! ```
//! The walk goes from the named descriptor down to the manifest's.

use conex_spec::image::Descriptor;
use conex_sys::path::Dir;
use serde::{Deserialize, Serialize};

use super::{IdMapping, UnpackOptions};
use crate::layer::apply::Owner;
use crate::layout::files::{self, Existing};
use crate::manifest::{self, MAX_MANIFEST};
use crate::{Error, ErrorKind, Result, Wrap};

pub(super) const NAME: &str = "umoci.json";
const VERSION: &str = "2";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Meta {
    umoci_version: String,
    from_descriptor_path: Walk,
    map_options: MapOptions,
    /// Of a way to unpack that umoci has given up.
    #[serde(default, skip_serializing)]
    whiteout_mode: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Walk {
    descriptor_walk: Vec<Descriptor>,
}

/// `null` maps every id to itself; an empty list maps none.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct MapOptions {
    uid_mappings: Option<Vec<IdMapping>>,
    gid_mappings: Option<Vec<IdMapping>>,
    rootless: bool,
}

/// The file that describes the tree of a bundle that was made of this manifest.
pub(super) fn mtree_name(manifest: &Descriptor) -> String {
    format!("{}.mtree", manifest.digest.as_str().replace(':', "_"))
}

impl Meta {
    pub(super) fn of(walk: Vec<Descriptor>, options: &UnpackOptions) -> Self {
        let given = |maps: &[IdMapping]| (!maps.is_empty()).then(|| maps.to_vec());
        Self {
            umoci_version: VERSION.to_owned(),
            from_descriptor_path: Walk { descriptor_walk: walk },
            map_options: MapOptions {
                uid_mappings: given(&options.uid_map),
                gid_mappings: given(&options.gid_map),
                rootless: options.rootless,
            },
            whiteout_mode: 0,
        }
    }

    /// Reads the file of a bundle.
    pub(super) fn read(dir: &Dir) -> Result<Self> {
        let read = || {
            let bytes = files::read(&dir.open_file(NAME)?, MAX_MANIFEST)?;
            let meta: Self = manifest::parse_strictly(&bytes)?;
            if meta.umoci_version != VERSION || meta.whiteout_mode != 0 {
                let message = format!("version {:?} is not {VERSION:?}", meta.umoci_version);
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
            if meta.walk().is_empty() {
                return Err(Error::invalid("names no image"));
            }
            Ok(meta)
        };
        read().wrap(|| NAME)
    }

    /// Replaces the file of a bundle.
    pub(super) fn write(&self, dir: &Dir) -> Result<()> {
        let mut bytes = serde_json::to_vec(self).map_err(|error| Error::invalid(error.to_string()))?;
        bytes.push(b'\n');
        files::write(dir, NAME, &bytes, 0o644, Existing::Replace)
    }

    /// From the named descriptor down to the manifest's; never empty.
    pub(super) fn walk(&self) -> &[Descriptor] {
        &self.from_descriptor_path.descriptor_walk
    }

    /// The same bundle, of another image.
    pub(super) fn moved_to(mut self, walk: Vec<Descriptor>) -> Self {
        self.from_descriptor_path.descriptor_walk = walk;
        self
    }

    pub(super) fn is_rootless(&self) -> bool {
        self.map_options.rootless
    }

    /// How the owners in the image became those on disk.
    pub(super) fn owner(&self) -> Owner {
        let MapOptions { uid_mappings, gid_mappings, rootless } = &self.map_options;
        match (rootless, uid_mappings, gid_mappings) {
            (true, ..) => Owner::Caller,
            (false, None, None) => Owner::Keep,
            (false, uid, gid) => {
                Owner::Map { uid: uid.clone().unwrap_or_default(), gid: gid.clone().unwrap_or_default() }
            }
        }
    }
}
