// SPDX-License-Identifier: Apache-2.0
//! Who signs.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use conex_spec::Digest;

use super::{ANNOTATION, Attached, Claim, Gpg, Kind, PAYLOAD, PrivateKey, Signature};
use crate::Result;

/// A key, and how it signs.
#[derive(Debug)]
pub enum Signer {
    /// A key of the person's, by gpg.
    OpenPgp {
        /// Its fingerprint, or what else gpg finds it by.
        key: String,
        /// A file with its passphrase; without one gpg asks in its own way.
        passphrase_file: Option<PathBuf>,
    },
    /// As sigstore's tools do.
    Key(PrivateKey),
}

impl Signer {
    /// That the manifest with this digest is `name`. `timestamp` is in seconds since 1970.
    pub fn sign(&self, name: &str, digest: &Digest, creator: &str, timestamp: u64) -> Result<Signature> {
        let claim = |kind| Claim::new(kind, name, digest, creator, timestamp).to_bytes();
        Ok(match self {
            Self::OpenPgp { key, passphrase_file } => {
                Signature::Simple(Gpg::own().sign(&claim(Kind::Simple), key, passphrase_file.as_deref())?)
            }
            Self::Key(key) => {
                let payload = claim(Kind::Sigstore);
                let signature = STANDARD.encode(key.sign(&payload)?);
                let annotations = [(ANNOTATION.to_owned(), signature)].into();
                Signature::Sigstore(Attached { media_type: PAYLOAD.to_owned(), payload, annotations })
            }
        })
    }
}
