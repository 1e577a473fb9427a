// SPDX-License-Identifier: Apache-2.0
//! Reads an archive member by member from a stream.

use std::ffi::OsString;
use std::io::{self, BufRead, Read, Seek};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::header::{self, Format, Header};
use super::{BLOCK, Entry, Kind, Time, Xattr, pax, sparse};
use crate::{Error, ErrorKind, Result};

/// All extended headers of one member together.
const MAX_EXTENDED: u64 = 1 << 20;
/// The kernel's limits for a path and for one name in it; a whiteout of a name is longer than it.
const MAX_PATH: usize = 4096;
const MAX_NAME: usize = 255;

/// An archive under way.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    /// Data of the current member that has not been read.
    data: u64,
    /// What fills its last block.
    padding: u64,
    members: u64,
}

/// What extended headers say about the member behind them.
#[derive(Debug, Default)]
struct Extended {
    any: bool,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<Time>,
    atime: Option<Time>,
    xattrs: Vec<Xattr>,
    sparse: sparse::Told,
    bytes: u64,
}

impl<R: BufRead> Reader<R> {
    /// Nothing read yet.
    pub fn new(input: R) -> Self {
        Self { input, data: 0, padding: 0, members: 0 }
    }

    /// The next member; `None` at the end of the archive. Data of the last one that was not read is skipped.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        self.members += 1;
        let number = self.members;
        self.read_entry().map_err(|error| error.wrap(format!("tar member {number}")))
    }

    fn read_entry(&mut self) -> Result<Option<Entry>> {
        let mut extended = Extended::default();
        loop {
            self.skip_data()?;
            let Some(block) = self.block()? else {
                return if extended.any {
                    Err(Error::invalid("an extended header at the end"))
                } else {
                    Ok(None)
                };
            };
            let header = Header::check(&block)?;
            match header.kind() {
                // A global header speaks of the whole archive; nothing in it is for a layer.
                b'g' => self.begin_data(header.unsigned(header::SIZE, "size")?)?,
                b'x' | b'X' => {
                    let content = self.extended(&header, &mut extended)?;
                    extended.take(&content)?;
                }
                b'L' => {
                    let content = self.extended(&header, &mut extended)?;
                    set_once(&mut extended.path, before_nul(content), "path")?;
                }
                b'K' => {
                    let content = self.extended(&header, &mut extended)?;
                    set_once(&mut extended.link, before_nul(content), "link target")?;
                }
                _ => return self.member(&header, extended).map(Some),
            }
        }
    }

    /// Moves behind the data of the current member without reading it, and says where it began.
    pub fn seek_over_data(&mut self) -> Result<u64>
    where
        R: Seek,
    {
        let at = self.input.stream_position()?;
        let size = i64::try_from(std::mem::take(&mut self.data));
        self.input.seek_relative(size.map_err(|_| Error::invalid("a size beyond all files"))?)?;
        Ok(at)
    }

    /// The stored data of the current member: all of it, or for a sparse file the segments in order.
    pub fn data(&mut self) -> Data<'_, R> {
        Data { input: &mut self.input, left: &mut self.data }
    }

    fn begin_data(&mut self, size: u64) -> Result<()> {
        // So that no sum of sizes can overflow.
        if size > 1 << 62 {
            return Err(Error::invalid(format!("a size of {size} bytes")));
        }
        self.data = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    fn skip_data(&mut self) -> Result<()> {
        let mut left = std::mem::take(&mut self.data);
        while left > 0 {
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(self.fill()?.len());
            self.input.consume(len);
            left -= len as u64;
        }
        // Writers that are never closed (`umoci insert` of 0.4) leave out the last padding; Go reads on, and so do
        // we. Less than a block: one look at what is buffered may not show it all.
        let padding = std::mem::take(&mut self.padding);
        io::copy(&mut self.input.by_ref().take(padding), &mut io::sink())?;
        Ok(())
    }

    /// Buffered bytes, at least one.
    fn fill(&mut self) -> Result<&[u8]> {
        match self.input.fill_buf() {
            Ok([]) => Err(Error::invalid("the archive ends in the middle")),
            Ok(bytes) => Ok(bytes),
            Err(error) => Err(error.into()),
        }
    }

    /// The next header; `None` at the end: a block of zeros, or no more bytes.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        if self.input.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        self.input.read_exact(&mut block).map_err(ended_early)?;
        Ok((block != [0; BLOCK]).then_some(block))
    }

    /// The content of an extended header.
    fn extended(&mut self, header: &Header<'_>, extended: &mut Extended) -> Result<Vec<u8>> {
        let size = header.unsigned(header::SIZE, "size")?;
        extended.any = true;
        extended.bytes += size.min(MAX_EXTENDED + 1);
        if extended.bytes > MAX_EXTENDED {
            return Err(Error::invalid("more than 1 MiB of extended headers"));
        }
        self.begin_data(size)?;
        let mut content = vec![0; usize::try_from(size).unwrap_or(0)];
        self.data().read_exact(&mut content).map_err(ended_early)?;
        Ok(content)
    }

    fn member(&mut self, header: &Header<'_>, mut extended: Extended) -> Result<Entry> {
        let stored = match extended.size {
            Some(size) => size,
            None => header.unsigned(header::SIZE, "size")?,
        };
        let name = extended.sparse.name.take().or(extended.path.take()).unwrap_or_else(|| header.path());
        let link = extended.link.take().unwrap_or_else(|| header.text(header::LINK).to_vec());
        let device = |field, name| match header.format() {
            Format::V7 => Ok(0),
            Format::Ustar | Format::Gnu => header.word(field, name),
        };
        let kind = match header.kind() {
            // Before ustar there was no type for directories.
            0 | b'0' if name.ends_with(b"/") && stored == 0 => Kind::Directory,
            0 | b'0' | b'7' => self.file(header, std::mem::take(&mut extended.sparse), stored)?,
            b'S' => {
                let (size, holes) = sparse::old(header.0, &mut self.input, stored)?;
                self.begin_data(stored)?;
                Kind::File { size, holes: Some(holes) }
            }
            b'1' => Kind::Link { target: clean_path(&link)? },
            b'2' => Kind::Symlink { target: symlink_target(link)? },
            b'3' => {
                Kind::Char { major: device(header::MAJOR, "major")?, minor: device(header::MINOR, "minor")? }
            }
            b'4' => {
                Kind::Block { major: device(header::MAJOR, "major")?, minor: device(header::MINOR, "minor")? }
            }
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => {
                let shown = other.escape_ascii();
                return Err(Error::invalid(format!("{:?}: unknown type '{shown}'", lossy(&name))));
            }
        };
        let mtime = Time { sec: header.signed(header::MTIME, "time")?, nsec: 0 };
        Ok(Entry {
            path: clean_path(&name)?,
            kind,
            mode: header.word(header::MODE, "mode")? & 0o7777,
            uid: extended.uid.map_or_else(|| header.word(header::UID, "uid"), Ok)?,
            gid: extended.gid.map_or_else(|| header.word(header::GID, "gid"), Ok)?,
            mtime: extended.mtime.unwrap_or(mtime),
            atime: extended.atime,
            xattrs: extended.xattrs,
        })
    }

    /// A regular file, with or without holes.
    fn file(&mut self, header: &Header<'_>, told: sparse::Told, mut stored: u64) -> Result<Kind> {
        self.begin_data(stored)?;
        let whole = stored;
        let map = told.resolve(&mut self.input, &mut stored)?;
        // A map in front of the data is a multiple of a block, so the padding stays.
        self.data = whole - (whole - stored);
        match map {
            Some((size, holes)) if header.kind() != b'S' => Ok(Kind::File { size, holes: Some(holes) }),
            _ => Ok(Kind::file(stored)),
        }
    }
}

/// The stored bytes of a member.
#[derive(Debug)]
pub struct Data<'a, R> {
    input: &'a mut R,
    left: &'a mut u64,
}

impl<R: BufRead> BufRead for Data<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if *self.left == 0 {
            return Ok(&[]);
        }
        let bytes = self.input.fill_buf()?;
        if bytes.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends in the middle"));
        }
        let len = usize::try_from(*self.left).unwrap_or(usize::MAX).min(bytes.len());
        Ok(&bytes[..len])
    }

    fn consume(&mut self, len: usize) {
        self.input.consume(len);
        *self.left -= len as u64;
    }
}

impl<R: BufRead> Read for Data<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let len = bytes.len().min(buffer.len());
        buffer[..len].copy_from_slice(&bytes[..len]);
        self.consume(len);
        Ok(len)
    }
}

impl Extended {
    fn take(&mut self, content: &[u8]) -> Result<()> {
        for record in pax::records(content)? {
            let text = || -> Result<Vec<u8>> {
                let value = record.value.to_vec();
                if value.contains(&0) { Err(malformed(record.key)) } else { Ok(value) }
            };
            let number = || pax::decimal(record.value).ok_or_else(|| malformed(record.key));
            let word = || u32::try_from(number()?).map_err(|_| malformed(record.key));
            let time = || pax::time(record.value).ok_or_else(|| malformed(record.key));
            match record.key {
                // An empty value takes back what an earlier header said.
                b"path" | b"linkpath" | b"size" | b"uid" | b"gid" | b"mtime" | b"atime"
                    if record.value.is_empty() => {}
                b"path" => set_once(&mut self.path, text()?, "path")?,
                b"linkpath" => set_once(&mut self.link, text()?, "link target")?,
                b"size" => set_once(&mut self.size, number()?, "size")?,
                b"uid" => self.uid = Some(word()?),
                b"gid" => self.gid = Some(word()?),
                b"mtime" => self.mtime = Some(time()?),
                b"atime" => self.atime = Some(time()?),
                key if key.starts_with(b"GNU.sparse.") => self.sparse.take(&record)?,
                key => self.xattrs.extend(xattr(key, record.value)?),
            }
        }
        Ok(())
    }
}

/// An extended attribute, in the spelling of star (which all use) or of libarchive.
fn xattr(key: &[u8], value: &[u8]) -> Result<Option<Xattr>> {
    let xattr = if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
        Xattr { name: name.to_vec(), value: value.to_vec() }
    } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
        let decoded = unescape_percent(name).zip(unescape_base64(value));
        let (name, value) = decoded.ok_or_else(|| malformed(key))?;
        Xattr { name, value }
    } else {
        return Ok(None);
    };
    let good = !xattr.name.is_empty() && !xattr.name.contains(&0) && xattr.name.len() <= MAX_NAME;
    if good { Ok(Some(xattr)) } else { Err(malformed(key)) }
}

fn unescape_percent(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        if *first != b'%' {
            out.push(*first);
            rest = tail;
            continue;
        }
        let hex = std::str::from_utf8(tail.get(..2)?).ok()?;
        out.push(u8::from_str_radix(hex, 16).ok()?);
        rest = &tail[2..];
    }
    Some(out)
}

fn unescape_base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut bits, mut have) = (0_u32, 0);
    for byte in text.iter().filter(|b| **b != b'=') {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(digit);
        have += 6;
        if have >= 8 {
            have -= 8;
            out.push(u8::try_from(bits >> have & 0xff).ok()?);
        }
    }
    Some(out)
}

/// Two headers may say the same of a member, but not different things: programs disagree about which one counts.
fn set_once<T: PartialEq>(slot: &mut Option<T>, value: T, what: &str) -> Result<()> {
    if slot.as_ref().is_some_and(|old| *old != value) {
        return Err(Error::invalid(format!("two extended headers give the member different {what}s")));
    }
    *slot = Some(value);
    Ok(())
}

fn before_nul(mut content: Vec<u8>) -> Vec<u8> {
    let end = content.iter().position(|b| *b == 0).unwrap_or(content.len());
    content.truncate(end);
    content
}

fn symlink_target(target: Vec<u8>) -> Result<OsString> {
    if target.is_empty() || target.len() >= MAX_PATH {
        return Err(Error::invalid("a symlink whose target is empty or too long"));
    }
    Ok(OsString::from_vec(target))
}

/// A member's path as a relative one: leading `/` and all `.` go, `..` is refused.
fn clean_path(raw: &[u8]) -> Result<PathBuf> {
    let hostile = |why: &str| Err(Error::new(ErrorKind::Hostile, format!("{:?}: {why}", lossy(raw))));
    if raw.len() > MAX_PATH {
        return hostile("the path is longer than 4096 bytes");
    }
    if raw.is_empty() {
        return hostile("the path is empty");
    }
    let mut path: Vec<u8> = Vec::with_capacity(raw.len());
    for component in raw.split(|b| *b == b'/') {
        match component {
            b"" | b"." => continue,
            b".." => return hostile("the path has a .. component"),
            long if long.strip_prefix(b".wh.").unwrap_or(long).len() > MAX_NAME => {
                return hostile("a name is longer than 255 bytes");
            }
            _ => {}
        }
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(component);
    }
    Ok(PathBuf::from(OsString::from_vec(path)))
}

/// For messages: at most 200 characters.
fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(200).collect()
}

fn malformed(key: &[u8]) -> Error {
    Error::invalid(format!("extended tar header: malformed value of {:?}", lossy(key)))
}

fn ended_early(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::invalid("the archive ends in the middle"),
        _ => error.into(),
    }
}
