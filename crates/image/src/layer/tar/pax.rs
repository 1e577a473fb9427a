// SPDX-License-Identifier: Apache-2.0
//! Extended headers: records `<length> <key>=<value>\n`, where the length counts the whole record.

use super::Time;
use crate::{Error, Result};

/// One record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
}

/// Splits the content of an extended header. Anything malformed is an error: readers that guess guess differently.
pub(super) fn records(mut bytes: &[u8]) -> Result<Vec<Record<'_>>> {
    let malformed = |why: &str| Error::invalid(format!("extended tar header: {why}"));
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().take(20).position(|b| *b == b' ').ok_or_else(|| malformed("no length"))?;
        let len = decimal(&bytes[..space]).ok_or_else(|| malformed("the length is not a number"))?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len <= space + 1 || len > bytes.len() {
            return Err(malformed("a record's length does not fit"));
        }
        let (record, rest) = bytes.split_at(len);
        let record =
            record[space + 1..].strip_suffix(b"\n").ok_or_else(|| malformed("a record without end"))?;
        let equals = record.iter().position(|b| *b == b'=').ok_or_else(|| malformed("a record without ="))?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        if key.is_empty() || key.contains(&0) {
            return Err(malformed("an empty or binary key"));
        }
        records.push(Record { key, value });
        bytes = rest;
    }
    Ok(records)
}

/// Decimal digits, nothing else.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// Seconds with a fraction, perhaps negative; digits beyond nanoseconds are dropped.
pub(super) fn time(text: &[u8]) -> Option<Time> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let dot = text.iter().position(|b| *b == b'.').unwrap_or(text.len());
    let sec = i64::try_from(decimal(&text[..dot])?).ok()?;
    let mut nsec = 0;
    let fraction = text.get(dot + 1..).unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    for i in 0..9 {
        nsec = nsec * 10 + u32::from(fraction.get(i).unwrap_or(&b'0') - b'0');
    }
    Some(match (negative, nsec) {
        (false, _) => Time { sec, nsec },
        (true, 0) => Time { sec: -sec, nsec: 0 },
        (true, _) => Time { sec: -sec - 1, nsec: 1_000_000_000 - nsec },
    })
}

/// Appends a record; the length counts its own digits.
pub(super) fn put(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let body = key.len() + value.len() + 3;
    let mut len = body + 1;
    while len != body + len.to_string().len() {
        len = body + len.to_string().len();
    }
    out.extend_from_slice(len.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// A time as a record's value.
pub(super) fn time_text(time: Time) -> String {
    if time.sec < 0 && time.nsec > 0 {
        return format!("-{}.{:09}", -(time.sec + 1), 1_000_000_000 - time.nsec);
    }
    match time.nsec {
        0 => time.sec.to_string(),
        nsec => format!("{}.{nsec:09}", time.sec),
    }
}
