// SPDX-License-Identifier: Apache-2.0
//! One header block.
//!
//! ```text
//!   0 name[100]  100 mode[8]  108 uid[8]  116 gid[8]  124 size[12]  136 mtime[12]  148 checksum[8]  156 type
//! 157 linkname[100]  257 magic[6] version[2]  265 uname[32]  297 gname[32]  329 major[8]  337 minor[8]
//! 345 prefix[155]                                     ustar
//! 345 atime[12] 357 ctime[12] 386 sparse[4×24] 482 more 483 real size[12]   GNU
//! ```

use std::ops::Range;

use super::BLOCK;
use crate::{Error, Result};

pub(super) const NAME: Range<usize> = 0..100;
pub(super) const MODE: Range<usize> = 100..108;
pub(super) const UID: Range<usize> = 108..116;
pub(super) const GID: Range<usize> = 116..124;
pub(super) const SIZE: Range<usize> = 124..136;
pub(super) const MTIME: Range<usize> = 136..148;
pub(super) const CHECKSUM: Range<usize> = 148..156;
pub(super) const TYPE: usize = 156;
pub(super) const LINK: Range<usize> = 157..257;
pub(super) const MAGIC: Range<usize> = 257..265;
pub(super) const MAJOR: Range<usize> = 329..337;
pub(super) const MINOR: Range<usize> = 337..345;
pub(super) const PREFIX: Range<usize> = 345..500;

/// Which fields behind the type are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    V7,
    Ustar,
    Gnu,
}

/// A header block with a right checksum.
#[derive(Debug)]
pub(super) struct Header<'a>(pub(super) &'a [u8; BLOCK]);

impl<'a> Header<'a> {
    pub(super) fn check(block: &'a [u8; BLOCK]) -> Result<Self> {
        let stored = octal(&block[CHECKSUM]).ok_or_else(|| Error::invalid("tar header has no checksum"))?;
        let in_sum = |i: usize, byte: u8| if CHECKSUM.contains(&i) { b' ' } else { byte };
        let unsigned: u64 = block.iter().enumerate().map(|(i, b)| u64::from(in_sum(i, *b))).sum();
        // Some old programs summed signed characters.
        let signed: i64 = block.iter().enumerate().map(|(i, b)| i64::from(in_sum(i, *b).cast_signed())).sum();
        if stored == unsigned || i64::try_from(stored) == Ok(signed) {
            return Ok(Self(block));
        }
        Err(Error::invalid(format!("tar header has the checksum {unsigned}, but says {stored}")))
    }

    pub(super) fn format(&self) -> Format {
        match &self.0[MAGIC] {
            b"ustar\x0000" => Format::Ustar,
            b"ustar  \0" => Format::Gnu,
            // Writers that forget the version.
            magic if magic.starts_with(b"ustar\0") => Format::Ustar,
            _ => Format::V7,
        }
    }

    pub(super) fn kind(&self) -> u8 {
        self.0[TYPE]
    }

    /// The bytes of a text field up to the first NUL.
    pub(super) fn text(&self, field: Range<usize>) -> &'a [u8] {
        let bytes = &self.0[field];
        bytes.split(|b| *b == 0).next().unwrap_or_default()
    }

    /// The path from name and prefix.
    pub(super) fn path(&self) -> Vec<u8> {
        let prefix = if self.format() == Format::Ustar { self.text(PREFIX) } else { b"" };
        let mut path = prefix.to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(self.text(NAME));
        path
    }

    /// A number that may be negative.
    pub(super) fn signed(&self, field: Range<usize>, name: &str) -> Result<i64> {
        number(&self.0[field]).ok_or_else(|| Error::invalid(format!("tar header: {name} is not a number")))
    }

    /// A number that must not be negative.
    pub(super) fn unsigned(&self, field: Range<usize>, name: &str) -> Result<u64> {
        let value = self.signed(field, name)?;
        u64::try_from(value).map_err(|_| Error::invalid(format!("tar header: {name} is negative: {value}")))
    }

    /// A number of 32 bits.
    pub(super) fn word(&self, field: Range<usize>, name: &str) -> Result<u32> {
        let value = self.unsigned(field, name)?;
        u32::try_from(value).map_err(|_| Error::invalid(format!("tar header: {name} is too large: {value}")))
    }
}

/// Octal digits, or GNU's base 256 where the first bit is set (the second is the sign).
pub(super) fn number(field: &[u8]) -> Option<i64> {
    let first = *field.first()?;
    if first & 0x80 == 0 {
        return octal(field).and_then(|value| i64::try_from(value).ok());
    }
    let flip = if first & 0x40 != 0 { 0xff } else { 0 };
    let mut value: u64 = 0;
    for (i, byte) in field.iter().enumerate() {
        let byte = (byte ^ flip) & if i == 0 { 0x7f } else { 0xff };
        if value >> 56 != 0 {
            return None;
        }
        value = value << 8 | u64::from(byte);
    }
    let value = i64::try_from(value).ok()?;
    Some(if flip == 0 { value } else { !value })
}

/// Octal digits between blanks and NULs; an empty field is 0.
pub(super) fn octal(field: &[u8]) -> Option<u64> {
    let blank = |b: &u8| matches!(b, b' ' | 0);
    let start = field.iter().position(|b| !blank(b)).unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits.iter().position(blank).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    // GNU tar leaves old digits behind the NUL of a field; after a blank there may only be blanks.
    if rest.first() == Some(&b' ') && !rest.iter().all(blank) {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// Writes octal digits and a NUL; `false` if they do not fit.
pub(super) fn put_octal(field: &mut [u8], value: u64) -> bool {
    let text = format!("{value:0width$o}", width = field.len() - 1);
    if text.len() >= field.len() {
        return false;
    }
    field[..text.len()].copy_from_slice(text.as_bytes());
    true
}
