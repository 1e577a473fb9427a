// SPDX-License-Identifier: Apache-2.0
//! Signatures of images: their formats, their keys, and where they are kept. Whether one is enough is not decided here:
//! that is the policy's.
//!
//! ```text
//!  Simple    OpenPGP around a claim                        dir:, lookaside                    gpg
//!  Sigstore  a claim, its signature in an annotation       dir:, tag sha256-<hex>.sig         key
//!  bundle    a statement in an envelope                    a referrer of the image            key, not read by policies
//! ```
//! The claim says which manifest is called what; of both kinds it is the same JSON but for its type.

mod attachment;
mod bundle;
mod carry;
mod claim;
mod der;
mod gpg;
mod image;
mod key;
mod pem;
mod place;
mod private_key;
mod sealed;
mod signer;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use conex_image::manifest::parse_strictly;
use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result, Wrap as _};

pub use carry::{Side, Wishes, copy};
pub use claim::{Claim, Kind};
pub use gpg::{Gpg, Keyring, Signed};
pub use image::{Claimed, Found, Scheme, find, sign};
pub use key::PublicKey;
pub use place::{Level, Place};
pub use private_key::{Generated, PrivateKey};
pub use signer::Signer;

/// What a sigstore signature's payload is called (cosign: specs/SIGNATURE_SPEC.md).
pub const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Where the signature of that payload is, in base64.
pub const ANNOTATION: &str = "dev.cosignproject.cosign/signature";

/// A signature, of which nothing has been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// An OpenPGP message with the claim inside (containers-signature(5)).
    Simple(Vec<u8>),
    /// As cosign attaches it.
    Sigstore(Attached),
}

/// A layer of an attachment, or one line of JSON in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// Of the payload. Other things than signatures are attached, too.
    #[serde(rename = "mimeType")]
    pub media_type: String,
    /// What is signed.
    #[serde(with = "in_base64")]
    pub payload: Vec<u8>,
    /// The signature among them.
    pub annotations: BTreeMap<String, String>,
}

impl Attached {
    /// The signature of the payload.
    pub fn signature(&self) -> Result<Vec<u8>> {
        let denied = |message: String| Error::new(ErrorKind::Denied, message);
        let text = self
            .annotations
            .get(ANNOTATION)
            .ok_or_else(|| denied(format!("missing {ANNOTATION} annotation")))?;
        STANDARD.decode(text).map_err(|_| denied(format!("{ANNOTATION} is not base64")))
    }

    /// What the payload claims, once one of the keys has signed it.
    pub fn claim(&self, keys: &[PublicKey]) -> Result<Claim> {
        let signature = self.signature()?;
        if !keys.iter().any(|key| key.verifies(&self.payload, &signature)) {
            let message = "cryptographic signature verification failed: none of the keys made it";
            return Err(Error::new(ErrorKind::Denied, message));
        }
        Claim::parse(Kind::Sigstore, &self.payload)
    }
}

const SIGSTORE: &[u8] = b"\0sigstore-json\n";
const SIMPLE: &[u8] = b"\0simple-signing\n";

impl Signature {
    /// As files keep it (containers/image): an OpenPGP message as it is; other formats behind a zero byte, their name
    /// and a line's end.
    pub fn to_file(&self) -> Vec<u8> {
        match self {
            Self::Simple(message) => message.clone(),
            Self::Sigstore(attached) => {
                let json = serde_json::to_vec(attached).expect("its keys are strings");
                [SIGSTORE, &json].concat()
            }
        }
    }

    /// Reads such a file. What is no format's is taken for OpenPGP, which then finds that it is not.
    pub fn from_file(bytes: Vec<u8>) -> Result<Self> {
        if let Some(json) = bytes.strip_prefix(SIGSTORE) {
            return Ok(Self::Sigstore(parse_strictly(json).wrap(|| "a sigstore signature")?));
        }
        if let Some(message) = bytes.strip_prefix(SIMPLE) {
            return Ok(Self::Simple(message.to_vec()));
        }
        match bytes.first() {
            Some(0) => Err(Error::new(ErrorKind::Invalid, "a signature of an unknown format")),
            _ => Ok(Self::Simple(bytes)),
        }
    }
}

mod in_base64 {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_either_format() {
        let annotations = [(ANNOTATION.to_owned(), "c2ln".to_owned())].into();
        let attached = Attached { media_type: PAYLOAD.to_owned(), payload: b"{}".to_vec(), annotations };
        for signature in [Signature::Simple(vec![0x90, 1]), Signature::Sigstore(attached)] {
            assert_eq!(Signature::from_file(signature.to_file()).unwrap(), signature);
        }
        let named = [SIMPLE, &[0x90, 1]].concat();
        assert_eq!(Signature::from_file(named).unwrap(), Signature::Simple(vec![0x90, 1]));
        assert!(Signature::from_file(b"\0other\n".to_vec()).is_err());
        assert!(Signature::from_file(b"\0sigstore-json\n{".to_vec()).is_err());
    }
}
