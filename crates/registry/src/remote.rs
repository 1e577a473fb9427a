// SPDX-License-Identifier: Apache-2.0
//! One image on a registry, as a [`Source`] and a [`Sink`] for `image::transfer`.

use conex_image::transfer::{BlobReader, Progress, RawManifest, Sink, Source};
use conex_spec::Digest;
use conex_spec::distribution::Reference;
use conex_spec::image::Descriptor;

use crate::{Client, Error, ErrorKind, Result};

/// A client and a reference.
#[derive(Clone, Debug)]
pub struct Remote {
    #[expect(dead_code, reason = "skeleton")]
    client: Client,
    reference: Reference,
}

impl Remote {
    pub(crate) fn new(client: Client, reference: Reference) -> Self {
        Self { client, reference }
    }

    /// What this names.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The descriptor behind the reference, by one HEAD request; nothing is downloaded.
    pub fn head(&self) -> Result<Descriptor> {
        Err(unsupported())
    }

    /// All tags of the repository, in the registry's order.
    pub fn tags(&self) -> Result<Vec<String>> {
        Err(unsupported())
    }

    /// The manifests whose `subject` is `digest`, of one artifact type or of all.
    pub fn referrers(&self, _digest: &Digest, _artifact_type: Option<&str>) -> Result<Vec<Descriptor>> {
        Err(unsupported())
    }

    /// Deletes the tag, or the manifest where the reference has a digest.
    pub fn delete(&self) -> Result<()> {
        Err(unsupported())
    }
}

fn unsupported() -> Error {
    Error::new(ErrorKind::Unsupported, "registry client: not there yet")
}

impl Source for Remote {
    fn resolve(&self) -> Result<RawManifest> {
        Err(unsupported())
    }

    fn manifest(&self, _descriptor: &Descriptor) -> Result<RawManifest> {
        Err(unsupported())
    }

    fn open_blob(&self, _descriptor: &Descriptor, _offset: u64) -> Result<BlobReader> {
        Err(unsupported())
    }

    fn describe(&self) -> String {
        format!("docker://{}", self.reference)
    }

    fn repository(&self) -> Option<(String, String)> {
        Some((self.reference.host.clone(), self.reference.name.clone()))
    }
}

impl Sink for Remote {
    fn has_blob(&self, _descriptor: &Descriptor) -> Result<bool> {
        Err(unsupported())
    }

    fn put_blob(&self, _descriptor: &Descriptor, _from: &dyn Source, _progress: &dyn Progress) -> Result<()> {
        Err(unsupported())
    }

    fn put_manifest(&self, _manifest: &RawManifest) -> Result<()> {
        Err(unsupported())
    }

    fn commit(&self, _manifest: &RawManifest) -> Result<()> {
        Err(unsupported())
    }

    fn describe(&self) -> String {
        format!("docker://{}", self.reference)
    }
}
