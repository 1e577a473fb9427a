// SPDX-License-Identifier: Apache-2.0
//! cosign's tag scheme: the signatures of a manifest are the layers of another one in the same repository
//! (cosign: specs/SIGNATURE_SPEC.md).
//!
//! ```text
//!  sha256-<hex>.sig ──► manifest ─┬─ config: an image configuration whose diff_ids are the layers' digests
//!                                 └─ layers: a payload each, with its signature in an annotation
//! ```

use std::io::Read as _;

use conex_image::manifest::{Document, MAX_MANIFEST};
use conex_image::transfer::{RawManifest, Source};
use conex_image::verify::VerifyingReader;
use conex_registry::Client;
use conex_spec::Digest;
use conex_spec::distribution::Reference;
use conex_spec::image::{Descriptor, Manifest};

use super::Attached;
use crate::{Error, ErrorKind, Result, Wrap as _};

/// Most signatures of one manifest.
const MOST: usize = 128;

/// The reference of what is attached to a manifest of the repository.
pub(super) fn reference(repository: &Reference, digest: &Digest) -> Reference {
    let tag = format!("{}-{}.sig", digest.algorithm().name(), digest.hex());
    Reference { tag: Some(tag), digest: None, ..repository.clone() }
}

/// All that is attached to a manifest.
pub(super) fn read(client: &Client, repository: &Reference, digest: &Digest) -> Result<Vec<Attached>> {
    let place = reference(repository, digest);
    let remote = client.remote(&place);
    let Some((_, manifest)) = find(&remote).wrap(|| place.to_string())? else { return Ok(Vec::new()) };
    if manifest.layers.len() > MOST {
        let message = format!("{place}: more than {MOST} signatures");
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    let attached = |layer: &Descriptor| {
        Ok(Attached {
            media_type: layer.media_type.clone(),
            payload: blob(&remote, layer).wrap(|| place.to_string())?,
            annotations: layer.annotations.clone(),
        })
    };
    manifest.layers.iter().map(attached).collect()
}

/// The manifest of what is attached. `None`: nothing is.
pub(super) fn find(remote: &dyn Source) -> Result<Option<(RawManifest, Manifest)>> {
    let raw = match remote.resolve() {
        Err(error) if error.kind() == conex_image::ErrorKind::NotFound => return Ok(None),
        found => found?,
    };
    match Document::parse(&raw)? {
        Document::Manifest(manifest) => Ok(Some((raw, *manifest))),
        Document::Index(_) => Err(Error::new(ErrorKind::Invalid, "is an index, no sigstore attachment")),
    }
}

/// A small blob, verified.
pub(super) fn blob(remote: &dyn Source, descriptor: &Descriptor) -> Result<Vec<u8>> {
    if descriptor.size > MAX_MANIFEST {
        let message =
            format!("{}: {} bytes are more than a signature has", descriptor.digest, descriptor.size);
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    let mut reader = VerifyingReader::new(remote.open_blob(descriptor, 0)?.reader, descriptor);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes)?;
    reader.finish()?;
    Ok(bytes)
}
