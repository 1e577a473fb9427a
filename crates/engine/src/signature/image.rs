// SPDX-License-Identifier: Apache-2.0
//! An image on a registry signed with a key, and its signatures found again, in both of the forms that cosign knows.

use conex_image::transfer::Source as _;
use conex_registry::Client;
use conex_spec::Digest;
use conex_spec::distribution::Reference;
use conex_spec::image::Descriptor;

use super::{Attached, PAYLOAD, PrivateKey, PublicKey, Signature, Signer, attachment, bundle};
use crate::{Error, ErrorKind, Result};

/// How a signature is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// By the tag `sha256-<hex>.sig`: what policy.json reads.
    Tag,
    /// As a bundle that refers to the image.
    Bundle,
}

/// A good signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// How it is attached.
    pub scheme: Scheme,
    /// What it calls the image. Bundles call it nothing.
    pub name: Option<String>,
}

/// Signs what is at `image` and has this descriptor. See [`Signer::sign`] for the rest.
pub fn sign(
    client: &Client,
    image: &Reference,
    descriptor: &Descriptor,
    key: PrivateKey,
    scheme: Scheme,
    claim: &Claimed<'_>,
) -> Result<()> {
    let digest = &descriptor.digest;
    if scheme == Scheme::Bundle {
        return bundle::attach(client, image, descriptor, &bundle::make(digest, &key)?);
    }
    match Signer::Key(key).sign(claim.name, digest, claim.creator, claim.timestamp)? {
        Signature::Sigstore(attached) => attachment::add(client, image, digest, &[attached]),
        Signature::Simple(_) => unreachable!("a key makes sigstore's signatures"),
    }
}

/// What a signature of the tag scheme says beside the digest.
#[derive(Clone, Copy, Debug)]
pub struct Claimed<'a> {
    /// What the image is called.
    pub name: &'a str,
    /// Who made the signature.
    pub creator: &'a str,
    /// When, in seconds since 1970.
    pub timestamp: u64,
}

/// The signatures of what `image` means that one of the keys made; an error with all reasons where there is none.
pub fn find(client: &Client, image: &Reference, keys: &[PublicKey]) -> Result<(Digest, Vec<Found>)> {
    let digest = client.remote(image).resolve()?.descriptor.digest;
    let (mut found, mut reasons) = (Vec::new(), Vec::new());
    let attached = attachment::read(client, image, &digest)?;
    for one in attached.iter().filter(|one| one.media_type == PAYLOAD) {
        match named(one, &digest, keys) {
            Ok(name) => found.push(Found { scheme: Scheme::Tag, name: Some(name) }),
            Err(error) => reasons.push(error.to_string()),
        }
    }
    for bytes in bundle::read(client, image, &digest)? {
        match bundle::check(&bytes, &digest, keys) {
            Ok(()) => found.push(Found { scheme: Scheme::Bundle, name: None }),
            Err(error) => reasons.push(error.to_string()),
        }
    }
    if found.is_empty() {
        let message = match &reasons[..] {
            [] => format!("{digest} has no signatures"),
            reasons => format!("no signature of {digest} by this key: {}", reasons.join("; ")),
        };
        return Err(Error::new(ErrorKind::Denied, message));
    }
    Ok((digest, found))
}

fn named(attached: &Attached, digest: &Digest, keys: &[PublicKey]) -> Result<String> {
    let claim = attached.claim(keys)?;
    if claim.digest() != digest {
        let message = format!("Signature for digest {} does not match", claim.digest());
        return Err(Error::new(ErrorKind::Denied, message));
    }
    Ok(claim.name().to_owned())
}
