// SPDX-License-Identifier: Apache-2.0
//! The policy at work: a source that hands out only manifests that may be used.
//!
//! The check is on the bytes that leave this source, so that nothing can be exchanged between the check and the use. An
//! index that only leads to one image is passed; what is copied of it is checked.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use conex_image::transfer::{BlobReader, RawManifest, Source};
use conex_spec::Digest;
use conex_spec::distribution::Reference;
use conex_spec::image::{Descriptor, media_type};

use super::{Claim, Gpg, Requirement, Requirements};
use crate::{Error, ErrorKind, Result, Wrap as _};

/// Where the signatures of an image are.
pub trait Signatures: Send + Sync {
    /// All simple signatures of a manifest.
    fn of(&self, digest: &Digest) -> Result<Vec<Vec<u8>>>;
}

/// A source behind a policy.
pub struct Guarded {
    /// Where the image is.
    pub inner: Box<dyn Source>,
    /// What must hold.
    pub requirements: Requirements,
    /// What it was asked for by; images in files have no such name.
    pub asked: Option<Reference>,
    /// What was signed about it.
    pub signatures: Box<dyn Signatures>,
    /// Whether indexes are copied, too, and not only looked into.
    pub checks_indexes: bool,
}

impl Guarded {
    fn checked(&self, raw: RawManifest) -> conex_image::Result<RawManifest> {
        let is_index = media_type::kind(&raw.descriptor.media_type) == media_type::Kind::Index;
        if !is_index || self.checks_indexes {
            self.check(&raw.descriptor.digest).map_err(|error| {
                let message = format!("{}: {}", raw.descriptor.digest, error);
                conex_image::Error::new(conex_image::ErrorKind::Denied, message)
            })?;
        }
        Ok(raw)
    }

    fn check(&self, digest: &Digest) -> Result<()> {
        for requirement in &self.requirements.0 {
            match requirement {
                Requirement::InsecureAcceptAnything {} => {}
                Requirement::Reject {} => return Err(self.refuse("is rejected by policy.")),
                signed @ Requirement::SignedBy { .. } => self.check_signed(signed, digest)?,
            }
        }
        Ok(())
    }

    fn refuse(&self, what: &str) -> Error {
        let message = format!("Source image rejected: Running image {} {what}", self.inner.describe());
        Error::new(ErrorKind::Denied, message)
            .with_hint("the signature policy says so: --policy, ~/.config/containers/policy.json or /etc/containers/policy.json")
    }

    /// One signature that is good in every way is enough.
    fn check_signed(&self, requirement: &Requirement, digest: &Digest) -> Result<()> {
        let gpg = Gpg::with_keys(&requirement.keys()?)?;
        let signatures = self.signatures.of(digest)?;
        if signatures.is_empty() {
            return Err(Error::new(
                ErrorKind::Denied,
                "Source image rejected: A signature was required, but no signature exists",
            ));
        }
        let mut reasons = Vec::new();
        for signature in &signatures {
            match self.check_signature(requirement, &gpg, signature, digest) {
                Ok(()) => return Ok(()),
                Err(error) => reasons.push(error.to_string()),
            }
        }
        let message = format!("Source image rejected: {}", reasons.join("; "));
        Err(Error::new(ErrorKind::Denied, message))
    }

    fn check_signature(
        &self,
        requirement: &Requirement,
        gpg: &Gpg,
        signature: &[u8],
        digest: &Digest,
    ) -> Result<()> {
        let Requirement::SignedBy { signed_identity, .. } = requirement else { return Ok(()) };
        let claim = Claim::parse(&gpg.verify(signature)?.content)?;
        let denied = |message: String| Error::new(ErrorKind::Denied, message);
        if claim.digest() != digest {
            return Err(denied(format!("Signature for digest {} does not match", claim.digest())));
        }
        if !signed_identity.accepts(&claim.reference()?, self.asked.as_ref()) {
            return Err(denied(format!("Signature for identity {:?} is not accepted", claim.name())));
        }
        Ok(())
    }
}

impl Requirement {
    /// The keys that count, of which the file must name exactly one place.
    fn keys(&self) -> Result<Vec<Vec<u8>>> {
        let Self::SignedBy { key_path, key_paths, key_data, .. } = self else { return Ok(Vec::new()) };
        let read = |path: &String| -> Result<Vec<u8>> { fs::read(path).wrap(|| path.clone()) };
        match (key_path, key_paths, key_data) {
            (Some(path), None, None) => Ok(vec![read(path)?]),
            (None, Some(paths), None) if !paths.is_empty() => paths.iter().map(read).collect(),
            (None, None, Some(data)) => {
                let decoded = STANDARD.decode(data.trim());
                let wrong = |_| Error::new(ErrorKind::Usage, "signature policy: keyData is not base64");
                Ok(vec![decoded.map_err(wrong)?])
            }
            _ => Err(Error::new(
                ErrorKind::Usage,
                "signature policy: signedBy needs exactly one of keyPath, keyPaths and keyData",
            )),
        }
    }
}

impl Source for Guarded {
    fn resolve(&self) -> conex_image::Result<RawManifest> {
        self.checked(self.inner.resolve()?)
    }

    fn manifest(&self, descriptor: &Descriptor) -> conex_image::Result<RawManifest> {
        self.checked(self.inner.manifest(descriptor)?)
    }

    fn open_blob(&self, descriptor: &Descriptor, offset: u64) -> conex_image::Result<BlobReader> {
        self.inner.open_blob(descriptor, offset)
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn repository(&self) -> Option<(String, String)> {
        self.inner.repository()
    }
}
