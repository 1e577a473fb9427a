// SPDX-License-Identifier: Apache-2.0
//! What a manifest refers to, as far as a registry must know. The bytes themselves are never touched.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use conex_spec::Digest;
use conex_spec::image::Descriptor;
use serde::Deserialize;

use crate::{Error, ErrorKind, Result};

/// Most manifests whose facts are kept in memory.
const KEPT: usize = 50_000;

/// The parts of manifests and indexes of all kinds.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parts {
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    subject: Option<Descriptor>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

/// A manifest's facts.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) media_type: Option<String>,
    /// As the referrers API shows it: the manifest's own, else its configuration's media type.
    pub(crate) artifact_type: Option<String>,
    /// Configuration and layers that the registry itself must hold.
    pub(crate) blobs: Vec<Descriptor>,
    pub(crate) manifests: Vec<Descriptor>,
    pub(crate) subject: Option<Digest>,
    pub(crate) annotations: BTreeMap<String, String>,
}

/// Reads a manifest. The error says what is wrong with it.
pub(crate) fn facts_of(bytes: &[u8]) -> std::result::Result<Facts, String> {
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err("the document is not a JSON object".to_owned());
    }
    let parts: Parts = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if parts.manifests.is_some() && (parts.config.is_some() || parts.layers.is_some()) {
        return Err("the document is both an index and a manifest".to_owned());
    }
    let own = parts.artifact_type.filter(|text| !text.is_empty());
    let artifact_type = own.or_else(|| parts.config.as_ref().map(|config| config.media_type.clone()));
    let needed =
        |blob: &Descriptor| !(blob.urls.iter().any(|url| !url.is_empty()) && is_elsewhere(&blob.media_type));
    let layers = parts.layers.unwrap_or_default();
    let slim = |blob: &Descriptor| Descriptor::new(&*blob.media_type, blob.digest.clone(), blob.size);
    let blobs = parts.config.iter().chain(&layers).filter(|blob| needed(blob)).map(slim);
    Ok(Facts {
        media_type: parts.media_type.filter(|text| !text.is_empty()),
        artifact_type,
        blobs: blobs.collect(),
        manifests: parts.manifests.unwrap_or_default(),
        subject: parts.subject.map(|subject| subject.digest),
        annotations: parts.annotations.unwrap_or_default(),
    })
}

/// Layers that may not be distributed are fetched from their `urls`.
fn is_elsewhere(media_type: &str) -> bool {
    media_type.contains(".nondistributable.") || media_type.contains(".foreign.")
}

/// Facts by digest.
#[derive(Default)]
pub(crate) struct FactsCache {
    known: Mutex<HashMap<Digest, Arc<Facts>>>,
}

impl FactsCache {
    pub(super) fn get(&self, digest: &Digest, read: impl FnOnce() -> Result<Vec<u8>>) -> Result<Arc<Facts>> {
        if let Some(facts) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(digest) {
            return Ok(facts.clone());
        }
        let facts =
            facts_of(&read()?).map_err(|what| Error::new(ErrorKind::Invalid, format!("{digest}: {what}")))?;
        let facts = Arc::new(facts);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(digest.clone(), facts.clone());
        Ok(facts)
    }
}
