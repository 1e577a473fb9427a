// SPDX-License-Identifier: Apache-2.0
//! Public keys that sign images: RFC 5280 SubjectPublicKeyInfo in PEM, as `openssl pkey -pubout` and cosign write it.
//!
//! ```text
//!  SEQUENCE { SEQUENCE { OID algorithm, parameters }, BIT STRING { 0 unused bits, key } }
//! ```
//! A signature is ECDSA (in DER) or RSA (PKCS #1 v1.5) over SHA-256, or Ed25519 over the bytes themselves: what sigstore's
//! tools make.

use conex_image::verify::sha256;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};

use super::der::{self, BIT_STRING, OID, SEQUENCE};
use super::pem;
use crate::{Error, ErrorKind, Result};

/// Object identifiers of algorithms and curves (RFC 5480, RFC 8410, RFC 8017).
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const ED: &[u8] = &[0x2b, 0x65, 0x70];
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// Which kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384; verified, not made here.
    P384,
    /// Ed25519.
    Ed25519,
    /// RSA of 2048 to 8192 bits.
    Rsa,
}

impl Algorithm {
    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1,
            Self::P384 => &ECDSA_P384_SHA256_ASN1,
            Self::Ed25519 => &ED25519,
            Self::Rsa => &RSA_PKCS1_2048_8192_SHA256,
        }
    }

    /// The algorithm's part of a key's info.
    fn identifier(self) -> Vec<u8> {
        let oid = |bytes| der::element(OID, bytes);
        let content = match self {
            Self::P256 => [oid(EC), oid(P256)].concat(),
            Self::P384 => [oid(EC), oid(P384)].concat(),
            Self::Ed25519 => oid(ED),
            Self::Rsa => [oid(RSA), vec![5, 0]].concat(),
        };
        der::element(SEQUENCE, &content)
    }
}

/// A key that verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: Algorithm,
    /// A point, the 32 bytes of Ed25519, or RSA's sequence of two numbers.
    key: Vec<u8>,
}

impl PublicKey {
    /// What an algorithm's own form of a key is.
    pub(super) fn new(algorithm: Algorithm, key: &[u8]) -> Self {
        Self { algorithm, key: key.to_vec() }
    }

    /// Reads PEM.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let invalid = |what: &str| {
            Error::new(ErrorKind::Invalid, what).with_hint(
            "a public key begins with -----BEGIN PUBLIC KEY-----, as cosign and `openssl pkey -pubout` write it",
        )
        };
        let block = pem::first(text).ok_or_else(|| invalid("no public key in PEM"))?;
        match block.label.as_str() {
            "PUBLIC KEY" => Self::from_info(&block.bytes)
                .ok_or_else(|| invalid("not a key of ECDSA P-256 or P-384, Ed25519 or RSA")),
            "RSA PUBLIC KEY" => Ok(Self::new(Algorithm::Rsa, &block.bytes)),
            other => Err(invalid(&format!("a {other}, not a public key"))),
        }
    }

    fn from_info(bytes: &[u8]) -> Option<Self> {
        let (info, rest) = der::take(SEQUENCE, bytes)?;
        let (_, bits) = der::take(SEQUENCE, info)?;
        let identifier = &info[..info.len() - bits.len()];
        let (bits, end) = der::take(BIT_STRING, bits)?;
        let key = bits.strip_prefix(&[0])?;
        let all = [Algorithm::P256, Algorithm::P384, Algorithm::Ed25519, Algorithm::Rsa];
        let algorithm = all.into_iter().find(|algorithm| algorithm.identifier() == identifier)?;
        (rest.is_empty() && end.is_empty()).then(|| Self::new(algorithm, key))
    }

    /// As PEM.
    pub fn to_pem(&self) -> String {
        pem::encode("PUBLIC KEY", &self.info())
    }

    fn info(&self) -> Vec<u8> {
        let bits = der::element(BIT_STRING, &[&[0][..], &self.key].concat());
        der::element(SEQUENCE, &[self.algorithm.identifier(), bits].concat())
    }

    /// What a person may tell keys apart by: the digest of the key's info.
    pub fn fingerprint(&self) -> String {
        sha256(&self.info()).to_string()
    }

    /// The same as bytes.
    pub(super) fn info_hash(&self) -> Vec<u8> {
        ring::digest::digest(&ring::digest::SHA256, &self.info()).as_ref().to_vec()
    }

    /// Whether `signature` is this key's over `content`.
    pub fn verifies(&self, content: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(self.algorithm.verification(), &self.key).verify(content, signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By `openssl genpkey -algorithm ed25519 | openssl pkey -pubout`.
    const ED25519: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

    #[test]
    fn a_key_comes_back_as_it_was_written() {
        let key = PublicKey::parse(ED25519.as_bytes()).unwrap();
        assert_eq!((key.algorithm, key.key.len()), (Algorithm::Ed25519, 32));
        assert_eq!(key.to_pem(), ED25519);
        assert!(!key.verifies(b"content", &[0; 64]));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let other_curve = der::element(
            SEQUENCE,
            &[
                der::element(SEQUENCE, &der::element(OID, &[0x2b, 0x65, 0x71])),
                der::element(BIT_STRING, &[0; 58]),
            ]
            .concat(),
        );
        let long = [PublicKey::parse(ED25519.as_bytes()).unwrap().info(), vec![0]].concat();
        for text in [
            String::new(),
            ED25519.replace("PUBLIC", "PRIVATE"),
            pem::encode("PUBLIC KEY", &other_curve),
            pem::encode("PUBLIC KEY", &long),
        ] {
            assert!(PublicKey::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
