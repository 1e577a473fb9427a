// SPDX-License-Identifier: Apache-2.0
//! image-spec v1.1: descriptor.md#digests
//!
//! A digest names content by its hash: `sha256:<64 lower-case hex>`. The types keep apart what is easily
//! mixed up: [`Digest`] names bytes as stored or sent, [`DiffId`] names a layer's *uncompressed* tar, and
//! [`ChainId`] names a stack of layers. All are parsed, never assembled from strings: a digest that exists as
//! a value is safe to use as a file name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The hash functions that are computed and verified here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256: every implementation must support it.
    Sha256,
    /// SHA-512: optional in the specification.
    Sha512,
}

impl Algorithm {
    /// The name in front of the colon, which is also the directory below `blobs/`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of the encoded part in hex digits.
    pub fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// Names bytes by their hash, as in a descriptor.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    text: String,
    algorithm: Algorithm,
}

/// Why a string is not a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestError {
    text: String,
    reason: &'static str,
}

impl fmt::Display for DigestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "digest {:?}: {}", self.text, self.reason)
    }
}

impl std::error::Error for DigestError {}

impl Digest {
    /// Builds a digest from a finished hash. `hash` must have the algorithm's length: 32 or 64 bytes.
    pub fn from_hash(algorithm: Algorithm, hash: &[u8]) -> Self {
        debug_assert_eq!(hash.len() * 2, algorithm.hex_len(), "hash length of {}", algorithm.name());
        let mut text = String::with_capacity(8 + hash.len() * 2);
        text.push_str(algorithm.name());
        text.push(':');
        for byte in hash {
            text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
            text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
        }
        Self { text, algorithm }
    }

    /// The hash function.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The part after the colon: lower-case hex of the algorithm's exact length.
    pub fn hex(&self) -> &str {
        &self.text[self.algorithm.name().len() + 1..]
    }

    /// The first twelve hex digits, as tables show them.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }

    /// The whole digest, `algorithm:hex`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let fail = |reason| Err(DigestError { text: text.chars().take(160).collect(), reason });
        let Some((name, hex)) = text.split_once(':') else {
            return fail("has no colon; expected sha256:<64 hex digits>");
        };
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => return fail("unknown algorithm; sha256 and sha512 are supported"),
        };
        if hex.len() != algorithm.hex_len() {
            return fail("wrong length; sha256 has 64 hex digits, sha512 has 128");
        }
        if !hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return fail("only the digits 0-9 and a-f are allowed after the colon");
        }
        Ok(Self { text: text.to_owned(), algorithm })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
        writer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        String::deserialize(reader)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Names a layer by the hash of its uncompressed tar (image-spec config.md, `rootfs.diff_ids`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiffId(pub Digest);

/// Names a stack of layers (image-spec config.md#layer-chainid). Computed where there is a hasher, in `image`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(pub Digest);

macro_rules! shown_as_its_digest {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
shown_as_its_digest!(DiffId, ChainId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_the_grammar_allows_and_nothing_else() {
        let good = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(good.parse::<Digest>().unwrap().as_str(), good);
        for bad in [
            "",
            "sha256",
            "sha256:",
            "sha256:../../../../etc/passwd",
            "sha256:44136FA355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a/x",
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad:?} must not parse");
        }
    }

    #[test]
    fn from_hash_and_parse_agree() {
        let made = Digest::from_hash(Algorithm::Sha256, &[0xab; 32]);
        assert_eq!(made, made.as_str().parse().unwrap());
        assert_eq!(made.hex().len(), 64);
    }
}
