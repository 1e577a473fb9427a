// SPDX-License-Identifier: Apache-2.0
//! Images in one file: `docker-archive:` (what `docker save` and `podman save` write) and `oci-archive:` (an OCI image
//! layout as a tar file). And `docker-archive-dir:`, the first as a directory.
//!
//! ```text
//!  reading   a tar file is indexed once; members are then read in place
//!  writing   <file>.tmp-…: what was there, then new members; renamed over <file> when all is on disk
//! ```
//! Several images live in one archive: writing to one that exists adds to it. A tar file that is itself compressed is
//! read (decompressed to a nameless file first) and never written, whatever its name ends with.

mod docker;
mod index;
mod oci;
mod output;

use std::path::PathBuf;

use conex_spec::distribution::Reference;

use crate::{Error, ErrorKind, Result};

pub use docker::{DockerArchiveSink, DockerArchiveSource};
pub use oci::{OciArchiveSink, OciArchiveSource};

/// What stands behind `docker-archive:`, `docker-archive-dir:` and `oci-archive:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveName {
    /// The transport, for messages.
    pub transport: &'static str,
    /// The file, or for `docker-archive-dir:` the directory.
    pub path: PathBuf,
    /// The image in it: a name, or `@N` for the N-th.
    pub reference: Option<String>,
    /// Names that an image gets besides, in `docker-archive:`.
    pub more_names: Vec<Reference>,
}

impl ArchiveName {
    /// Splits `PATH[:REFERENCE]` at the first colon, as skopeo does.
    pub fn parse(transport: &'static str, text: &str) -> Result<Self> {
        let (path, reference) = match text.split_once(':') {
            Some((path, reference)) => (path, Some(reference.to_owned())),
            None => (text, None),
        };
        if path.is_empty() || reference.as_ref().is_some_and(String::is_empty) {
            let message = format!("{transport}:{text}: expected {transport}:PATH[:REFERENCE]");
            return Err(Error::new(ErrorKind::Usage, message));
        }
        Ok(Self { transport, path: PathBuf::from(path), reference, more_names: Vec::new() })
    }

    fn describe(&self) -> String {
        let reference = self.reference.as_ref().map(|reference| format!(":{reference}")).unwrap_or_default();
        format!("{}:{}{reference}", self.transport, self.path.display())
    }

    /// Whether it is the N-th image that is meant.
    fn number(&self) -> Result<Option<usize>> {
        let Some(digits) = self.reference.as_deref().and_then(|reference| reference.strip_prefix('@')) else {
            return Ok(None);
        };
        let wrong = |_| Error::new(ErrorKind::Usage, format!("@{digits} is not the number of an image"));
        digits.parse().map(Some).map_err(wrong)
    }

    /// For writing, where an image is given a name and not a number.
    fn for_writing(&self) -> Result<()> {
        match self.number()? {
            None => Ok(()),
            Some(_) => Err(Error::new(ErrorKind::Usage, "@N names an image to read, not one to write")),
        }
    }
}

#[cfg(test)]
mod tests;
