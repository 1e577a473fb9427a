// SPDX-License-Identifier: Apache-2.0
//! `dir:PATH`: one image as flat files, skopeo's "directory transport" (containers/image: docs/containers-transports).
//!
//! ```text
//!  version                Directory Transport Version: 1.1
//!  manifest.json          the manifest or index, byte for byte
//!  <hex>.manifest.json    a manifest below the index
//!  <hex>                  a blob; with another algorithm than sha256, <algorithm>-<hex>
//! ```
//! Made for looking at images and for moving them about; a directory holds one, and a copy to it replaces that.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use conex_spec::image::Descriptor;
use conex_spec::{Algorithm, Digest};
use conex_sys::path::{Dir, FileType};

use crate::layout::files::{self, Existing};
use crate::section::Section;
use crate::transfer::{BlobReader, Outcome, Progress, RawManifest, Sink, Source};
use crate::verify::{self, VerifyingReader};
use crate::{Error, ErrorKind, Result, Wrap, manifest};

const VERSION: &str = "version";
const CONTENT: &str = "Directory Transport Version: 1.1\n";
const MANIFEST: &str = "manifest.json";

/// An image in such a directory, to read or to write.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    dir: Dir,
}

fn blob_name(digest: &Digest) -> String {
    match digest.algorithm() {
        Algorithm::Sha256 => digest.hex().to_owned(),
        other => format!("{}-{}", other.name(), digest.hex()),
    }
}

fn manifest_name(digest: &Digest) -> String {
    format!("{}.manifest.json", blob_name(digest))
}

impl Directory {
    /// For reading.
    pub fn open(path: &Path) -> Result<Self> {
        let open = || {
            let directory = Self { path: path.to_owned(), dir: Dir::open_host(path)? };
            if directory.dir.find(MANIFEST)?.is_none() {
                let message = "has no manifest.json: not a directory that dir: wrote";
                return Err(Error::new(ErrorKind::NotFound, message));
            }
            Ok(directory)
        };
        open().map_err(|error: Error| error.wrap(format!("dir:{}", path.display())))
    }

    /// For writing. A directory that holds other things is left alone.
    pub fn create(path: &Path) -> Result<Self> {
        let create = || {
            let dir = crate::host::make_dir(path, 0o755)?;
            let is_ours = match dir.find(VERSION)? {
                Some(_) => {
                    files::read(&dir.open_file(VERSION)?, 100)?.starts_with(b"Directory Transport Version: ")
                }
                None => dir.entries()?.is_empty(),
            };
            if !is_ours {
                return Err(Error::new(ErrorKind::Usage, "holds other files")
                    .with_hint("name a directory that is empty, does not exist, or that dir: wrote"));
            }
            for entry in dir.entries()? {
                if entry.kind == FileType::RegularFile {
                    dir.remove_file(&entry.name)?;
                }
            }
            files::write(&dir, VERSION, CONTENT.as_bytes(), 0o644, Existing::Replace)?;
            Ok(Self { path: path.to_owned(), dir })
        };
        create().map_err(|error: Error| error.wrap(format!("dir:{}", path.display())))
    }
}

impl Source for Directory {
    fn resolve(&self) -> Result<RawManifest> {
        let resolve = || {
            let bytes = files::read(&self.dir.open_file(MANIFEST)?, manifest::MAX_MANIFEST)?;
            let media_type = manifest::sniff_media_type(&bytes);
            let media_type = media_type.ok_or_else(|| Error::invalid("manifest.json is no manifest"))?;
            manifest::verified(bytes, &media_type, None)
        };
        resolve().wrap(|| Source::describe(self))
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<RawManifest> {
        let name = manifest_name(&descriptor.digest);
        let file =
            self.dir.open_file(&name).map_err(|error| Error::from(error).wrap(Source::describe(self)))?;
        let bytes = verify::read_small(file, descriptor).wrap(|| name)?;
        Ok(RawManifest { descriptor: descriptor.clone(), bytes })
    }

    fn open_blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobReader> {
        let file = self.dir.open_file(blob_name(&descriptor.digest)).wrap(|| Source::describe(self))?;
        let size = file.metadata()?.len();
        Ok(BlobReader { reader: Box::new(Section::new(Arc::new(file), 0, size).behind(offset)), offset })
    }

    fn describe(&self) -> String {
        format!("dir:{}", self.path.display())
    }
}

impl Sink for Directory {
    fn has_blob(&self, descriptor: &Descriptor) -> Result<bool> {
        Ok(self.dir.find(blob_name(&descriptor.digest))?.is_some())
    }

    fn put_blob(&self, descriptor: &Descriptor, from: &dyn Source, progress: &dyn Progress) -> Result<()> {
        progress.begin(descriptor, 0);
        let temporary = files::temporary_name();
        let receive = || -> Result<()> {
            let mut file = self.dir.create_file(&temporary, 0o644)?;
            let mut reader = VerifyingReader::new(from.open_blob(descriptor, 0)?.reader, descriptor);
            std::io::copy(&mut reader.by_ref(), &mut file)?;
            reader.finish()?;
            file.sync_data()?;
            Ok(self.dir.rename(&temporary, &self.dir, blob_name(&descriptor.digest))?)
        };
        if let Err(error) = receive() {
            let _ = self.dir.remove_file(&temporary);
            return Err(error);
        }
        progress.advance(descriptor, descriptor.size);
        progress.finish(descriptor, Outcome::Copied);
        Ok(())
    }

    fn put_manifest(&self, raw: &RawManifest) -> Result<()> {
        manifest::Document::parse(raw)?;
        let name = manifest_name(&raw.descriptor.digest);
        files::write(&self.dir, &name, &raw.bytes, 0o644, Existing::Replace)
    }

    fn commit(&self, raw: &RawManifest) -> Result<()> {
        manifest::Document::parse(raw)?;
        files::write(&self.dir, MANIFEST, &raw.bytes, 0o644, Existing::Replace).wrap(|| Sink::describe(self))
    }

    fn describe(&self) -> String {
        format!("dir:{}", self.path.display())
    }
}
