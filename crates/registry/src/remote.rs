// SPDX-License-Identifier: Apache-2.0
//! One image on a registry, as a [`Source`] and a [`Sink`] for `image::transfer`.
//!
//! Reading asks the mirrors of registries.conf in order, then the main location; writing knows only the latter.

use conex_image::transfer::{BlobReader, Form, LayerForm, Progress, RawManifest, Sink, Source};
use conex_spec::Digest;
use conex_spec::distribution::Reference;
use conex_spec::image::{Descriptor, Index, Manifest, media_type};

use crate::config::Endpoint;
use crate::discover::referrers_tag;
use crate::download::Download;
use crate::repository::Repository;
use crate::{Client, Error, ErrorKind, Result};

/// A client and a reference.
#[derive(Clone, Debug)]
pub struct Remote {
    client: Client,
    reference: Reference,
}

impl Remote {
    pub(crate) fn new(client: Client, reference: Reference) -> Self {
        Self { client, reference }
    }

    /// What this names.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The descriptor behind the reference, by one HEAD request; nothing is downloaded.
    pub fn head(&self) -> Result<Descriptor> {
        let reference = self.reference.manifest_reference();
        self.first_that_has(|repository| {
            repository
                .head_manifest(reference)?
                .ok_or_else(|| Error::new(ErrorKind::NotFound, "no such manifest"))
        })
    }

    /// All tags of the repository, in the registry's order.
    pub fn tags(&self) -> Result<Vec<String>> {
        self.main()?.tags()
    }

    /// The manifests whose `subject` is `digest`, of one artifact type or of all.
    pub fn referrers(&self, digest: &Digest, artifact_type: Option<&str>) -> Result<Vec<Descriptor>> {
        self.main()?.referrers(digest, artifact_type)
    }

    /// Deletes the manifest that the reference means, with all its tags.
    pub fn delete(&self) -> Result<()> {
        let repository = self.main()?;
        let reference = self.reference.manifest_reference();
        let missing = || Error::new(ErrorKind::NotFound, format!("{}: no such image", self.reference));
        let found = repository.head_manifest(reference)?.ok_or_else(missing)?;
        repository.delete_manifest(found.digest.as_str())
    }

    /// Deletes the tag alone: what it meant stays, under its other tags and by digest.
    pub fn delete_tag(&self) -> Result<()> {
        match (&self.reference.digest, self.reference.tag_or_latest()) {
            (None, Some(tag)) => self.main()?.delete_tag(tag),
            _ => Err(Error::new(ErrorKind::Usage, format!("{} does not name a tag", self.reference))),
        }
    }

    fn endpoints(&self) -> Result<Vec<Endpoint>> {
        self.client.shared.settings.registries.endpoints(&self.reference)
    }

    fn repository_at(&self, endpoint: &Endpoint) -> Result<Repository> {
        let shared = self.client.shared.clone();
        let host = shared.host(&endpoint.host, endpoint.insecure)?;
        Ok(Repository { shared, host, name: endpoint.name.clone() })
    }

    /// The location itself, which is the last endpoint.
    fn main(&self) -> Result<Repository> {
        let endpoints = self.endpoints()?;
        let main = endpoints.last().expect("endpoints() ends with the main location");
        self.repository_at(main)
    }

    /// Tries mirrors, then the main location, whose error counts.
    fn first_that_has<T>(&self, ask: impl Fn(&Repository) -> Result<T>) -> Result<T> {
        let endpoints = self.endpoints()?;
        let mut failed = Vec::new();
        for endpoint in &endpoints {
            match self.repository_at(endpoint).and_then(|repository| ask(&repository)) {
                Ok(found) => return Ok(found),
                Err(error) if endpoint.mirror => failed.push(format!("mirror {}: {error}", endpoint.host)),
                Err(error) if failed.is_empty() => return Err(error),
                Err(error) => return Err(error.wrap(failed.join("; "))),
            }
        }
        unreachable!("endpoints() ends with a location that is no mirror")
    }

    /// distribution-spec #pushing-manifests-with-subject: keeps the list of referrers where the registry does not.
    fn keep_referrers_list(&self, repository: &Repository, manifest: &RawManifest) -> Result<()> {
        let Some((subject, entry)) = referrer_entry(manifest) else { return Ok(()) };
        let mut manifests = repository.referrers_by_tag(&subject.digest)?;
        if manifests.iter().any(|known| known.digest == entry.digest) {
            return Ok(());
        }
        manifests.push(entry);
        let index = Index {
            schema_version: 2,
            media_type: Some(media_type::OCI_INDEX.to_owned()),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: std::collections::BTreeMap::new(),
        };
        let bytes = serde_json::to_vec(&index).expect("an index has only string keys");
        let digest = conex_image::verify::sha256(&bytes);
        let descriptor = Descriptor::new(media_type::OCI_INDEX, digest, bytes.len() as u64);
        repository.put_manifest(&RawManifest { descriptor, bytes }, &referrers_tag(&subject.digest))?;
        Ok(())
    }

    fn put(&self, manifest: &RawManifest, reference: &str) -> Result<()> {
        let repository = self.main()?;
        let noted = repository.put_manifest(manifest, reference)?;
        if noted { Ok(()) } else { self.keep_referrers_list(&repository, manifest) }
    }
}

/// The subject of a manifest that has one, and the manifest's own line in the list of referrers.
fn referrer_entry(manifest: &RawManifest) -> Option<(Descriptor, Descriptor)> {
    let mut entry = manifest.descriptor.clone();
    if media_type::kind(&entry.media_type) == media_type::Kind::Index {
        let index: Index = serde_json::from_slice(&manifest.bytes).ok()?;
        entry.artifact_type = index.artifact_type;
        entry.annotations = index.annotations;
        return Some((index.subject?, entry));
    }
    let parsed: Manifest = serde_json::from_slice(&manifest.bytes).ok()?;
    let own = parsed.artifact_type.filter(|text| !text.is_empty());
    entry.artifact_type = own.or(Some(parsed.config.media_type));
    entry.annotations = parsed.annotations;
    Some((parsed.subject?, entry))
}

impl Source for Remote {
    fn resolve(&self) -> Result<RawManifest> {
        let reference = self.reference.manifest_reference();
        self.first_that_has(|repository| repository.manifest(reference))
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<RawManifest> {
        let mut found = self.first_that_has(|repository| repository.manifest(descriptor.digest.as_str()))?;
        if found.descriptor.size != descriptor.size || found.descriptor.media_type != descriptor.media_type {
            let got = &found.descriptor;
            let what = format!(
                "manifest {}: descriptor says {} of {} bytes, registry sent {} of {} bytes",
                descriptor.digest, descriptor.media_type, descriptor.size, got.media_type, got.size
            );
            return Err(Error::new(ErrorKind::Invalid, what));
        }
        found.descriptor = descriptor.clone();
        Ok(found)
    }

    fn open_blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobReader> {
        let (download, offset) = self.first_that_has(|repository| {
            let opened = Download::open(repository, descriptor, offset)?;
            repository.note(&descriptor.digest);
            Ok(opened)
        })?;
        Ok(BlobReader { reader: Box::new(download), offset })
    }

    fn describe(&self) -> String {
        format!("docker://{}", self.reference)
    }

    fn repository(&self) -> Option<(String, String)> {
        let main = self.main().ok()?;
        Some((main.host.name.clone(), main.name))
    }
}

impl Sink for Remote {
    fn form(&self) -> Form {
        Form { format: None, layers: Some(LayerForm::Packed) }
    }

    fn has_blob(&self, descriptor: &Descriptor) -> Result<bool> {
        let repository = self.main()?;
        let there = repository.has_blob(&descriptor.digest)?;
        if there {
            repository.note(&descriptor.digest);
        }
        Ok(there)
    }

    fn put_blob(&self, descriptor: &Descriptor, from: &dyn Source, progress: &dyn Progress) -> Result<()> {
        let repository = self.main()?;
        let outcome = repository.put_blob(descriptor, from, progress)?;
        repository.note(&descriptor.digest);
        progress.finish(descriptor, outcome);
        Ok(())
    }

    fn put_manifest(&self, manifest: &RawManifest) -> Result<()> {
        self.put(manifest, manifest.descriptor.digest.as_str())
    }

    fn commit(&self, manifest: &RawManifest) -> Result<()> {
        let digest = &manifest.descriptor.digest;
        if let Some(named) = self.reference.digest.as_ref().filter(|named| *named != digest) {
            let what = format!("push to {}: the manifest is {digest}, not {named}", self.reference);
            return Err(Error::new(ErrorKind::Usage, what));
        }
        self.put(manifest, self.reference.tag_or_latest().unwrap_or(digest.as_str()))
    }

    fn describe(&self) -> String {
        format!("docker://{}", self.reference)
    }
}
