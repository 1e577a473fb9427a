// SPDX-License-Identifier: Apache-2.0
//! Files with holes: GNU's old format (type `S`, map in the header and in blocks behind it) and the three that are
//! told in extended headers (0.0, 0.1, and 1.0 with the map in front of the data).

use std::io::BufRead;

use super::header::number;
use super::pax::{Record, decimal};
use super::{BLOCK, Segment};
use crate::{Error, Result};

/// More segments than any file has that was not made to hurt.
const MAX_SEGMENTS: usize = 1 << 16;

/// What extended headers say about holes.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) name: Option<Vec<u8>>,
    real_size: Option<u64>,
    major: Option<u64>,
    numbers: Vec<u64>,
    seen: bool,
}

fn bad(why: &str) -> Error {
    Error::invalid(format!("sparse file: {why}"))
}

impl Told {
    /// Takes a record that starts `GNU.sparse.`.
    pub(super) fn take(&mut self, record: &Record<'_>) -> Result<()> {
        self.seen = true;
        let value = || decimal(record.value).ok_or_else(|| bad("a number is malformed"));
        match record.key.strip_prefix(b"GNU.sparse.").unwrap_or_default() {
            b"name" => self.name = Some(record.value.to_vec()),
            b"realsize" | b"size" => self.real_size = Some(value()?),
            b"major" => self.major = Some(value()?),
            b"offset" | b"numbytes" => self.push(value()?)?,
            b"map" => {
                for text in record.value.split(|b| *b == b',') {
                    self.push(decimal(text).ok_or_else(|| bad("the map is malformed"))?)?;
                }
            }
            // minor, numblocks: told twice.
            _ => {}
        }
        Ok(())
    }

    fn push(&mut self, number: u64) -> Result<()> {
        if self.numbers.len() >= 2 * MAX_SEGMENTS {
            return Err(bad("too many segments"));
        }
        self.numbers.push(number);
        Ok(())
    }

    /// The map, if the file is sparse: real size and segments. Reads the map of format 1.0 from the data, whose
    /// stored size `stored` shrinks by it.
    pub(super) fn resolve(
        self,
        data: &mut impl BufRead,
        stored: &mut u64,
    ) -> Result<Option<(u64, Vec<Segment>)>> {
        if !self.seen {
            return Ok(None);
        }
        let real = self.real_size.ok_or_else(|| bad("the real size is missing"))?;
        let numbers = match self.major {
            Some(1) => leading_map(data, stored)?,
            None | Some(0) => self.numbers,
            Some(other) => return Err(bad(&format!("unknown format {other}"))),
        };
        if !numbers.len().is_multiple_of(2) {
            return Err(bad("half a segment"));
        }
        let pairs = numbers.chunks(2).map(|pair| Segment { offset: pair[0], len: pair[1] });
        Ok(Some((real, checked(pairs.collect(), real, *stored)?)))
    }
}

/// Format 1.0: decimal numbers on lines, padded to a block, in front of the data.
fn leading_map(data: &mut impl BufRead, stored: &mut u64) -> Result<Vec<u64>> {
    let mut text: Vec<u8> = Vec::new();
    let mut lines = 0;
    let mut wanted = 1;
    while lines < wanted {
        if *stored < BLOCK as u64 || text.len() > MAX_SEGMENTS * 32 {
            return Err(bad("the map does not end"));
        }
        let mut block = [0; BLOCK];
        data.read_exact(&mut block)?;
        *stored -= BLOCK as u64;
        text.extend_from_slice(&block);
        lines += block.iter().filter(|b| **b == b'\n').count();
        if wanted == 1 && lines > 0 {
            let first = text.split(|b| *b == b'\n').next().unwrap_or_default();
            let count = decimal(first).and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= MAX_SEGMENTS);
            wanted = 1 + 2 * count.ok_or_else(|| bad("the map's length is malformed"))?;
        }
    }
    let numbers = text.split(|b| *b == b'\n').skip(1).take(wanted - 1);
    numbers.map(|line| decimal(line).ok_or_else(|| bad("the map is malformed"))).collect()
}

/// GNU's old format: four segments in the header, 21 in each block behind it.
pub(super) fn old(header: &[u8; BLOCK], data: &mut impl BufRead, stored: u64) -> Result<(u64, Vec<Segment>)> {
    let size = |field: &[u8]| {
        number(field).and_then(|n| u64::try_from(n).ok()).ok_or_else(|| bad("a number is malformed"))
    };
    let real = size(&header[483..495])?;
    let mut segments = Vec::new();
    let mut take = |fields: &[u8]| -> Result<()> {
        for pair in fields.chunks_exact(24).filter(|pair| pair[0] != 0) {
            segments.push(Segment { offset: size(&pair[..12])?, len: size(&pair[12..])? });
        }
        if segments.len() > MAX_SEGMENTS { Err(bad("too many segments")) } else { Ok(()) }
    };
    take(&header[386..482])?;
    let mut more = header[482] != 0;
    while more {
        let mut block = [0; BLOCK];
        data.read_exact(&mut block)?;
        take(&block[..504])?;
        more = block[504] != 0;
    }
    Ok((real, checked(segments, real, stored)?))
}

/// In order, without overlap, inside the file, and as many bytes as are stored.
fn checked(segments: Vec<Segment>, real: u64, stored: u64) -> Result<Vec<Segment>> {
    let mut end = 0;
    let mut total: u64 = 0;
    for segment in &segments {
        if segment.offset < end {
            return Err(bad("segments overlap"));
        }
        end = segment
            .offset
            .checked_add(segment.len)
            .filter(|end| *end <= real)
            .ok_or_else(|| bad("a segment ends behind the file"))?;
        total += segment.len;
    }
    if total != stored {
        return Err(bad(&format!("the map covers {total} bytes, but {stored} are stored")));
    }
    Ok(segments)
}
