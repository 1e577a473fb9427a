// SPDX-License-Identifier: Apache-2.0
//! The archive again, from the notes and the unpacked files. Whoever keeps it verifies the digest; a file that is not what
//! it was is told here already, by its name.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use conex_sys::path::Root;

use super::{Crc64, FILE, Line, SEGMENT};

/// A line is a segment at most; other programs' segments are as large as what they buffered.
const MAX_LINE: u64 = 64 << 20;

/// An archive put together while it is read.
#[derive(Debug)]
pub(crate) struct Joined<R> {
    lines: R,
    files: Root,
    now: Now,
}

#[derive(Debug)]
enum Now {
    Bytes(io::Cursor<Vec<u8>>),
    File { file: File, name: PathBuf, left: u64, found: Crc64, sum: Option<Vec<u8>> },
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

impl<R: BufRead> Joined<R> {
    /// `lines` are the notes, decompressed; `files` is where the layer is unpacked.
    pub(crate) fn new(lines: R, files: Root) -> Self {
        Self { lines, files, now: Now::Bytes(io::Cursor::new(Vec::new())) }
    }

    /// The size of the archive, from the notes alone.
    pub(crate) fn measure(lines: &mut R) -> io::Result<u64> {
        let mut size = 0;
        while let Some(line) = next_line(lines)? {
            size += match line.kind {
                FILE => line.size,
                _ => decode(line.payload.as_deref())?.len() as u64,
            };
        }
        Ok(size)
    }

    /// Goes on with the next line; `false` at the end.
    fn advance(&mut self) -> io::Result<bool> {
        let Some(line) = next_line(&mut self.lines)? else { return Ok(false) };
        match line.kind {
            SEGMENT => self.now = Now::Bytes(io::Cursor::new(decode(line.payload.as_deref())?)),
            FILE if line.size > 0 => self.now = self.open(line)?,
            FILE => {}
            other => return Err(invalid(format!("tar-split: a line of type {other}"))),
        }
        Ok(true)
    }

    fn open(&self, line: Line) -> io::Result<Now> {
        let name = match (line.name, line.name_raw) {
            (Some(name), _) => PathBuf::from(name),
            (None, Some(raw)) => OsString::from_vec(decode(Some(&raw))?).into(),
            (None, None) => return Err(invalid("tar-split: a file without a name".to_owned())),
        };
        let found = self.files.open_regular(&name).map_err(|error| io::Error::other(error.to_string()))?;
        let file = found.ok_or_else(|| invalid(format!("{name:?} is no file any more")))?;
        let sum = line.payload.map(|sum| decode(Some(&sum))).transpose()?;
        Ok(Now::File { file, name, left: line.size, found: Crc64::default(), sum })
    }
}

fn decode(text: Option<&str>) -> io::Result<Vec<u8>> {
    STANDARD.decode(text.unwrap_or_default()).map_err(|error| invalid(format!("tar-split: {error}")))
}

fn next_line(lines: &mut impl BufRead) -> io::Result<Option<Line>> {
    let mut text = Vec::new();
    lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut text)?;
    if text.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(&text).map(Some).map_err(|error| invalid(format!("tar-split: {error}")))
}

impl<R: BufRead> Read for Joined<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match &mut self.now {
                Now::Bytes(bytes) => {
                    let len = bytes.read(buffer)?;
                    if len > 0 || buffer.is_empty() {
                        return Ok(len);
                    }
                }
                Now::File { file, name, left, found, sum } if *left > 0 => {
                    let limit = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                    let len = file.read(&mut buffer[..limit])?;
                    if len == 0 && limit > 0 {
                        return Err(invalid(format!("{name:?} is shorter than it was")));
                    }
                    found.update(&buffer[..len]);
                    *left -= len as u64;
                    if *left == 0 && sum.as_ref().is_some_and(|sum| *sum != found.sum()) {
                        return Err(invalid(format!("{name:?} has changed since it was unpacked")));
                    }
                    return Ok(len);
                }
                Now::File { .. } => {}
            }
            if !self.advance()? {
                return Ok(0);
            }
        }
    }
}
