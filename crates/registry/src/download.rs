// SPDX-License-Identifier: Apache-2.0
//! A blob's bytes as one reader, however often the connection breaks.
//!
//! ```text
//!  read ──► bytes ──────────────────────────────► position grows
//!    └ broken, cut short, stalled ► pause ► GET Range: bytes=<position>- ► read on
//! ```
//! The reader ends after exactly the descriptor's size, or with an error. It does not hash: whoever keeps the bytes
//! does.

use std::io::{self, Read};
use std::thread;
use std::time::Instant;

use conex_spec::image::Descriptor;
use ureq::BodyReader;

use crate::http::{Failure, Pauses};
use crate::pull::Opened;
use crate::repository::Repository;
use crate::{Error, ErrorKind, Patience, Result};

/// So much progress and the count of tries starts anew.
const PROGRESS: u64 = 64 * 1024;

pub(crate) struct Download {
    repository: Repository,
    blob: Descriptor,
    position: u64,
    /// Position at the last break.
    broke_at: u64,
    body: Option<BodyReader<'static>>,
    /// The body may go on beyond the descriptor's size.
    watch_the_end: bool,
    pauses: Pauses,
    window: Window,
}

/// The last stretch of time and what it brought.
struct Window {
    since: Instant,
    bytes: u64,
}

impl Download {
    /// Opens the blob at `offset`, or at 0 where the registry cannot seek.
    pub(crate) fn open(repository: &Repository, blob: &Descriptor, offset: u64) -> Result<(Self, u64)> {
        let patience = &repository.shared.settings.patience;
        // Nothing of a blob lies beyond its end: whoever asks from there begins again.
        let offset = if offset <= blob.size { offset } else { 0 };
        let mut download = Self {
            repository: repository.clone(),
            blob: blob.clone(),
            position: offset,
            broke_at: offset,
            body: None,
            watch_the_end: false,
            pauses: Pauses::new(patience),
            window: Window::new(),
        };
        if offset < blob.size || blob.size == 0 {
            let opened = repository.open_blob(blob, offset)?;
            download.position = opened.offset;
            download.broke_at = opened.offset;
            download.adopt(opened);
        }
        let offset = download.position;
        Ok((download, offset))
    }

    fn adopt(&mut self, opened: Opened) {
        self.watch_the_end = !opened.length_known;
        self.body = Some(opened.body);
        self.window = Window::new();
    }

    /// Opens the blob again where it broke.
    fn resume(&mut self) -> Result<()> {
        let mut opened = self.repository.open_blob(&self.blob, self.position)?;
        let known = self.position - opened.offset;
        let skipped = io::copy(&mut (&mut opened.body).take(known), &mut io::sink());
        match skipped {
            Ok(skipped) if skipped == known => {
                self.adopt(opened);
                Ok(())
            }
            Ok(_) => self.broken(&io::Error::from(io::ErrorKind::UnexpectedEof)),
            Err(error) => self.broken(&error),
        }
    }

    /// Pauses, or gives up with what happened last.
    fn broken(&mut self, error: &io::Error) -> Result<()> {
        self.body = None;
        if self.position - self.broke_at >= PROGRESS {
            self.pauses.reset();
        }
        self.broke_at = self.position;
        let Some(pause) = self.pauses.next(None) else {
            let (position, size) = (self.position, self.blob.size);
            let what = format!(
                "blob {}: broke off at byte {position} of {size}: {}",
                self.blob.digest,
                reason(error)
            );
            return Err(Error::new(ErrorKind::Unreachable, what));
        };
        thread::sleep(pause);
        Ok(())
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let left = self.blob.size - self.position;
        if left == 0 {
            self.check_end()?;
            return Ok(0);
        }
        let room = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        loop {
            let Some(body) = &mut self.body else {
                self.resume()?;
                continue;
            };
            match body.read(&mut buffer[..room]) {
                Ok(0) => self.broken(&io::Error::from(io::ErrorKind::UnexpectedEof))?,
                Ok(count) => {
                    self.position += count as u64;
                    if self.window.stalled(count as u64, &self.repository.shared.settings.patience) {
                        self.broken(&io::Error::from(io::ErrorKind::TimedOut))?;
                    }
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.broken(&error)?,
            }
        }
    }

    /// Reads on to the end of the answer, which lets the connection be used again and shows what does not belong.
    fn check_end(&mut self) -> Result<()> {
        let Some(mut body) = self.body.take() else { return Ok(()) };
        let beyond = body.read(&mut [0; 1]).unwrap_or(0);
        if beyond > 0 && self.watch_the_end {
            let what =
                format!("blob {}: more than the descriptor's {} bytes", self.blob.digest, self.blob.size);
            return Err(Error::new(ErrorKind::Invalid, what));
        }
        Ok(())
    }
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.read_some(buffer).map_err(io::Error::other)
    }
}

impl Window {
    fn new() -> Self {
        Self { since: Instant::now(), bytes: 0 }
    }

    /// Counts `bytes`; true where the whole stretch brought too few.
    fn stalled(&mut self, bytes: u64, patience: &Patience) -> bool {
        self.bytes += bytes;
        if self.bytes >= patience.stall_bytes {
            *self = Self::new();
            return false;
        }
        self.since.elapsed() >= patience.stall
    }
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "connection closed".to_owned(),
        io::ErrorKind::TimedOut => "the transfer stood still".to_owned(),
        _ => Failure::reason(error),
    }
}
