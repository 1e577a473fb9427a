// SPDX-License-Identifier: Apache-2.0
//! image-spec v1.1: descriptor.md#digests
//!
//! Hashing, and the one check that lets bytes in: size first, then digest.

use std::io::{self, Read, Write};

use conex_spec::image::Descriptor;
use conex_spec::{Algorithm, Digest};
use sha2::{Digest as _, Sha256, Sha512};

use crate::manifest::MAX_MANIFEST;
use crate::{Error, Result};

/// A hash under way.
#[derive(Clone, Debug)]
pub struct Hasher(State);

#[derive(Clone, Debug)]
enum State {
    Sha256(Sha256),
    Sha512(Box<Sha512>),
}

impl Hasher {
    /// Nothing hashed yet.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Box::default()),
        })
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(hash) => hash.update(bytes),
            State::Sha512(hash) => hash.update(bytes),
        }
    }

    /// Adds all that `input` yields, and says how many bytes that were.
    pub fn read(&mut self, input: &mut impl Read) -> io::Result<u64> {
        let mut buffer = vec![0; 128 << 10];
        let mut bytes = 0;
        loop {
            let len = input.read(&mut buffer)?;
            if len == 0 {
                return Ok(bytes);
            }
            self.update(&buffer[..len]);
            bytes += len as u64;
        }
    }

    /// The digest of all bytes added.
    pub fn finish(self) -> Digest {
        match self.0 {
            State::Sha256(hash) => Digest::from_hash(Algorithm::Sha256, &hash.finalize()),
            State::Sha512(hash) => Digest::from_hash(Algorithm::Sha512, &hash.finalize()),
        }
    }
}

/// Hashes and counts what is written.
#[derive(Debug)]
pub(crate) struct Hashing<W> {
    /// Where it goes.
    pub(crate) output: W,
    pub(crate) hasher: Hasher,
    pub(crate) size: u64,
}

impl<W> Hashing<W> {
    pub(crate) fn new(output: W) -> Self {
        Self { output, hasher: Hasher::new(Algorithm::Sha256), size: 0 }
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.output.write(bytes)?;
        self.hasher.update(&bytes[..len]);
        self.size += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// The SHA-256 digest of `bytes`.
pub fn sha256(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(bytes);
    hasher.finish()
}

/// Passes bytes on and hashes them. [`VerifyingReader::finish`] says whether they are what the descriptor promised;
/// until then nothing that was read is to be trusted.
#[derive(Debug)]
pub struct VerifyingReader<R> {
    inner: R,
    hasher: Hasher,
    expected: Digest,
    size: u64,
    seen: u64,
}

impl<R: Read> VerifyingReader<R> {
    /// Reads what `descriptor` describes.
    pub fn new(inner: R, descriptor: &Descriptor) -> Self {
        Self {
            inner,
            hasher: Hasher::new(descriptor.digest.algorithm()),
            expected: descriptor.digest.clone(),
            size: descriptor.size,
            seen: 0,
        }
    }

    /// Reads what is left, one byte more than promised at most, and compares.
    pub fn finish(mut self) -> Result<()> {
        io::copy(&mut self, &mut io::sink())?;
        check(&self.expected, self.size, &self.hasher.finish(), self.seen)
    }
}

impl<R: Read> Read for VerifyingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.seen > self.size {
            return Ok(0);
        }
        // One byte more than promised is enough to know that there is too much.
        let limit = usize::try_from(self.size - self.seen + 1).unwrap_or(usize::MAX).min(buffer.len());
        let len = self.inner.read(&mut buffer[..limit])?;
        self.hasher.update(&buffer[..len]);
        self.seen += len as u64;
        Ok(len)
    }
}

/// Reads a whole blob of at most 4 MiB, verified.
pub(crate) fn read_small(input: impl Read, descriptor: &Descriptor) -> Result<Vec<u8>> {
    if descriptor.size > MAX_MANIFEST {
        return Err(Error::invalid(format!("{} bytes are more than 4 MiB", descriptor.size)));
    }
    let mut hasher = Hasher::new(descriptor.digest.algorithm());
    // Room for one byte too many, and for a last read that finds nothing; small, whatever the descriptor promises.
    let mut bytes =
        Vec::with_capacity(usize::try_from(descriptor.size).map_or(0, |size| size.min(64 << 10) + 2));
    input.take(descriptor.size + 1).read_to_end(&mut bytes)?;
    hasher.update(&bytes);
    check(&descriptor.digest, descriptor.size, &hasher.finish(), bytes.len() as u64)?;
    Ok(bytes)
}

/// Size first, then digest: the message is about what is easier to understand.
pub fn check(expected: &Digest, size: u64, found: &Digest, seen: u64) -> Result<()> {
    if seen > size {
        return Err(Error::invalid(format!(
            "blob {expected}: more than the {size} bytes that were promised"
        )));
    }
    if seen < size {
        return Err(Error::invalid(format!("{seen} bytes instead of {size}")));
    }
    if found != expected {
        return Err(Error::invalid(format!("the content has the digest {found}, not {expected}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(bytes: &[u8]) -> Descriptor {
        Descriptor::new("x", sha256(bytes), bytes.len() as u64)
    }

    fn read(served: &[u8], promised: &[u8]) -> Result<Vec<u8>> {
        let mut reader = VerifyingReader::new(served, &descriptor(promised));
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        reader.finish().map(|()| bytes)
    }

    #[test]
    fn only_the_promised_bytes_pass() {
        assert_eq!(read(b"hello", b"hello").unwrap(), b"hello");
        for (served, complaint) in [
            (&b"hell"[..], "4 bytes instead of 5"),
            (b"hello!", "more than the 5 bytes"),
            (b"hellO", "has the digest"),
        ] {
            let error = read(served, b"hello").unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Invalid);
            assert!(error.to_string().contains(complaint), "{error}");
        }
    }

    #[test]
    fn sha512_is_computed_too() {
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(b"abc");
        assert!(hasher.finish().hex().starts_with("ddaf35a193617abacc417349ae204131"));
    }
}
