// SPDX-License-Identifier: Apache-2.0
//! cosign's tag scheme: the signatures of a manifest are the layers of another one in the same repository
//! (cosign: specs/SIGNATURE_SPEC.md).
//!
//! ```text
//!  sha256-<hex>.sig ──► manifest ─┬─ config: an image configuration whose diff_ids are the layers' digests
//!                                 └─ layers: a payload each, with its signature in an annotation
//! ```

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};

use conex_image::manifest::{Document, MAX_MANIFEST};
use conex_image::transfer::{BlobReader, RawManifest, Silent, Sink, Source};
use conex_image::verify::{VerifyingReader, sha256};
use conex_registry::Client;
use conex_spec::Digest;
use conex_spec::distribution::Reference;
use conex_spec::image::media_type::{OCI_CONFIG, OCI_MANIFEST};
use conex_spec::image::{Descriptor, Manifest};
use serde_json::{Value, json};

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

/// Attaches what is not attached yet. Others' signatures stay.
pub(super) fn add(client: &Client, repository: &Reference, digest: &Digest, new: &[Attached]) -> Result<()> {
    let place = reference(repository, digest);
    let remote = client.remote(&place);
    let put = || -> Result<()> {
        let (mut manifest, mut config) = match find(&remote)? {
            Some((_, manifest)) => {
                let config = serde_json::from_slice(&blob(&remote, &manifest.config)?)?;
                (manifest, config)
            }
            None => nothing(),
        };
        for attached in new {
            let mut layer = descriptor(&attached.media_type, &attached.payload);
            layer.annotations.clone_from(&attached.annotations);
            if manifest.layers.contains(&layer) {
                continue;
            }
            put_blob(&remote, &layer, &attached.payload)?;
            let diff_ids = config.pointer_mut("/rootfs/diff_ids").and_then(Value::as_array_mut);
            diff_ids.into_iter().for_each(|list| list.push(json!(layer.digest)));
            manifest.layers.push(layer);
        }
        let config = serde_json::to_vec(&config)?;
        manifest.config = descriptor(OCI_CONFIG, &config);
        put_blob(&remote, &manifest.config, &config)?;
        let bytes = serde_json::to_vec(&manifest)?;
        let descriptor = descriptor(OCI_MANIFEST, &bytes);
        Ok(remote.commit(&RawManifest { descriptor, bytes })?)
    };
    put().wrap(|| place.to_string())
}

/// A manifest to which nothing is attached yet, and its configuration.
fn nothing() -> (Manifest, Value) {
    let config =
        json!({"architecture": "", "os": "", "rootfs": {"type": "layers", "diff_ids": []}, "config": {}});
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(OCI_MANIFEST.to_owned()),
        artifact_type: None,
        config: descriptor(OCI_CONFIG, &[]),
        layers: Vec::new(),
        subject: None,
        annotations: BTreeMap::new(),
    };
    (manifest, config)
}

pub(super) fn descriptor(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor::new(media_type, sha256(bytes), bytes.len() as u64)
}

/// Sends a small blob where it is not there.
pub(super) fn put_blob(to: &dyn Sink, descriptor: &Descriptor, bytes: &[u8]) -> Result<()> {
    if !to.has_blob(descriptor)? {
        to.put_blob(descriptor, &Memory(bytes.to_vec()), &Silent)?;
    }
    Ok(())
}

/// One blob, of which the bytes are here.
struct Memory(Vec<u8>);

impl Source for Memory {
    fn resolve(&self) -> conex_image::Result<RawManifest> {
        Err(conex_image::Error::new(conex_image::ErrorKind::NotFound, "no manifest here"))
    }

    fn manifest(&self, _: &Descriptor) -> conex_image::Result<RawManifest> {
        self.resolve()
    }

    fn open_blob(&self, _: &Descriptor, _: u64) -> conex_image::Result<BlobReader> {
        Ok(BlobReader { reader: Box::new(Cursor::new(self.0.clone())), offset: 0 })
    }

    fn describe(&self) -> String {
        "a signature".to_owned()
    }
}
