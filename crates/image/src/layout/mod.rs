// SPDX-License-Identifier: Apache-2.0
//! image-spec v1.1: image-layout.md
//!
//! A directory in the specification's layout as [`crate::transfer::Source`] and [`crate::transfer::Sink`]:
//! `oci:path[:ref]`. A copy of a second name joins what is there. [`Layout`] is for changes in place.

pub(crate) mod blob;
mod edit;
pub(crate) mod files;
mod gc;
pub(crate) mod index;
mod new_blob;
mod port;

use std::path::{Path, PathBuf};

use conex_spec::image::Descriptor;
use conex_sys::path::Dir;

use crate::{Error, ErrorKind, Result, Wrap};

pub use edit::{Layout, check_name};
pub use gc::{Swept, gc};
pub use new_blob::NewBlob;
pub use port::{LayoutSink, LayoutSource};
pub(crate) use port::{add_entry, open_at, pick_entry};

/// `path[:ref]` or `path[:@N]` behind `oci:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutName {
    /// The directory.
    pub path: PathBuf,
    /// The value of `org.opencontainers.image.ref.name`, where one is given; or `@N` for the N-th entry of index.json.
    pub reference: Option<String>,
}

impl LayoutName {
    /// Splits at the first colon, as skopeo does.
    pub fn parse(text: &str) -> Result<Self> {
        let (path, reference) = match text.split_once(':') {
            Some((path, reference)) => (path, Some(reference.to_owned())),
            None => (text, None),
        };
        if path.is_empty() || reference.as_ref().is_some_and(String::is_empty) {
            let message = format!("oci:{text}: expected oci:PATH[:REFERENCE]");
            return Err(Error::new(ErrorKind::Usage, message));
        }
        Ok(Self { path: PathBuf::from(path), reference })
    }

    fn describe(&self) -> String {
        match &self.reference {
            Some(reference) => format!("oci:{}:{reference}", self.path.display()),
            None => format!("oci:{}", self.path.display()),
        }
    }
}

/// All names of the layout at `path` and what they mean, in the order of index.json; `None` for an entry without.
pub fn names(path: &Path) -> Result<Vec<(Option<String>, Descriptor)>> {
    let dir = Dir::open_host(path)?;
    index::check_marker(&dir).wrap(|| path.display().to_string())?;
    let entries = index::read(&dir).wrap(|| path.display().to_string())?.manifests;
    Ok(entries.into_iter().map(|entry| (index::name_of(&entry).map(str::to_owned), entry)).collect())
}
