// SPDX-License-Identifier: Apache-2.0
//! image-spec v1.1: image-layout.md, as a tar file: `oci-archive:path[:reference]`.
//!
//! ```text
//!  oci-layout  index.json  blobs/sha256/<hex> …
//! ```

use std::io::Read;
use std::sync::{Mutex, MutexGuard, PoisonError};

use conex_spec::Digest;
use conex_spec::image::{Descriptor, Index, media_type};

use super::ArchiveName;
use super::index::Members;
use super::output::Output;
use crate::layout::{add_entry, index, pick_entry};
use crate::transfer::{BlobReader, Form, Format, LayerForm, Outcome, Progress, RawManifest, Sink, Source};
use crate::verify::{self, VerifyingReader};
use crate::{Error, Result, Wrap, manifest};

/// An image of an `oci-archive:`.
#[derive(Debug)]
pub struct OciArchiveSource {
    name: ArchiveName,
    members: Members,
    index: (Index, Vec<u8>),
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

fn read_index(members: &Members) -> Result<(Index, Vec<u8>)> {
    let need = |name: &str| {
        let bytes = members.read(name, manifest::MAX_MANIFEST)?;
        bytes.ok_or_else(|| Error::invalid(format!("there is no {name} in it: not an OCI image layout")))
    };
    index::check_marker_bytes(&need(index::MARKER)?)?;
    let bytes = need(index::INDEX)?;
    Ok((manifest::parse_index(&bytes).wrap(|| index::INDEX)?, bytes))
}

impl OciArchiveSource {
    /// Opens an archive.
    pub fn open(name: &ArchiveName) -> Result<Self> {
        let open = || {
            let members = Members::at(&name.path)?;
            let index = read_index(&members)?;
            Ok(Self { name: name.clone(), members, index })
        };
        open().map_err(|error: Error| error.wrap(name.describe()))
    }
}

impl OciArchiveSource {
    /// index.json: its entries, and its bytes.
    pub fn index(&self) -> (&[Descriptor], &[u8]) {
        (&self.index.0.manifests, &self.index.1)
    }
}

impl Source for OciArchiveSource {
    fn resolve(&self) -> Result<RawManifest> {
        let (index, bytes) = &self.index;
        let resolve = || match pick_entry(index, self.name.reference.as_deref())? {
            Some(entry) => self.manifest(entry),
            None => manifest::verified(bytes.clone(), media_type::OCI_INDEX, None),
        };
        resolve().wrap(|| self.describe())
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<RawManifest> {
        let (section, _) = self.members.need(&blob_path(&descriptor.digest))?;
        let bytes = verify::read_small(section, descriptor)?;
        Ok(RawManifest { descriptor: descriptor.clone(), bytes })
    }

    fn open_blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobReader> {
        let (section, _) = self.members.need(&blob_path(&descriptor.digest))?;
        Ok(BlobReader { reader: Box::new(section.behind(offset)), offset })
    }

    fn describe(&self) -> String {
        self.name.describe()
    }
}

/// An image for an `oci-archive:`.
#[derive(Debug)]
pub struct OciArchiveSink {
    name: ArchiveName,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    output: Output,
    index: Index,
}

impl OciArchiveSink {
    /// A new archive, or one more image for one that exists.
    pub fn open(name: &ArchiveName) -> Result<Self> {
        let open = || {
            name.for_writing()?;
            let mut output = Output::to_file(&name.path)?;
            output.put(index::MARKER, &index::marker()?)?;
            let mut known = index::empty();
            if output.joins(&name.path) {
                let old = Members::at(&name.path).wrap(|| "cannot add to what is there")?;
                known = read_index(&old).wrap(|| "cannot add to what is there")?.0;
                output.take_over(&old, &[index::MARKER, index::INDEX])?;
            }
            Ok(Self { name: name.clone(), state: Mutex::new(State { output, index: known }) })
        };
        open().map_err(|error: Error| error.wrap(name.describe()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for OciArchiveSink {
    fn form(&self) -> Form {
        Form { format: Some(Format::Oci), layers: Some(LayerForm::Packed) }
    }

    fn has_blob(&self, descriptor: &Descriptor) -> Result<bool> {
        self.state().output.has(&blob_path(&descriptor.digest))
    }

    /// One blob at a time: a tar file has one end.
    fn put_blob(&self, descriptor: &Descriptor, from: &dyn Source, progress: &dyn Progress) -> Result<()> {
        progress.begin(descriptor, 0);
        let mut reader = VerifyingReader::new(from.open_blob(descriptor, 0)?.reader, descriptor);
        self.state().output.add(&blob_path(&descriptor.digest), descriptor.size, &mut reader.by_ref())?;
        reader.finish()?;
        progress.advance(descriptor, descriptor.size);
        progress.finish(descriptor, Outcome::Copied);
        Ok(())
    }

    fn put_manifest(&self, manifest: &RawManifest) -> Result<()> {
        manifest::Document::parse(manifest)?;
        self.state().output.put(&blob_path(&manifest.descriptor.digest), &manifest.bytes)
    }

    fn commit(&self, manifest: &RawManifest) -> Result<()> {
        self.put_manifest(manifest)?;
        let mut state = self.state();
        add_entry(&mut state.index, &manifest.descriptor, self.name.reference.as_deref());
        let bytes = index::json(&state.index)?;
        state.output.put(index::INDEX, &bytes)?;
        state.output.publish().wrap(|| self.name.path.display().to_string())
    }

    fn describe(&self) -> String {
        self.name.describe()
    }
}
