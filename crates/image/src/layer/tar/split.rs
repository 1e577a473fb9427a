// SPDX-License-Identifier: Apache-2.0
//! An archive without its files' content, and put together again: tar-split (vbatts/tar-split: tar/storage), which
//! containers/storage keeps beside an unpacked layer so that the layer's own bytes, and with them its digest, can be had
//! back.
//!
//! ```text
//!  gzip of lines   {"type":2,"payload":"<base64: bytes as they were: headers, padding>","position":0}
//!                  {"type":1,"name":"a/x","size":100,"payload":"<base64: CRC-64 of the content>","position":1}
//!                  {"type":2, …                                                                "position":2}
//! ```
//! A member without content has a line of type 1 with neither size nor sum. The content of sparse files is kept as bytes: the
//! file on disk does not say where the archive had holes.

mod join;
mod take_apart;

pub(crate) use join::Joined;
pub(crate) use take_apart::{Anatomy, Splitter};

use serde::{Deserialize, Serialize};

const FILE: u8 = 1;
const SEGMENT: u8 = 2;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// In base64, a name that is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name_raw: Option<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    size: u64,
    payload: Option<String>,
    #[serde(default)]
    position: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(size: &u64) -> bool {
    *size == 0
}

/// CRC-64 of ISO 3309, reflected, as Go's hash/crc64 computes it.
#[derive(Clone, Copy, Debug, Default)]
struct Crc64(u64);

const TABLE: [u64; 256] = table();

const fn table() -> [u64; 256] {
    const POLYNOMIAL: u64 = 0xd800_0000_0000_0000;
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
}

impl Crc64 {
    fn update(&mut self, bytes: &[u8]) {
        let step = |sum: u64, byte: &u8| TABLE[usize::from(sum.to_le_bytes()[0] ^ byte)] ^ sum >> 8;
        self.0 = !bytes.iter().fold(!self.0, step);
    }

    fn sum(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

#[cfg(test)]
mod tests;
