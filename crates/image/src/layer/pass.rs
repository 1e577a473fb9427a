// SPDX-License-Identifier: Apache-2.0
//! One pass over a layer: bytes come in once and are hashed, kept, decompressed, hashed again and unpacked on the way.
//!
//! ```text
//!  fetch (caller's thread) ──► decompress (thread) ──► diff_id (thread) ──► consume (thread)
//!                         bounded pipe          bounded pipe           bounded pipe
//! ```
//! Decompression takes longest where the layer is gzip, making files where it is zstd, so nothing else is done in either.
//! Buffers go round: what was read is given back to be filled again, so memory is bounded and stays mapped.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use conex_spec::image::Descriptor;
use conex_spec::{Algorithm, DiffId, Digest};

use super::compress;
use crate::transfer::{Progress, Source};
use crate::verify::{Hasher, VerifyingReader};
use crate::worker::Take;
use crate::{Error, ErrorKind, Result, Wrap};

/// Bytes in one buffer.
const BUFFER: usize = 128 << 10;
/// Buffers in one pipe.
const DEPTH: usize = 8;
/// A layer may always unpack to this much …
const FLOOR: u64 = 1 << 30;
/// … and otherwise to this many times its stored size; gzip cannot do more than 1032.
const MAX_RATIO: u64 = 1100;

/// The writing end of a pipe.
pub(crate) struct Feed {
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    stopped: bool,
}

/// The reading end of a pipe, which hashes what passes.
pub(crate) struct Drain {
    full: Receiver<Vec<u8>>,
    empty: Sender<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
    ended: bool,
    hasher: Option<Hasher>,
}

/// A pipe between two threads; with a hasher it knows at the end what has passed.
pub(crate) fn pipe(hasher: Option<Hasher>) -> (Feed, Drain) {
    let (full_sender, full) = sync_channel(DEPTH);
    let (empty, empty_receiver) = channel();
    let feed = Feed { full: full_sender, empty: empty_receiver, stopped: false };
    (feed, Drain { full, empty, current: Vec::new(), at: 0, ended: false, hasher })
}

impl Feed {
    /// A buffer of `BUFFER` bytes to fill.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        let mut buffer = self.empty.try_recv().unwrap_or_default();
        buffer.resize(BUFFER, 0);
        buffer
    }

    /// Hands over the first `len` bytes. When the reader has stopped, they are dropped.
    pub(crate) fn send(&mut self, mut buffer: Vec<u8>, len: usize) {
        buffer.truncate(len);
        // An empty buffer is the mark of the end.
        if len > 0 && !self.stopped {
            self.stopped = self.full.send(buffer).is_err();
        }
    }

    /// Hands over a copy.
    pub(crate) fn copy(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(BUFFER) {
            let mut buffer = self.buffer();
            buffer[..part.len()].copy_from_slice(part);
            self.send(buffer, part.len());
        }
    }

    /// Whether the reader wants no more.
    fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Says that all has been sent. A pipe that is dropped without it is broken.
    pub(crate) fn end(self) {
        // The reader may have stopped; then it does not care.
        let _ = self.full.send(Vec::new());
    }
}

/// A [`Feed`] to write to.
pub(crate) struct Writer {
    feed: Feed,
    buffer: Vec<u8>,
    len: usize,
}

impl Writer {
    /// Writes to `feed`.
    pub(crate) fn new(feed: Feed) -> Self {
        let buffer = feed.buffer();
        Self { feed, buffer, len: 0 }
    }

    /// Says that all has been written. Without it the pipe is broken.
    pub(crate) fn end(mut self) {
        self.pass_on();
        self.feed.end();
    }

    fn pass_on(&mut self) {
        self.feed.send(std::mem::take(&mut self.buffer), self.len);
        (self.buffer, self.len) = (self.feed.buffer(), 0);
    }
}

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.feed.is_stopped() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let len = bytes.len().min(self.buffer.len() - self.len);
        self.buffer[self.len..self.len + len].copy_from_slice(&bytes[..len]);
        self.len += len;
        if self.len == self.buffer.len() {
            self.pass_on();
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drain {
    /// The digest of everything that was sent.
    pub(crate) fn finish(mut self) -> Result<Digest> {
        self.skip_rest()?;
        Ok(self.hasher.expect("made with a hasher").finish())
    }

    /// Reads what is left: behind an archive's end there may be padding.
    fn skip_rest(&mut self) -> Result<()> {
        while !self.ended {
            let len = self.fill_buf()?.len();
            self.consume(len);
        }
        Ok(())
    }

    fn next(&self) -> io::Result<Vec<u8>> {
        self.full.recv().map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "cut off"))
    }

    fn give_back(&self, used: Vec<u8>) {
        // The writer may be through; then nobody fills it again.
        let _ = self.empty.send(used);
    }
}

impl BufRead for Drain {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.current.len() && !self.ended {
            let next = self.next()?;
            let used = std::mem::replace(&mut self.current, next);
            self.give_back(used);
            self.at = 0;
            self.ended = self.current.is_empty();
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&self.current);
            }
        }
        Ok(&self.current[self.at..])
    }

    fn consume(&mut self, len: usize) {
        self.at += len;
    }
}

impl Read for Drain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let len = bytes.len().min(buffer.len());
        buffer[..len].copy_from_slice(&bytes[..len]);
        self.consume(len);
        Ok(len)
    }
}

/// Hands over a blob of `source`, verified.
pub(crate) fn stream(
    descriptor: &Descriptor,
    source: &dyn Source,
    progress: &dyn Progress,
    take: Take<'_>,
) -> Result<()> {
    progress.begin(descriptor, 0);
    let mut reader = VerifyingReader::new(source.open_blob(descriptor, 0)?.reader, descriptor);
    let mut buffer = vec![0; BUFFER];
    loop {
        let len = reader.read(&mut buffer)?;
        if len == 0 {
            return reader.finish();
        }
        take(&buffer[..len]);
    }
}

/// Runs the pass. `fetch` feeds the stored bytes and verifies them; its failure is told before any other, because
/// wrong bytes explain everything behind them. `size` is what is to be stored.
pub(crate) fn pass<T: Send>(
    size: u64,
    fetch: impl FnOnce(&mut Feed) -> Result<()>,
    consume: impl FnOnce(&mut Drain) -> Result<T> + Send,
) -> Result<(DiffId, T)> {
    thread::scope(|scope| {
        let (mut stored, compressed) = pipe(None);
        let (uncompressed, unhashed) = pipe(None);
        let (hashed, mut archive) = pipe(None);
        let decompressor = scope.spawn(move || decompress(compressed, uncompressed, size));
        let hasher = scope.spawn(move || hash(&unhashed, hashed));
        let consumer = scope.spawn(move || {
            let consumed = consume(&mut archive)?;
            archive.skip_rest()?;
            Ok(consumed)
        });
        let fetched = fetch(&mut stored);
        if fetched.is_ok() {
            stored.end();
        } else {
            drop(stored);
        }
        let decompressed = joined(decompressor);
        let diff_id = joined(hasher);
        let consumed: Result<T> = joined(consumer);
        fetched?;
        decompressed?;
        // Whoever stopped reading says why, not who was left with nobody to read.
        let consumed = consumed?;
        Ok((DiffId(diff_id?), consumed))
    })
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Hashes what passes until the end, or until the consumer stops.
fn hash(from: &Drain, mut to: Feed) -> Result<Digest> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    loop {
        let buffer = from.next()?;
        let len = buffer.len();
        if len == 0 {
            to.end();
            return Ok(hasher.finish());
        }
        hasher.update(&buffer);
        to.send(buffer, len);
        if to.is_stopped() {
            return Err(Error::new(ErrorKind::Os, "nobody reads the layer"));
        }
        // What has been used goes back to who fills it.
        to.empty.try_iter().for_each(|used| from.give_back(used));
    }
}

/// Decompresses until the end, or until the consumer stops.
fn decompress(stored: Drain, mut out: Feed, size: u64) -> Result<()> {
    let mut reader = compress::decoder(stored)?;
    let limit = FLOOR.max(size.saturating_mul(MAX_RATIO));
    let mut total: u64 = 0;
    loop {
        let mut buffer = out.buffer();
        let len = read_full(&mut reader, &mut buffer).wrap(|| "decompress")?;
        if len == 0 {
            out.end();
            return Ok(());
        }
        total += len as u64;
        if total > limit {
            let message = format!("{size} bytes unpack to more than {limit}");
            return Err(Error::new(ErrorKind::Hostile, message));
        }
        out.send(buffer, len);
        if out.is_stopped() {
            return Ok(());
        }
    }
}

/// Fills the buffer as far as there are bytes. Streams that end too early are invalid, not a matter of the disk.
fn read_full(reader: &mut dyn Read, buffer: &mut [u8]) -> Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match reader.read(&mut buffer[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::invalid(error.to_string())),
        }
    }
    Ok(len)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use conex_spec::image::media_type::Compression;

    use super::*;
    use crate::verify::sha256;

    fn feed_all(bytes: &[u8]) -> impl FnOnce(&mut Feed) -> Result<()> {
        move |feed| {
            for part in bytes.chunks(BUFFER) {
                let mut buffer = feed.buffer();
                buffer[..part.len()].copy_from_slice(part);
                feed.send(buffer, part.len());
            }
            Ok(())
        }
    }

    fn read_all(drain: &mut Drain) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        drain.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = compress::Encoder::new(Vec::new(), Compression::Gzip).unwrap();
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn all_bytes_pass_and_are_hashed() {
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i.wrapping_mul(i) >> 7).to_le_bytes()[0]).collect();
        let stored = packed(&bytes);
        let (diff_id, read) = pass(stored.len() as u64, feed_all(&stored), read_all).unwrap();
        assert_eq!(diff_id.0, sha256(&bytes));
        assert_eq!(read, bytes);
    }

    #[test]
    fn the_first_cause_is_told() {
        let stored = packed(&vec![1; 5_000_000]);
        let size = stored.len() as u64;
        let error = pass(size, |_| Err::<(), _>(Error::invalid("wrong digest")), read_all).unwrap_err();
        assert_eq!(error.to_string(), "wrong digest");
        let error = pass(size, feed_all(&stored[..stored.len() / 2]), read_all).unwrap_err();
        assert!(error.to_string().starts_with("decompress"), "{error}");
        let stop = |_: &mut Drain| Err::<(), _>(Error::invalid("do not like it"));
        let error = pass(size, feed_all(&stored), stop).unwrap_err();
        assert_eq!(error.to_string(), "do not like it");
    }

    #[test]
    fn a_bomb_is_stopped() {
        let mut bomb = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        let zeros = vec![0; 1 << 20];
        for _ in 0..(FLOOR >> 20) + 1 {
            bomb.write_all(&zeros).unwrap();
        }
        let bomb = bomb.finish().unwrap();
        let count = |drain: &mut Drain| Ok(io::copy(drain, &mut io::sink())?);
        let error = pass(bomb.len() as u64, feed_all(&bomb), count).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Hostile);
        assert!(error.to_string().contains("unpack to more than"), "{error}");
    }
}
