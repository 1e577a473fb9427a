// SPDX-License-Identifier: Apache-2.0
//! Small changes to good input, the same ones every time: a sequence is named by its first number.

/// Numbers that look random (xorshift64*).
#[derive(Debug)]
pub struct Source(u64);

impl Source {
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `end`; 0 when there is nothing below.
    pub fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { usize::try_from(self.number() % end as u64).unwrap_or(0) }
    }
}

/// What parsers trip over.
const WORDS: [&[u8]; 16] = [
    b"\0",
    b"/",
    b"..",
    b"../",
    b"-1",
    b"9223372036854775808",
    b"18446744073709551616",
    b"\"",
    b"{",
    b"[[[[",
    b"null",
    b"1e999",
    b"\xff",
    b"\xe2\x80\xae",
    b"=",
    b",",
];

/// One of the seeds with up to four changes.
pub fn mutate(source: &mut Source, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[source.below(seeds.len())].clone();
    for _ in 0..=source.below(4) {
        let at = source.below(bytes.len());
        match source.below(6) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << source.below(8),
            1 if !bytes.is_empty() => bytes[at] = source.number().to_le_bytes()[0],
            2 => bytes.truncate(at),
            3 => {
                let word = WORDS[source.below(WORDS.len())];
                bytes.splice(at..at, word.iter().copied());
            }
            4 => {
                let end = (at + source.below(64)).min(bytes.len());
                bytes.drain(at..end);
            }
            _ => {
                let other = &seeds[source.below(seeds.len())];
                let from = source.below(other.len());
                let end = (from + source.below(512)).min(other.len());
                bytes.splice(at..at, other[from..end].iter().copied());
            }
        }
    }
    bytes
}
