// SPDX-License-Identifier: Apache-2.0
//! Blobs of a layout, and how one comes in.
//!
//! ```text
//!  <ingest>/<algorithm>-<hex>   flock: held by who receives the blob; grows; stays when that process dies
//!       │  size and digest right, data on disk
//!       ▼  rename
//!  blobs/<algorithm>/<hex>
//! ```
//! The partial file *is* the lock. Who waited for it looks again: renamed away means that the blob is there.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;

use conex_spec::image::Descriptor;
use conex_spec::{Algorithm, Digest};
use conex_sys::Errno;
use conex_sys::path::{Dir, FileType};

use super::files;
use crate::transfer::{Outcome, Progress, Source};
use crate::verify::{self, Hasher};
use crate::{Error, ErrorKind, Result, Wrap};

/// The blobs below one directory.
#[derive(Debug)]
pub(crate) struct Blobs {
    blobs: Dir,
    ingest: Dir,
    mode: u32,
}

impl Blobs {
    /// `mode` is for directories that have to be made.
    pub(crate) fn new(blobs: Dir, ingest: Dir, mode: u32) -> Self {
        Self { blobs, ingest, mode }
    }

    /// The same directories, for a value that outlives this one.
    pub(crate) fn try_clone(&self) -> Result<Self> {
        Ok(Self { blobs: self.blobs.try_clone()?, ingest: self.ingest.try_clone()?, mode: self.mode })
    }

    /// Where blobs are received.
    pub(crate) fn ingest_dir(&self) -> &Dir {
        &self.ingest
    }

    /// The directory of one algorithm.
    pub(crate) fn directory(&self, algorithm: Algorithm) -> Result<Dir> {
        files::subdirectory(&self.blobs, algorithm.name(), self.mode)
    }

    /// The size of a blob that is there.
    pub(crate) fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        let found = match self.blobs.open_dir(digest.algorithm().name()) {
            Ok(dir) => dir.find(digest.hex())?,
            Err(error) if error.errno() == Errno::NOENT => None,
            Err(error) => return Err(error.into()),
        };
        let regular = found.filter(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        Ok(regular.map(|stat| stat.st_size.unsigned_abs()))
    }

    pub(crate) fn open(&self, digest: &Digest) -> Result<File> {
        let open = || -> Result<File> {
            Ok(self.blobs.open_dir(digest.algorithm().name())?.open_file(digest.hex())?)
        };
        open().wrap(|| format!("blob {digest}"))
    }

    /// A small blob, verified.
    pub(crate) fn read(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let file = self.open(&descriptor.digest)?;
        verify::read_small(file, descriptor).wrap(|| format!("blob {}", descriptor.digest))
    }

    pub(crate) fn remove(&self, digest: &Digest) -> Result<()> {
        let remove = || -> Result<()> { Ok(self.directory(digest.algorithm())?.remove_file(digest.hex())?) };
        remove().wrap(|| format!("blob {digest}"))
    }

    /// Waits until nobody else receives the blob; `None` if it is there (then).
    pub(crate) fn receive(&self, digest: &Digest) -> Result<Option<Ingest<'_>>> {
        if self.size(digest)?.is_some() {
            return Ok(None);
        }
        let ingest = self.lock(digest)?;
        if self.size(digest)?.is_some() {
            ingest.discard()?;
            return Ok(None);
        }
        Ok(Some(ingest))
    }

    /// Waits until nobody else works on the blob, be it there or not.
    pub(crate) fn lock(&self, digest: &Digest) -> Result<Ingest<'_>> {
        let name = format!("{}-{}", digest.algorithm().name(), digest.hex());
        loop {
            let file = self.ingest.open_or_create_file(&name, 0o600)?;
            file.lock().wrap(|| format!("lock {name}"))?;
            let stat = self.ingest.find(&name)?;
            // Otherwise the one before us has published or removed it.
            if stat.is_some_and(|stat| file.metadata().is_ok_and(|ours| ours.ino() == stat.st_ino)) {
                return Ok(Ingest { blobs: self, digest: digest.clone(), name, file });
            }
        }
    }

    /// Stores a small blob.
    pub(crate) fn put(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        verify::check(digest, bytes.len() as u64, &hash(digest.algorithm(), bytes), bytes.len() as u64)?;
        if self.size(digest)?.is_some() {
            return Ok(());
        }
        files::write(&self.directory(digest.algorithm())?, digest.hex(), bytes, 0o644, files::Existing::Keep)
    }
}

fn hash(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

/// A blob on its way in: locked, perhaps begun by another process.
#[derive(Debug)]
pub(crate) struct Ingest<'a> {
    blobs: &'a Blobs,
    digest: Digest,
    name: String,
    file: File,
}

impl Ingest<'_> {
    /// The name in the ingest directory; nobody else uses names that begin with it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Fetches what is missing, and verifies the whole. `tee` gets all bytes in order, those of an earlier attempt
    /// included, before they are verified.
    pub(crate) fn fetch(
        &mut self,
        descriptor: &Descriptor,
        source: &dyn Source,
        progress: &dyn Progress,
        tee: &mut dyn FnMut(&[u8]),
    ) -> Result<()> {
        let mut hasher = Hasher::new(descriptor.digest.algorithm());
        let mut see = |bytes: &[u8]| {
            hasher.update(bytes);
            tee(bytes);
        };
        let mut have = self.kept(descriptor.size)?;
        progress.begin(descriptor, have);
        let mut buffer = vec![0; 128 << 10];
        self.replay(have, &mut buffer, &mut see)?;
        let mut reader = Resuming::new(source, descriptor, have);
        while have < descriptor.size {
            let len = reader.read(&mut buffer)?;
            if len == 0 {
                break;
            }
            self.file.write_all(&buffer[..len]).wrap(|| format!("write {}", self.name))?;
            see(&buffer[..len]);
            // More than promised makes the check fail.
            have += len as u64;
            progress.advance(descriptor, len as u64);
        }
        verify::check(&descriptor.digest, descriptor.size, &hasher.finish(), have)
    }

    /// Reads what an earlier attempt has left, and stands at its end.
    fn replay(&mut self, mut left: u64, buffer: &mut [u8], see: &mut dyn FnMut(&[u8])) -> Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        while left > 0 {
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            self.file.read_exact(&mut buffer[..len])?;
            see(&buffer[..len]);
            left -= len as u64;
        }
        Ok(())
    }

    /// How much an earlier attempt has left; more than promised is worthless.
    fn kept(&self, size: u64) -> Result<u64> {
        let len = self.file.metadata()?.len();
        if len <= size {
            return Ok(len);
        }
        self.restart()?;
        Ok(0)
    }

    /// Whether an earlier attempt has left anything.
    pub(crate) fn is_resumed(&self) -> Result<bool> {
        Ok(self.file.metadata()?.len() > 0)
    }

    /// Forgets what an earlier attempt has left.
    pub(crate) fn restart(&self) -> Result<()> {
        Ok(self.file.set_len(0)?)
    }

    /// Writes the data to its device.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync_data().wrap(|| format!("sync {}", self.name))
    }

    /// Makes it a blob. The bytes must have been verified and synced.
    pub(crate) fn publish(self) -> Result<()> {
        let to = self.blobs.directory(self.digest.algorithm())?;
        conex_sys::path::chmod(&self.file, 0o644)?;
        self.blobs.ingest.rename(&self.name, &to, self.digest.hex())?;
        Ok(to.sync()?)
    }

    /// Removes what has arrived.
    pub(crate) fn discard(self) -> Result<()> {
        Ok(self.blobs.ingest.remove_file(&self.name)?)
    }
}

/// Reads a blob to its promised end, opening it again where the connection breaks, as long as there is progress.
struct Resuming<'a> {
    source: &'a dyn Source,
    descriptor: &'a Descriptor,
    at: u64,
    reader: Option<Box<dyn Read + Send>>,
    fruitless: u32,
}

/// Attempts in a row that bring nothing.
const MAX_FRUITLESS: u32 = 3;

impl<'a> Resuming<'a> {
    fn new(source: &'a dyn Source, descriptor: &'a Descriptor, at: u64) -> Self {
        Self { source, descriptor, at, reader: None, fruitless: 0 }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            let outcome = match &mut self.reader {
                Some(reader) => reader.read(buffer).map_err(|error| broken(&error)),
                None => match self.open() {
                    Ok(()) => continue,
                    Err(error) => Err(error),
                },
            };
            match outcome {
                Ok(0) if self.at < self.descriptor.size && self.fruitless < MAX_FRUITLESS => {}
                Ok(len) => {
                    self.at += len as u64;
                    self.fruitless = 0;
                    return Ok(len);
                }
                Err(error) if self.fruitless >= MAX_FRUITLESS || error.kind() != ErrorKind::Unreachable => {
                    return Err(error);
                }
                Err(_) => {}
            }
            self.reader = None;
            self.fruitless += 1;
        }
    }

    fn open(&mut self) -> Result<()> {
        let blob = self.source.open_blob(self.descriptor, self.at)?;
        let mut reader = blob.reader;
        if blob.offset < self.at {
            // It began at the beginning; what we have is read over.
            io::copy(&mut reader.by_ref().take(self.at - blob.offset), &mut io::sink())
                .map_err(|error| broken(&error))?;
        } else if blob.offset > self.at {
            return Err(Error::invalid(format!(
                "{}: began behind what was asked for",
                self.source.describe()
            )));
        }
        self.reader = Some(reader);
        Ok(())
    }
}

/// Whatever a source's reader fails with: what has arrived stays, and another attempt may bring the rest.
fn broken(error: &io::Error) -> Error {
    Error::new(ErrorKind::Unreachable, error.to_string())
}

impl Blobs {
    /// Copies one blob that is not unpacked on the way: fetch, verify, sync, publish.
    pub(crate) fn copy(
        &self,
        descriptor: &Descriptor,
        from: &dyn Source,
        progress: &dyn Progress,
    ) -> Result<()> {
        let Some(mut ingest) = self.receive(&descriptor.digest)? else {
            progress.begin(descriptor, descriptor.size);
            progress.finish(descriptor, Outcome::Exists);
            return Ok(());
        };
        let resumed = ingest.is_resumed()?;
        let mut fetched = ingest.fetch(descriptor, from, progress, &mut |_| {});
        if resumed && fetched.as_ref().is_err_and(|e| e.kind() == ErrorKind::Invalid) {
            // What an earlier attempt has left may be damaged.
            ingest.restart()?;
            fetched = ingest.fetch(descriptor, from, progress, &mut |_| {});
        }
        if let Err(error) = fetched.and_then(|()| ingest.sync()) {
            return Err(ingest.abandon(error));
        }
        ingest.publish()?;
        progress.finish(descriptor, Outcome::Copied);
        Ok(())
    }
}

impl Ingest<'_> {
    /// After a failure: keeps what another attempt can build on, and removes the rest.
    pub(crate) fn abandon(self, error: Error) -> Error {
        let transient = matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Denied);
        if !(transient && self.is_resumed().unwrap_or(false)) {
            // The failure is what to tell; a leftover is found by gc.
            let _ = self.discard();
        }
        error
    }
}
