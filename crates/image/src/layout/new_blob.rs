// SPDX-License-Identifier: Apache-2.0
//! A blob that is being made: its digest is known when it ends.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use conex_spec::Algorithm;
use conex_spec::image::Descriptor;

use super::blob::Blobs;
use super::edit::Layout;
use super::files;
use crate::verify::Hasher;
use crate::{Result, Wrap};

/// Written to, then published. What is dropped before leaves nothing.
#[derive(Debug)]
pub struct NewBlob<'a> {
    blobs: &'a Blobs,
    name: String,
    file: BufWriter<File>,
    hasher: Hasher,
    size: u64,
    published: bool,
}

impl Layout {
    /// Begins a blob.
    pub fn new_blob(&self) -> Result<NewBlob<'_>> {
        let name = files::temporary_name();
        // A process of our number that died in the middle may have left one.
        self.blobs.ingest_dir().remove_all(&name)?;
        let file = self.blobs.ingest_dir().create_file(&name, 0o600)?;
        Ok(NewBlob {
            blobs: &self.blobs,
            name,
            file: BufWriter::with_capacity(128 << 10, file),
            hasher: Hasher::new(Algorithm::Sha256),
            size: 0,
            published: false,
        })
    }
}

impl NewBlob<'_> {
    /// Makes it a blob, on disk.
    pub fn publish(mut self, media_type: &str) -> Result<Descriptor> {
        self.file.flush().wrap(|| "write the new blob")?;
        self.file.get_ref().sync_data().wrap(|| "sync the new blob")?;
        conex_sys::path::chmod(self.file.get_ref(), 0o644)?;
        let digest = self.hasher.clone().finish();
        let to = self.blobs.directory(digest.algorithm())?;
        self.blobs.ingest_dir().rename(&self.name, &to, digest.hex())?;
        self.published = true;
        to.sync()?;
        Ok(Descriptor::new(media_type, digest, self.size))
    }
}

impl Write for NewBlob<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.file.write(bytes)?;
        self.hasher.update(&bytes[..len]);
        self.size += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewBlob<'_> {
    fn drop(&mut self) {
        if !self.published {
            // A leftover is found by gc.
            let _ = self.blobs.ingest_dir().remove_file(&self.name);
        }
    }
}
