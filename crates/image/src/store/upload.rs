// SPDX-License-Identifier: Apache-2.0
//! A blob that arrives in pieces, with its digest last: what a registry's upload session needs.
//!
//! It lies in `ingest/upload-<id>`, locked while somebody adds to it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use conex_spec::{Algorithm, Digest};
use conex_sys::Errno;
use conex_sys::path::Dir;

use super::{Shared, Store};
use crate::layout::blob::Blobs;
use crate::verify::{self, Hasher};
use crate::{Error, ErrorKind, Result};

/// What the names of uploads begin with.
pub(crate) const UPLOAD: &str = "upload-";

/// An upload under way, locked against others while this value lives. Dropping it keeps what has arrived.
#[derive(Debug)]
pub struct Upload {
    id: String,
    len: u64,
    file: File,
    blobs: Blobs,
    /// Runs along while all bytes came through this value.
    hasher: Hasher,
    _held: Arc<Shared>,
}

impl Store {
    /// Starts an upload of a blob whose digest is not known yet. `held` keeps gc away from what it becomes.
    pub fn begin_upload(&self, held: &Arc<Shared>) -> Result<Upload> {
        let id = fresh_id()?;
        let file = self.blobs.ingest_dir().create_file(format!("{UPLOAD}{id}"), 0o600)?;
        drop(file);
        self.resume_upload(&id, held)
    }

    /// How many uploads were begun and not ended.
    pub fn count_uploads(&self) -> Result<usize> {
        let entries = self.blobs.ingest_dir().entries()?;
        Ok(entries.iter().filter(|entry| entry.name.to_string_lossy().starts_with(UPLOAD)).count())
    }

    /// Whether the upload `id` was begun and not ended.
    pub fn has_upload(&self, id: &str) -> Result<bool> {
        Ok(self.blobs.ingest_dir().find(format!("{UPLOAD}{id}"))?.is_some())
    }

    /// Continues the upload `id`, whoever began it. `Busy` while another holds it.
    pub fn resume_upload(&self, id: &str, held: &Arc<Shared>) -> Result<Upload> {
        let missing = || Error::new(ErrorKind::NotFound, format!("no upload {id:?}"));
        if id.is_empty() || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(missing());
        }
        let ingest = self.blobs.ingest_dir();
        let name = format!("{UPLOAD}{id}");
        if ingest.find(&name)?.is_none() {
            return Err(missing());
        }
        let mut file = ingest.open_or_create_file(&name, 0o600)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(Error::new(ErrorKind::Busy, format!("upload {id} is being written to")));
            }
            Err(std::fs::TryLockError::Error(error)) => return Err(error.into()),
        }
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let len = rehash(&mut file, &mut hasher)?;
        Ok(Upload {
            id: id.to_owned(),
            len,
            file,
            blobs: self.blobs.try_clone()?,
            hasher,
            _held: held.clone(),
        })
    }
}

/// 128 bits that nobody guesses.
fn fresh_id() -> Result<String> {
    let mut random = [0; 16];
    let urandom = Dir::open_host("/dev".as_ref())?.open_file("urandom")?;
    (&urandom).read_exact(&mut random)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Hashes a file from its beginning; says its length and leaves the position at the end.
fn rehash(file: &mut File, hasher: &mut Hasher) -> Result<u64> {
    file.seek(SeekFrom::Start(0))?;
    Ok(hasher.read(file)?)
}

impl Upload {
    /// Names the upload, for [`Store::resume_upload`].
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Bytes that have arrived.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing has arrived.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds all that `reader` yields, and says how many bytes that were.
    pub fn append(&mut self, reader: &mut dyn Read) -> Result<u64> {
        let before = self.len;
        let mut buffer = vec![0; 128 << 10];
        loop {
            let read = match reader.read(&mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if read == 0 {
                return Ok(self.len - before);
            }
            self.write(&buffer[..read])?;
        }
    }

    /// Adds bytes: all of them or, where the disk is full, none.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if let Err(error) = self.file.write_all(bytes) {
            // The file holds what was hashed and nothing else, or it cannot be finished.
            self.file.set_len(self.len)?;
            self.file.seek(SeekFrom::Start(self.len))?;
            return Err(Error::from(error).wrap(format!("upload {}", self.id)));
        }
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Makes it a blob if its digest is `digest`; says its size. Otherwise an error of kind `Invalid`, and the
    /// upload is gone.
    pub fn finish(mut self, digest: &Digest) -> Result<u64> {
        let found = match digest.algorithm() {
            Algorithm::Sha256 => self.hasher.clone().finish(),
            other => {
                let mut hasher = Hasher::new(other);
                rehash(&mut self.file, &mut hasher)?;
                hasher.finish()
            }
        };
        let stored = self.file.metadata()?.len();
        if let Err(error) = verify::check(digest, self.len, &found, stored) {
            self.cancel()?;
            return Err(error);
        }
        self.file.sync_data()?;
        conex_sys::path::chmod(&self.file, 0o644)?;
        let (ingest, blobs) = (self.blobs.ingest_dir(), self.blobs.directory(digest.algorithm())?);
        match ingest.rename_new(self.name(), &blobs, digest.hex()) {
            // The same content is here already.
            Err(error) if error.errno() == Errno::EXIST => ingest.remove_file(self.name())?,
            other => other?,
        }
        blobs.sync()?;
        Ok(self.len)
    }

    /// Throws away what has arrived.
    pub fn cancel(self) -> Result<()> {
        Ok(self.blobs.ingest_dir().remove_file(self.name())?)
    }

    fn name(&self) -> String {
        format!("{UPLOAD}{}", self.id)
    }
}
