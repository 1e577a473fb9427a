// SPDX-License-Identifier: Apache-2.0
//! Moving an image from anywhere to anywhere: the only place that walks descriptors.
//!
//! ```text
//!  Source ──resolve──► manifest ──┬─► config ─┐
//!  (registry, layout, store)      └─► layers ─┴─► Sink (store, layout, registry), then manifest, then name
//! ```
//! A [`Source`] reads, a [`Sink`] writes; a registry client implements both in its own crate. Children go before
//! parents, so that a sink never holds a manifest whose blobs it lacks.

mod convert;
mod copy;
mod form;
mod narrow;

use std::io::Read;

use conex_spec::image::Descriptor;

use crate::{Error, ErrorKind, Result};

pub use copy::{CopyOptions, Others, Select, copy, manifests};
pub use form::{Form, Format, LayerForm};

/// A manifest or index: its descriptor and the exact bytes that are hashed, stored and sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawManifest {
    /// Media type, digest and size of `bytes`; the digest has been verified.
    pub descriptor: Descriptor,
    /// Never re-serialised.
    pub bytes: Vec<u8>,
}

impl RawManifest {
    /// This one, where a source that has no other is asked for it.
    ///
    /// # Errors
    /// `NotFound` for any other.
    pub fn only(&self, descriptor: &Descriptor) -> Result<Self> {
        match descriptor.digest == self.descriptor.digest {
            true => Ok(self.clone()),
            false => Err(Error::new(ErrorKind::NotFound, format!("no manifest {} here", descriptor.digest))),
        }
    }
}

/// An open blob.
pub struct BlobReader {
    /// Yields the bytes from `offset` on. Unverified: whoever keeps them verifies them.
    pub reader: Box<dyn Read + Send>,
    /// Where the reader starts: what was asked for, or 0 where the source cannot seek.
    pub offset: u64,
}

/// Where an image comes from.
pub trait Source: Send + Sync {
    /// The manifest or index that this source's name means.
    fn resolve(&self) -> Result<RawManifest>;

    /// A manifest or index by descriptor, verified against it, at most 4 MiB.
    fn manifest(&self, descriptor: &Descriptor) -> Result<RawManifest>;

    /// Opens a blob, from `offset` where the source can seek.
    fn open_blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobReader>;

    /// For messages: `docker://docker.io/library/alpine:latest`.
    fn describe(&self) -> String;

    /// The repository on a registry that this source reads, for a sink on the same registry to mount blobs from:
    /// `(host, name)`.
    fn repository(&self) -> Option<(String, String)> {
        None
    }
}

/// Where an image goes.
pub trait Sink: Send + Sync {
    /// Whether the blob is there already, whole and verified.
    fn has_blob(&self, descriptor: &Descriptor) -> Result<bool>;

    /// Copies one blob that is not there yet, verified on the way in. The sink opens the source itself, so that it can resume, mount or
    /// read again after a broken connection.
    fn put_blob(&self, descriptor: &Descriptor, from: &dyn Source, progress: &dyn Progress) -> Result<()>;

    /// Stores a manifest or index below the one that is named.
    fn put_manifest(&self, manifest: &RawManifest) -> Result<()>;

    /// Stores the top manifest or index and gives it this sink's name. Last call of a copy.
    fn commit(&self, manifest: &RawManifest) -> Result<()>;

    /// The form that it takes, where a person asks for none.
    fn form(&self) -> Form {
        Form::default()
    }

    /// For messages.
    fn describe(&self) -> String;
}

/// A sink that gets an image without giving it its name: something else will lead to it.
pub struct Unnamed<'a>(pub &'a dyn Sink);

impl Sink for Unnamed<'_> {
    fn has_blob(&self, descriptor: &Descriptor) -> Result<bool> {
        self.0.has_blob(descriptor)
    }

    fn put_blob(&self, descriptor: &Descriptor, from: &dyn Source, progress: &dyn Progress) -> Result<()> {
        self.0.put_blob(descriptor, from, progress)
    }

    fn put_manifest(&self, manifest: &RawManifest) -> Result<()> {
        self.0.put_manifest(manifest)
    }

    fn commit(&self, manifest: &RawManifest) -> Result<()> {
        self.0.put_manifest(manifest)
    }

    fn form(&self) -> Form {
        self.0.form()
    }

    fn describe(&self) -> String {
        self.0.describe()
    }
}

/// Hears how a transfer goes. Called from several threads.
pub trait Progress: Send + Sync {
    /// A blob begins: `total` bytes, `done` of them there already (resumed).
    fn begin(&self, _blob: &Descriptor, _done: u64) {}
    /// `bytes` more have arrived.
    fn advance(&self, _blob: &Descriptor, _bytes: u64) {}
    /// The blob is complete.
    fn finish(&self, _blob: &Descriptor, _outcome: Outcome) {}
}

/// How a blob came to be at the sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its bytes were copied.
    Copied,
    /// It was there.
    Exists,
    /// The registry linked it from another repository.
    Mounted,
}

/// For those who do not listen.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {}
