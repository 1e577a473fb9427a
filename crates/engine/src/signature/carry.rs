// SPDX-License-Identifier: Apache-2.0
//! A copy with signatures: those that are there come along, new ones are made of what arrived. A copy that would lose some
//! is refused before it begins.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use conex_image::transfer::{
    self, BlobReader, CopyOptions, Form, Progress, RawManifest, Select, Sink, Source,
};
use conex_spec::Digest;
use conex_spec::distribution::Reference;
use conex_spec::image::Descriptor;

use super::{Level, Place, Signature, Signer};
use crate::{Error, ErrorKind, Result, Wrap as _};

/// What becomes of signatures in a copy.
#[derive(Debug, Default)]
pub struct Wishes {
    /// Those of the source stay behind.
    pub remove: bool,
    /// Who signs what arrived.
    pub signers: Vec<Signer>,
    /// As what: its name, with a tag. `None`: the destination's name.
    pub identity: Option<Reference>,
    /// Who is said to have made new signatures, and when, in seconds since 1970.
    pub creator: String,
    /// See `creator`.
    pub timestamp: u64,
}

/// One side of a copy.
pub struct Side<'a, T: ?Sized> {
    /// Where the image is.
    pub image: &'a T,
    /// Where its signatures are.
    pub signatures: &'a Place,
}

/// Copies an image and its signatures; the descriptor of what is named at the destination.
pub fn copy(
    from: &Side<'_, dyn Source>,
    to: &Side<'_, dyn Sink>,
    wishes: &Wishes,
    options: &CopyOptions,
    progress: &dyn Progress,
) -> Result<Descriptor> {
    let source = Remembered::new(from.image);
    let kept = match (wishes.remove, from.signatures) {
        (true, _) | (_, Place::Nowhere(_)) => HashMap::new(),
        _ => gather(&source, from.signatures, &options.select)?,
    };
    if !kept.is_empty() || !wishes.signers.is_empty() {
        to.signatures.keeps_signatures().map_err(|error| {
            error
                .wrap(format!("Can not copy signatures to {}", to.image.describe()))
                .with_hint("--remove-signatures leaves them behind")
        })?;
    }
    let name = signed_name(to, wishes)?;
    // What is signed is these very bytes.
    let options =
        CopyOptions { preserve_digests: options.preserve_digests || !kept.is_empty(), ..options.clone() };
    let sink = Recorded { inner: to.image, arrived: Mutex::default() };
    let copied = transfer::copy(&source, &sink, &options, progress).map_err(|error| {
        match error.kind() == conex_image::ErrorKind::Usage && !kept.is_empty() {
            true => error.wrap("Would invalidate signatures"),
            false => error,
        }
    })?;
    for (digest, level) in lock(&sink.arrived).iter() {
        let mut signatures = kept.get(digest).cloned().unwrap_or_default();
        for signer in &wishes.signers {
            let made = signer.sign(&name, digest, &wishes.creator, wishes.timestamp);
            signatures.push(made.wrap(|| "creating signature")?);
        }
        if !signatures.is_empty() {
            to.signatures.write(digest, *level, &signatures).wrap(|| "writing signatures")?;
        }
    }
    Ok(copied)
}

/// What new signatures call the image; empty where there are none.
fn signed_name(to: &Side<'_, dyn Sink>, wishes: &Wishes) -> Result<String> {
    let named = match (&wishes.identity, to.signatures) {
        _ if wishes.signers.is_empty() => return Ok(String::new()),
        (Some(identity), _) if identity.tag.is_none() && identity.digest.is_none() => {
            let message =
                format!("Sign identity must be a fully specified reference {}", identity.repository());
            return Err(Error::new(ErrorKind::Usage, message));
        }
        (Some(identity), _) => Some(identity),
        (None, Place::Registry { reference, .. }) => Some(reference),
        (None, _) => None,
    };
    named.map(Reference::canonical).ok_or_else(|| {
        let place = to.image.describe();
        let message = format!("Cannot determine canonical Docker reference for destination {place}");
        Error::new(ErrorKind::Usage, message).with_hint("--sign-identity says what the image is signed as")
    })
}

/// The signatures of everything that is copied.
fn gather(source: &dyn Source, place: &Place, select: &Select) -> Result<HashMap<Digest, Vec<Signature>>> {
    let manifests = transfer::manifests(source, select)?;
    let named = source.resolve()?.descriptor.digest;
    let mut found = HashMap::new();
    for manifest in &manifests {
        let digest = &manifest.descriptor.digest;
        let level = if *digest == named { Level::Named } else { Level::Below };
        let signatures = place.read(digest, level).wrap(|| "reading signatures")?;
        if !signatures.is_empty() {
            found.insert(digest.clone(), signatures);
        }
    }
    Ok(found)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A source that is asked for each manifest once: what signatures were looked for is what is copied.
struct Remembered<'a> {
    inner: &'a dyn Source,
    named: OnceLock<RawManifest>,
    below: Mutex<HashMap<Digest, RawManifest>>,
}

impl<'a> Remembered<'a> {
    fn new(inner: &'a dyn Source) -> Self {
        Self { inner, named: OnceLock::new(), below: Mutex::default() }
    }
}

impl Source for Remembered<'_> {
    fn resolve(&self) -> conex_image::Result<RawManifest> {
        if let Some(named) = self.named.get() {
            return Ok(named.clone());
        }
        let named = self.inner.resolve()?;
        Ok(self.named.get_or_init(|| named).clone())
    }

    fn manifest(&self, descriptor: &Descriptor) -> conex_image::Result<RawManifest> {
        if let Some(known) = lock(&self.below).get(&descriptor.digest)
            && known.descriptor == *descriptor
        {
            return Ok(known.clone());
        }
        let found = self.inner.manifest(descriptor)?;
        lock(&self.below).insert(descriptor.digest.clone(), found.clone());
        Ok(found)
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

/// A sink that remembers which manifests it got.
struct Recorded<'a> {
    inner: &'a dyn Sink,
    arrived: Mutex<Vec<(Digest, Level)>>,
}

impl Sink for Recorded<'_> {
    fn has_blob(&self, descriptor: &Descriptor) -> conex_image::Result<bool> {
        self.inner.has_blob(descriptor)
    }

    fn put_blob(
        &self,
        descriptor: &Descriptor,
        from: &dyn Source,
        progress: &dyn Progress,
    ) -> conex_image::Result<()> {
        self.inner.put_blob(descriptor, from, progress)
    }

    fn put_manifest(&self, manifest: &RawManifest) -> conex_image::Result<()> {
        self.inner.put_manifest(manifest)?;
        lock(&self.arrived).push((manifest.descriptor.digest.clone(), Level::Below));
        Ok(())
    }

    fn commit(&self, manifest: &RawManifest) -> conex_image::Result<()> {
        self.inner.commit(manifest)?;
        lock(&self.arrived).push((manifest.descriptor.digest.clone(), Level::Named));
        Ok(())
    }

    fn form(&self) -> Form {
        self.inner.form()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}
