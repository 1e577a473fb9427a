// SPDX-License-Identifier: Apache-2.0
//! Reads along while a layer is unpacked, and writes down everything but the files' content.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::write::GzEncoder;

use super::super::header::{self, Header};
use super::super::{BLOCK, pax};
use super::{Crc64, FILE, Line, SEGMENT};
use crate::{Result, Wrap};

/// Bytes in one segment, about.
const SEGMENT_BYTES: usize = 64 << 10;

/// An archive that is passed on.
pub(crate) struct Splitter<R, W: Write> {
    input: R,
    notes: Notes<W>,
    failed: Option<io::Error>,
}

/// What was seen of an archive.
#[derive(Debug)]
pub(crate) struct Anatomy {
    /// Bytes of the whole archive.
    pub(crate) size: u64,
    /// Users that own something in it.
    pub(crate) uids: BTreeSet<u32>,
    /// Groups likewise.
    pub(crate) gids: BTreeSet<u32>,
    /// Whether there is an entry for the root directory itself.
    pub(crate) has_root: bool,
}

/// Where in the archive the next byte lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Header,
    /// Of this kind, this long without padding.
    Extended(u8, usize),
    File,
    /// Padding, or content that is kept.
    Kept,
    /// Behind the last member, or nothing that we understand.
    Rest,
}

/// What extended headers say about the member behind them.
#[derive(Debug, Default)]
struct Told {
    path: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    sparse: bool,
}

struct Notes<W: Write> {
    output: GzEncoder<W>,
    anatomy: Anatomy,
    position: u64,
    part: Part,
    /// Bytes of this part that are still to come.
    left: u64,
    /// Of a header, what has come.
    content: Vec<u8>,
    told: Told,
    segment: Vec<u8>,
    file: (Vec<u8>, u64, Crc64),
}

impl<R: BufRead, W: Write> Splitter<R, W> {
    /// Reads `input`; the notes go to `output`.
    pub(crate) fn new(input: R, output: W) -> Self {
        let anatomy = Anatomy { size: 0, uids: BTreeSet::new(), gids: BTreeSet::new(), has_root: false };
        let notes = Notes {
            output: GzEncoder::new(output, flate2::Compression::fast()),
            anatomy,
            position: 0,
            part: Part::Header,
            left: BLOCK as u64,
            content: Vec::new(),
            told: Told::default(),
            segment: Vec::new(),
            file: (Vec::new(), 0, Crc64::default()),
        };
        Self { input, notes, failed: None }
    }

    /// Reads what is left, and ends the notes.
    pub(crate) fn finish(mut self) -> Result<(W, Anatomy)> {
        let end = |splitter: &mut Self| {
            io::copy(splitter, &mut io::sink())?;
            match splitter.failed.take() {
                Some(error) => Err(error),
                None => splitter.notes.end_segment(),
            }
        };
        end(&mut self).wrap(|| "tar-split")?;
        Ok((self.notes.output.finish().wrap(|| "tar-split")?, self.notes.anatomy))
    }
}

impl<R: BufRead, W: Write> BufRead for Splitter<R, W> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, len: usize) {
        // What is buffered is handed out again: no byte is read here.
        let seen = match self.input.fill_buf() {
            Ok(bytes) => self.notes.see(&bytes[..len]),
            Err(error) => Err(error),
        };
        if let Err(error) = seen {
            self.failed.get_or_insert(error);
        }
        self.input.consume(len);
    }
}

impl<R: BufRead, W: Write> Read for Splitter<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let len = bytes.len().min(buffer.len());
        buffer[..len].copy_from_slice(&bytes[..len]);
        self.consume(len);
        Ok(len)
    }
}

impl<W: Write> Notes<W> {
    fn see(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.anatomy.size += bytes.len() as u64;
        while !bytes.is_empty() {
            let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            let (now, later) = bytes.split_at(len);
            match self.part {
                Part::File => self.file.2.update(now),
                Part::Header | Part::Extended(..) => {
                    self.segment.extend_from_slice(now);
                    self.content.extend_from_slice(now);
                }
                Part::Kept | Part::Rest => self.segment.extend_from_slice(now),
            }
            self.left -= len as u64;
            bytes = later;
            while self.left == 0 {
                self.next_part()?;
            }
            if self.segment.len() >= SEGMENT_BYTES {
                self.end_segment()?;
            }
        }
        Ok(())
    }

    fn next_part(&mut self) -> io::Result<()> {
        let content = std::mem::take(&mut self.content);
        let (part, left) = match self.part {
            Part::Header => self.header(&content)?,
            Part::Extended(kind, len) => {
                self.extended(kind, &content[..len]);
                (Part::Header, BLOCK as u64)
            }
            Part::File => {
                let (name, size, sum) = std::mem::take(&mut self.file);
                self.file_line(&name, size, Some(STANDARD.encode(sum.sum())))?;
                (Part::Kept, size.next_multiple_of(BLOCK as u64) - size)
            }
            Part::Kept => (Part::Header, BLOCK as u64),
            Part::Rest => (Part::Rest, u64::MAX),
        };
        (self.part, self.left) = (part, left);
        Ok(())
    }

    /// What follows a header. What is wrong with one is for the reader of the archive to say.
    fn header(&mut self, content: &[u8]) -> io::Result<(Part, u64)> {
        let rest = Ok((Part::Rest, u64::MAX));
        let Ok(block) = <&[u8; BLOCK]>::try_from(content) else { return rest };
        let Ok(header) = Header::check(block) else { return rest };
        let Ok(size) = header.unsigned(header::SIZE, "size") else { return rest };
        let padded = |size: u64| size.checked_next_multiple_of(BLOCK as u64).unwrap_or(u64::MAX);
        match header.kind() {
            b'g' => Ok((Part::Kept, padded(size))),
            kind @ (b'x' | b'X' | b'L' | b'K') => {
                let len = usize::try_from(size).unwrap_or(usize::MAX);
                Ok((Part::Extended(kind, len), padded(size)))
            }
            kind => {
                let told = std::mem::take(&mut self.told);
                let stored = told.size.unwrap_or(size);
                let name = told.path.unwrap_or_else(|| header.path());
                self.anatomy.uids.extend(told.uid.or_else(|| header.word(header::UID, "uid").ok()));
                self.anatomy.gids.extend(told.gid.or_else(|| header.word(header::GID, "gid").ok()));
                self.anatomy.has_root |= name.split(|b| *b == b'/').all(|part| matches!(part, b"" | b"."));
                if matches!(kind, 0 | b'0' | b'7') && stored > 0 && !told.sparse {
                    self.end_segment()?;
                    self.file = (name, stored, Crc64::default());
                    return Ok((Part::File, stored));
                }
                self.end_segment()?;
                self.file_line(&name, 0, None)?;
                let has_data = matches!(kind, 0 | b'0' | b'7' | b'S');
                Ok((Part::Kept, if has_data { padded(stored) } else { 0 }))
            }
        }
    }

    fn extended(&mut self, kind: u8, content: &[u8]) {
        match kind {
            b'L' => {
                let end = content.iter().position(|b| *b == 0).unwrap_or(content.len());
                self.told.path = Some(content[..end].to_vec());
            }
            b'x' | b'X' => {
                for pax::Record { key, value } in pax::records(content).unwrap_or_default() {
                    let word = || pax::decimal(value).and_then(|value| u32::try_from(value).ok());
                    match key {
                        b"path" => self.told.path = Some(value.to_vec()),
                        b"size" => self.told.size = pax::decimal(value),
                        b"uid" => self.told.uid = word(),
                        b"gid" => self.told.gid = word(),
                        key => self.told.sparse |= key.starts_with(b"GNU.sparse."),
                    }
                }
            }
            _ => {}
        }
    }

    fn end_segment(&mut self) -> io::Result<()> {
        if self.segment.is_empty() {
            return Ok(());
        }
        let payload = Some(STANDARD.encode(&self.segment));
        self.segment.clear();
        self.line(Line { kind: SEGMENT, name: None, name_raw: None, size: 0, payload, position: 0 })
    }

    fn file_line(&mut self, name: &[u8], size: u64, payload: Option<String>) -> io::Result<()> {
        let (name, name_raw) = match std::str::from_utf8(name) {
            Ok(name) => (Some(name.to_owned()), None),
            Err(_) => (None, Some(STANDARD.encode(name))),
        };
        self.line(Line { kind: FILE, name, name_raw, size, payload, position: 0 })
    }

    fn line(&mut self, mut line: Line) -> io::Result<()> {
        line.position = self.position;
        self.position += 1;
        serde_json::to_writer(&mut self.output, &line)?;
        self.output.write_all(b"\n")
    }
}
