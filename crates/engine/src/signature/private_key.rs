// SPDX-License-Identifier: Apache-2.0
//! Private keys that sign images: PKCS #8 in PEM, plain (`openssl genpkey`) or under a passphrase as cosign keeps it.

use std::fmt;

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};

use super::key::{Algorithm, PublicKey};
use super::{pem, sealed};
use crate::{Error, ErrorKind, Result};

/// What cosign calls its block, and called it before.
const SEALED: [&str; 2] = ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"];

/// A key that signs.
pub struct PrivateKey(Pair);

enum Pair {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

/// Never shows the key.
impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PrivateKey").field(&self.public()).finish()
    }
}

/// A new pair, as files hold it.
#[derive(Clone)]
pub struct Generated {
    /// Under the passphrase.
    pub private: String,
    /// `PUBLIC KEY`.
    pub public: String,
}

impl PrivateKey {
    /// Whether a passphrase is needed.
    pub fn is_sealed(text: &[u8]) -> bool {
        pem::first(text).is_some_and(|block| SEALED.contains(&block.label.as_str()))
    }

    /// Reads PEM; `passphrase` opens it where it is sealed.
    pub fn parse(text: &[u8], passphrase: &[u8]) -> Result<Self> {
        let invalid = |what: String| {
            Error::new(ErrorKind::Invalid, what).with_hint(
                "a private key is cosign's (`conex image generate-key-pair`) or PKCS #8 (`openssl genpkey`, `openssl pkcs8 -topk8 -nocrypt`)",
            )
        };
        let block = pem::first(text).ok_or_else(|| invalid("no private key in PEM".to_owned()))?;
        let bytes = match block.label.as_str() {
            "PRIVATE KEY" => block.bytes,
            label if SEALED.contains(&label) => sealed::open(&block.bytes, passphrase)?,
            other => return Err(invalid(format!("a {other}, which does not sign images"))),
        };
        Self::from_pkcs8(&bytes)
            .ok_or_else(|| invalid("not a private key of ECDSA P-256, Ed25519 or RSA".to_owned()))
    }

    fn from_pkcs8(bytes: &[u8]) -> Option<Self> {
        let random = SystemRandom::new();
        let ecdsa = || EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, bytes, &random).ok();
        let ed25519 = || Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes).ok();
        let rsa = || RsaKeyPair::from_pkcs8(bytes).ok();
        let pair = ecdsa().map(Pair::P256);
        let pair = pair.or_else(|| ed25519().map(Pair::Ed25519));
        pair.or_else(|| rsa().map(|pair| Pair::Rsa(Box::new(pair)))).map(Self)
    }

    /// A new one of ECDSA P-256, which all of sigstore's tools take.
    pub fn generate(passphrase: &[u8]) -> Result<Generated> {
        let failed = || Error::new(ErrorKind::Os, "no random numbers");
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new());
        let pkcs8 = pkcs8.map_err(|_| failed())?;
        let key = Self::from_pkcs8(pkcs8.as_ref()).ok_or_else(failed)?;
        let sealed = sealed::seal(pkcs8.as_ref(), passphrase)?;
        Ok(Generated { private: pem::encode(SEALED[0], &sealed), public: key.public().to_pem() })
    }

    /// The key that verifies.
    pub fn public(&self) -> PublicKey {
        match &self.0 {
            Pair::P256(pair) => PublicKey::new(Algorithm::P256, pair.public_key().as_ref()),
            Pair::Ed25519(pair) => PublicKey::new(Algorithm::Ed25519, pair.public_key().as_ref()),
            Pair::Rsa(pair) => PublicKey::new(Algorithm::Rsa, pair.public_key().as_ref()),
        }
    }

    /// The signature of `content`.
    pub fn sign(&self, content: &[u8]) -> Result<Vec<u8>> {
        let random = SystemRandom::new();
        let signed = match &self.0 {
            Pair::P256(pair) => pair.sign(&random, content).map(|signature| signature.as_ref().to_vec()),
            Pair::Ed25519(pair) => Ok(pair.sign(content).as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, content, &mut signature).map(|()| signature)
            }
        };
        signed.map_err(|_| Error::new(ErrorKind::Os, "no random numbers to sign with"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By `skopeo generate-sigstore-key` 1.22.
    const COSIGN: &[u8] = include_bytes!("testdata/cosign.key");
    const COSIGN_PUBLIC: &str = include_str!("testdata/cosign.pub");

    #[test]
    fn a_key_of_cosigns_opens() {
        assert!(PrivateKey::is_sealed(COSIGN));
        let key = PrivateKey::parse(COSIGN, b"a passphrase").unwrap();
        assert_eq!(key.public().to_pem(), COSIGN_PUBLIC);
        assert!(key.public().verifies(b"content", &key.sign(b"content").unwrap()));
        assert!(PrivateKey::parse(COSIGN, b"another").is_err());
        assert!(!format!("{key:?}").contains("private"));
    }

    #[test]
    fn a_new_pair_fits_together() {
        let made = PrivateKey::generate(b"").unwrap();
        let key = PrivateKey::parse(made.private.as_bytes(), b"").unwrap();
        assert_eq!(key.public().to_pem(), made.public);
    }
}
