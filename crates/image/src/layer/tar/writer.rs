// SPDX-License-Identifier: Apache-2.0
//! Writes an archive: `ustar`, with an extended header only where that does not hold what there is to say. The same
//! entries always give the same bytes.

use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;

use super::header::{self, put_octal};
use super::{BLOCK, Entry, Kind, pax};
use crate::{Error, Result};

/// An archive under way. Without [`Writer::finish`] it has no end.
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
}

impl<W: Write> Writer<W> {
    /// Nothing written yet.
    pub fn new(output: W) -> Self {
        Self { output }
    }

    /// Adds a member. For a regular file `data` must yield exactly its size; otherwise it is not read.
    pub fn append(&mut self, entry: &Entry, data: &mut dyn Read) -> Result<()> {
        let mut extended = Vec::new();
        let mut block = [0; BLOCK];
        fill(&mut block, entry, &mut extended)?;
        if !extended.is_empty() {
            let mut front = [0; BLOCK];
            let marker = Entry::new("PaxHeaders.0", Kind::file(extended.len() as u64), 0o644);
            fill(&mut front, &marker, &mut Vec::new())?;
            front[header::TYPE] = b'x';
            self.output.write_all(&sealed(front))?;
            self.output.write_all(&extended)?;
            self.pad(extended.len() as u64)?;
        }
        self.output.write_all(&sealed(block))?;
        if let Kind::File { size, .. } = entry.kind {
            let copied = io::copy(&mut data.take(size), &mut self.output)?;
            if copied != size {
                return Err(Error::invalid(format!("{:?}: {copied} bytes instead of {size}", entry.path)));
            }
            self.pad(size)?;
        }
        Ok(())
    }

    /// Adds a member that has no data.
    pub fn append_empty(&mut self, entry: &Entry) -> Result<()> {
        self.append(entry, &mut io::empty())
    }

    /// Ends the archive, and gives back what it was written to.
    pub fn finish(mut self) -> Result<W> {
        self.end()?;
        Ok(self.output)
    }

    /// Ends the archive, and shows what it was written to. Nothing may be added any more.
    pub fn end(&mut self) -> Result<&mut W> {
        self.output.write_all(&[0; 2 * BLOCK])?;
        Ok(&mut self.output)
    }

    fn pad(&mut self, len: u64) -> Result<()> {
        let padding = usize::try_from(len.next_multiple_of(BLOCK as u64) - len).unwrap_or(0);
        Ok(self.output.write_all(&[0; BLOCK][..padding])?)
    }
}

/// Fills the header; what it cannot hold goes to `extended`.
fn fill(block: &mut [u8; BLOCK], entry: &Entry, extended: &mut Vec<u8>) -> Result<()> {
    let mut path = entry.path.as_os_str().as_bytes().to_vec();
    if path.is_empty() {
        path.push(b'.');
    }
    if entry.kind == Kind::Directory {
        path.push(b'/');
    }
    put_text(&mut block[header::NAME], b"path", &path, extended);
    put_octal(&mut block[header::MODE], entry.mode.into());
    put_number(&mut block[header::UID], b"uid", entry.uid.into(), extended);
    put_number(&mut block[header::GID], b"gid", entry.gid.into(), extended);
    let whole = u64::try_from(entry.mtime.sec).ok().filter(|_| entry.mtime.nsec == 0);
    if !whole.is_some_and(|sec| put_octal(&mut block[header::MTIME], sec)) {
        put_octal(&mut block[header::MTIME], 0);
        pax::put(extended, b"mtime", pax::time_text(entry.mtime).as_bytes());
    }
    if let Some(atime) = entry.atime {
        pax::put(extended, b"atime", pax::time_text(atime).as_bytes());
    }
    let mut size = 0;
    let mut device = (0, 0);
    block[header::TYPE] = match &entry.kind {
        Kind::File { holes: Some(_), .. } => {
            return Err(Error::invalid("sparse members are not written (layer.md: SHOULD NOT)"));
        }
        Kind::File { size: len, .. } => {
            size = *len;
            b'0'
        }
        Kind::Link { target } => {
            put_text(&mut block[header::LINK], b"linkpath", target.as_os_str().as_bytes(), extended);
            b'1'
        }
        Kind::Symlink { target } => {
            put_text(&mut block[header::LINK], b"linkpath", target.as_bytes(), extended);
            b'2'
        }
        Kind::Char { major, minor } => {
            device = (*major, *minor);
            b'3'
        }
        Kind::Block { major, minor } => {
            device = (*major, *minor);
            b'4'
        }
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    };
    put_number(&mut block[header::SIZE], b"size", size, extended);
    let fits = put_octal(&mut block[header::MAJOR], device.0.into())
        & put_octal(&mut block[header::MINOR], device.1.into());
    if !fits {
        return Err(Error::invalid(format!("{:?}: device number too large for tar", entry.path)));
    }
    block[header::MAGIC].copy_from_slice(b"ustar\x0000");
    for xattr in &entry.xattrs {
        let key = [b"SCHILY.xattr.", xattr.name.as_slice()].concat();
        pax::put(extended, &key, &xattr.value);
    }
    Ok(())
}

fn put_text(field: &mut [u8], key: &[u8], text: &[u8], extended: &mut Vec<u8>) {
    let len = text.len().min(field.len());
    field[..len].copy_from_slice(&text[..len]);
    if text.len() > field.len() {
        pax::put(extended, key, text);
    }
}

fn put_number(field: &mut [u8], key: &[u8], value: u64, extended: &mut Vec<u8>) {
    if !put_octal(field, value) {
        put_octal(field, 0);
        pax::put(extended, key, value.to_string().as_bytes());
    }
}

/// The block with its checksum.
fn sealed(mut block: [u8; BLOCK]) -> [u8; BLOCK] {
    block[header::CHECKSUM].fill(b' ');
    let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
    let text = format!("{sum:06o}\0 ");
    block[header::CHECKSUM].copy_from_slice(text.as_bytes());
    block
}
