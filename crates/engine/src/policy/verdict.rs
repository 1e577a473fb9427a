// SPDX-License-Identifier: Apache-2.0
//! Whether signatures satisfy a requirement: a decision on bytes that others have fetched. Pure, but that OpenPGP is asked of
//! `gpg`.

use conex_image::verify::Hasher;
use conex_spec::Digest;
use conex_spec::distribution::Reference;

use super::SignedIdentity;
use crate::signature::{Claim, Gpg, Kind, PAYLOAD, PublicKey, Signature};
use crate::{Error, ErrorKind, Result};

/// What is to be used.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The bytes that will be used.
    pub manifest: &'a [u8],
    /// What it was asked for by; images in files have no such name.
    pub asked: Option<&'a Reference>,
}

/// Who must have signed.
pub enum Signers {
    /// One of the keys in this keyring.
    OpenPgp(Gpg),
    /// One of these.
    Keys(Vec<PublicKey>),
}

impl Signers {
    /// One signature that is good in every way is enough; of the others the reasons are told.
    pub fn signed(
        &self,
        signatures: &[Signature],
        identity: &SignedIdentity,
        subject: Subject<'_>,
    ) -> Result<()> {
        let mut reasons = Vec::new();
        for signature in signatures {
            match self.claim(signature).map(|claim| claim.and_then(|claim| check(&claim, identity, subject)))
            {
                Some(Ok(())) => return Ok(()),
                Some(Err(error)) => reasons.push(error.to_string()),
                None => {}
            }
        }
        Err(match &reasons[..] {
            [] => denied(format!(
                "A signature was required, but no signature exists{}",
                self.others(signatures.len())
            )),
            [only] => denied(only.clone()),
            several => {
                denied(format!("None of the signatures were accepted, reasons: {}", several.join("; ")))
            }
        })
    }

    /// What a signature of these signers' kind claims. `None`: it is of another.
    fn claim(&self, signature: &Signature) -> Option<Result<Claim>> {
        match (self, signature) {
            (Self::OpenPgp(gpg), Signature::Simple(message)) => {
                Some(gpg.verify(message).and_then(|signed| Claim::parse(Kind::Simple, &signed.content)))
            }
            (Self::Keys(keys), Signature::Sigstore(attached)) if attached.media_type == PAYLOAD => {
                Some(attached.claim(keys))
            }
            _ => None,
        }
    }

    fn others(&self, count: usize) -> String {
        match (count, self) {
            (0, _) => String::new(),
            (count, Self::OpenPgp(_)) => format!(" ({count} of other kinds than simple signing)"),
            (count, Self::Keys(_)) => format!(" ({count} of other kinds than sigstore's)"),
        }
    }
}

fn denied(message: String) -> Error {
    Error::new(ErrorKind::Denied, message)
}

/// Whether the claim is about this manifest, under a name that counts.
fn check(claim: &Claim, identity: &SignedIdentity, subject: Subject<'_>) -> Result<()> {
    if *claim.digest() != digest_as(claim.digest(), subject.manifest) {
        return Err(denied(format!("Signature for digest {} does not match", claim.digest())));
    }
    if !identity.accepts(&claim.reference()?, subject.asked) {
        return Err(denied(format!("Signature for identity {:?} is not accepted", claim.name())));
    }
    Ok(())
}

/// The digest of `bytes` by the algorithm of another one.
fn digest_as(other: &Digest, bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(other.algorithm());
    hasher.update(bytes);
    hasher.finish()
}
