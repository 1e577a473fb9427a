// SPDX-License-Identifier: Apache-2.0
//! The policy at work: a source that hands out only manifests that may be used.
//!
//! The check is on the bytes that leave this source, so that nothing can be exchanged between the check and the use. An
//! index that only leads to one image is passed; what is copied of it is checked.

use conex_image::transfer::{BlobReader, RawManifest, Source};
use conex_spec::distribution::Reference;
use conex_spec::image::{Descriptor, media_type};

use super::verdict::{Signers, Subject};
use super::{Keys, Requirement, Requirements, SignedIdentity};
use crate::signature::{Gpg, Level, Place, PublicKey};
use crate::{Error, ErrorKind, Result};

/// A source behind a policy.
pub struct Guarded {
    /// Where the image is.
    pub inner: Box<dyn Source>,
    /// What must hold.
    pub requirements: Requirements,
    /// Where in the policy that is said, for messages.
    pub rule: String,
    /// What it was asked for by; images in files have no such name.
    pub asked: Option<Reference>,
    /// Where what was signed about it is.
    pub signatures: Place,
    /// Whether indexes are copied, too, and not only looked into.
    pub checks_indexes: bool,
}

impl Guarded {
    fn checked(&self, raw: RawManifest, level: Level) -> conex_image::Result<RawManifest> {
        let is_index = media_type::kind(&raw.descriptor.media_type) == media_type::Kind::Index;
        if !is_index || self.checks_indexes {
            self.check(&raw, level).map_err(|error| {
                let message = format!("{}: {error}", raw.descriptor.digest);
                let hint = error.hint().map(str::to_owned).unwrap_or_default();
                conex_image::Error::new(conex_image::ErrorKind::Denied, message).with_hint(hint)
            })?;
        }
        Ok(raw)
    }

    fn check(&self, raw: &RawManifest, level: Level) -> Result<()> {
        for requirement in &self.requirements.0 {
            match requirement {
                Requirement::InsecureAcceptAnything => {}
                Requirement::Reject => {
                    let message = format!("Running image {} is rejected by policy.", self.inner.describe());
                    return Err(self.refuse(requirement, Error::new(ErrorKind::Denied, message)));
                }
                Requirement::SignedBy { keys, identity } => {
                    let signers = Signers::OpenPgp(Gpg::with_keys(&keys.load()?)?);
                    self.check_signed(requirement, &signers, identity, raw, level)?;
                }
                Requirement::SigstoreSigned { keys, identity } => {
                    let signers = Signers::Keys(public_keys(keys)?);
                    self.check_signed(requirement, &signers, identity, raw, level)?;
                }
                Requirement::Vouched { by } => {
                    let message = format!("the policy asks for {by}, which conex does not support");
                    let error = Error::new(ErrorKind::Unsupported, message).with_hint(
                        "sigstoreSigned is supported with keyPath, keyPaths, keyData and keyDatas",
                    );
                    return Err(self.refuse(requirement, error));
                }
            }
        }
        Ok(())
    }

    fn check_signed(
        &self,
        requirement: &Requirement,
        signers: &Signers,
        identity: &SignedIdentity,
        raw: &RawManifest,
        level: Level,
    ) -> Result<()> {
        let signatures = self.signatures.read(&raw.descriptor.digest, level)?;
        let subject = Subject { manifest: &raw.bytes, asked: self.asked.as_ref() };
        signers.signed(&signatures, identity, subject).map_err(|error| self.refuse(requirement, error))
    }

    fn refuse(&self, requirement: &Requirement, error: Error) -> Error {
        error.wrap("Source image rejected").with_hint(format!("{} asks for: {requirement}", self.rule))
    }
}

fn public_keys(keys: &Keys) -> Result<Vec<PublicKey>> {
    let parse = |text: &Vec<u8>| PublicKey::parse(text).map_err(|error| error.wrap(keys));
    keys.load()?.iter().map(parse).collect()
}

impl Source for Guarded {
    fn resolve(&self) -> conex_image::Result<RawManifest> {
        self.checked(self.inner.resolve()?, Level::Named)
    }

    fn manifest(&self, descriptor: &Descriptor) -> conex_image::Result<RawManifest> {
        self.checked(self.inner.manifest(descriptor)?, Level::Below)
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
