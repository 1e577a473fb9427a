// SPDX-License-Identifier: Apache-2.0
//! distribution-spec v1.1: #pull. Manifests verified against what was asked for; blobs opened at an offset.

use conex_image::manifest::MAX_MANIFEST;
use conex_image::transfer::RawManifest;
use conex_image::verify::Hasher;
use conex_spec::image::{Descriptor, media_type};
use conex_spec::{Algorithm, Digest};
use serde::Deserialize;
use serde::de::IgnoredAny;
use ureq::BodyReader;
use ureq::http::Method;

use crate::auth::Actions;
use crate::http::{Answer, Ask};
use crate::repository::Repository;
use crate::{Error, ErrorKind, Result};

/// A blob's body, from `offset` on.
pub(crate) struct Opened {
    pub(crate) body: BodyReader<'static>,
    pub(crate) offset: u64,
    /// The answer announced exactly the bytes that are missing.
    pub(crate) length_known: bool,
}

impl Repository {
    /// The manifest or index that a tag or digest names.
    pub(crate) fn manifest(&self, reference: &str) -> Result<RawManifest> {
        let mut answer = self.send(self.ask_manifest(Method::GET, reference))?;
        let place = answer.place();
        let bytes = answer.read_capped(MAX_MANIFEST)?;
        checked_manifest(&answer, reference, bytes).map_err(|error| error.wrap(place))
    }

    /// The descriptor that a tag or digest names, as far as the answer's headers tell. `None`: there is no such.
    pub(crate) fn head_manifest(&self, reference: &str) -> Result<Option<Descriptor>> {
        let answer = self.send(self.ask_manifest(Method::HEAD, reference).expect(&[404]))?;
        if answer.status == 404 {
            return Ok(None);
        }
        let missing =
            |what| Error::new(ErrorKind::Invalid, format!("{}: answer has no {what}", answer.place()));
        let digest: Digest = match (answer.header("docker-content-digest"), reference.parse()) {
            (Some(text), _) => text.parse()?,
            (None, Ok(asked)) => asked,
            (None, Err(_)) => return Err(missing("Docker-Content-Digest")),
        };
        if reference.parse::<Digest>().is_ok_and(|asked| asked != digest) {
            let what = format!("{}: asked for {reference}, was told {digest}", answer.place());
            return Err(Error::new(ErrorKind::Invalid, what));
        }
        let size = answer.content_length().ok_or_else(|| missing("Content-Length"))?;
        let media_type = content_type(&answer).ok_or_else(|| missing("Content-Type"))?;
        Ok(Some(Descriptor::new(media_type, digest, size)))
    }

    fn ask_manifest(&self, method: Method, reference: &str) -> Ask<'static> {
        self.ask(method, format_args!("manifests/{reference}"), Actions::Pull)
            .header("accept", media_type::ACCEPTED_MANIFESTS.join(", "))
    }

    /// Opens a blob, from `offset` where the registry can.
    pub(crate) fn open_blob(&self, blob: &Descriptor, offset: u64) -> Result<Opened> {
        let mut ask = self.ask(Method::GET, format_args!("blobs/{}", blob.digest), Actions::Pull);
        if offset > 0 {
            ask = ask.header("range", format!("bytes={offset}-")).expect(&[416]);
        }
        let answer = self.send(ask)?;
        let invalid = |what: String| Error::new(ErrorKind::Invalid, format!("{}: {what}", answer.place()));
        let offset = match answer.status {
            200 => 0,
            206 if offset > 0 => {
                let range = answer.header("content-range").unwrap_or_default();
                check_content_range(range, offset, blob.size).map_err(invalid)?;
                offset
            }
            416 => {
                answer.finish();
                return self.open_blob(blob, 0);
            }
            status => return Err(invalid(format!("unexpected status {status}"))),
        };
        let length = answer.content_length();
        if let Some(length) = length.filter(|length| *length != blob.size - offset) {
            let expected = blob.size - offset;
            return Err(invalid(format!("announces {length} bytes where the descriptor leaves {expected}")));
        }
        Ok(Opened { body: answer.into_reader(), offset, length_known: length.is_some() })
    }
}

/// `bytes first-last/total`
fn check_content_range(value: &str, offset: u64, size: u64) -> std::result::Result<(), String> {
    let parsed = value.trim().strip_prefix("bytes ").and_then(|rest| {
        let (range, total) = rest.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let total = if total == "*" { size } else { total.parse().ok()? };
        Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?, total))
    });
    match parsed {
        Some((first, last, total)) if first == offset && last == size - 1 && total == size => Ok(()),
        _ => Err(format!("asked for bytes {offset} to {} of {size}, got Content-Range {value:?}", size - 1)),
    }
}

/// What tells a manifest's kind, and that it is only one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    #[serde(default)]
    schema_version: Option<u64>,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    config: Option<IgnoredAny>,
    #[serde(default)]
    layers: Option<IgnoredAny>,
    #[serde(default)]
    manifests: Option<IgnoredAny>,
}

fn checked_manifest(answer: &Answer, reference: &str, bytes: Vec<u8>) -> Result<RawManifest> {
    let invalid = |what: String| Error::new(ErrorKind::Invalid, what);
    let asked = reference.parse::<Digest>().ok();
    let digest = digest_of(asked.as_ref().map_or(Algorithm::Sha256, Digest::algorithm), &bytes);
    if let Some(asked) = asked.filter(|asked| *asked != digest) {
        return Err(invalid(format!("asked for {asked}, the bytes sent are {digest}")));
    }
    if let Some(told) = answer.header("docker-content-digest") {
        let told: Digest = told.parse()?;
        let real = if told.algorithm() == digest.algorithm() {
            digest.clone()
        } else {
            digest_of(told.algorithm(), &bytes)
        };
        if told != real {
            return Err(invalid(format!("Docker-Content-Digest says {told}, the bytes sent are {real}")));
        }
    }
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(invalid("manifest is not a JSON object".to_owned()));
    }
    let shape: Shape =
        serde_json::from_slice(&bytes).map_err(|error| invalid(format!("manifest is not JSON: {error}")))?;
    let media_type = shape.media_type(content_type(answer).as_deref())?;
    Ok(RawManifest { descriptor: Descriptor::new(media_type, digest, bytes.len() as u64), bytes })
}

impl Shape {
    /// The one media type that header and body agree on.
    fn media_type(&self, header: Option<&str>) -> Result<String> {
        let invalid = |what: String| Error::new(ErrorKind::Invalid, what);
        if self.schema_version == Some(1) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the image has Docker's manifest schema 1 of before 2016",
            )
            .with_hint("push it again with a current tool"));
        }
        if self.manifests.is_some() && (self.config.is_some() || self.layers.is_some()) {
            return Err(invalid("the document is both an index and a manifest".to_owned()));
        }
        // Some registries and static file servers do not know the type; the document does.
        let header =
            header.filter(|h| !matches!(*h, "application/json" | "application/octet-stream" | "text/plain"));
        match (header, self.media_type.as_deref().filter(|text| !text.is_empty())) {
            (Some(header), Some(body)) if header != body => {
                Err(invalid(format!("Content-Type is {header}, mediaType in the document is {body}")))
            }
            (Some(one), _) | (None, Some(one)) => Ok(one.to_owned()),
            (None, None) if self.manifests.is_some() => Ok(media_type::OCI_INDEX.to_owned()),
            (None, None) if self.config.is_some() => Ok(media_type::OCI_MANIFEST.to_owned()),
            (None, None) => Err(invalid("the document is neither a manifest nor an index".to_owned())),
        }
    }
}

/// The digest of bytes in memory.
fn digest_of(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

/// Without parameters.
fn content_type(answer: &Answer) -> Option<String> {
    let value = answer.header("content-type")?.split(';').next()?.trim();
    (!value.is_empty()).then(|| value.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_must_be_the_one_asked_for() {
        assert!(check_content_range("bytes 5-9/10", 5, 10).is_ok());
        assert!(check_content_range("bytes 5-9/*", 5, 10).is_ok());
        for bad in
            ["", "bytes 0-9/10", "bytes 5-8/10", "bytes 5-9/11", "5-9/10", "bytes 5-/10", "bytes x-9/10"]
        {
            assert!(check_content_range(bad, 5, 10).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn header_and_document_agree_on_the_type() {
        let shape = |json: &str| serde_json::from_str::<Shape>(json).unwrap();
        let oci = media_type::OCI_MANIFEST;
        let plain = shape(r#"{"schemaVersion":2,"config":{},"layers":[]}"#);
        assert_eq!(plain.media_type(None).unwrap(), oci);
        assert_eq!(plain.media_type(Some("text/plain")).unwrap(), oci);
        assert_eq!(plain.media_type(Some(media_type::DOCKER_MANIFEST)).unwrap(), media_type::DOCKER_MANIFEST);
        let typed = shape(&format!(r#"{{"schemaVersion":2,"mediaType":"{oci}","config":{{}}}}"#));
        assert!(typed.media_type(Some(media_type::OCI_INDEX)).is_err());
        assert!(shape(r#"{"manifests":[],"layers":[]}"#).media_type(None).is_err());
        assert!(shape(r#"{"manifests":[],"config":null}"#).media_type(None).is_ok());
        let old = shape(r#"{"schemaVersion":1,"fsLayers":[]}"#).media_type(None).unwrap_err();
        assert_eq!(old.kind(), ErrorKind::Unsupported);
    }
}
