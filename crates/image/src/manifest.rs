// SPDX-License-Identifier: Apache-2.0
//! image-spec v1.1: manifest.md, image-index.md
//!
//! Reading manifests that may lie. A document is exactly one of index and manifest (CVE-2021-41190), says the
//! same media type as its descriptor, holds no key twice, and is at most 4 MiB.

use std::collections::HashSet;
use std::fmt;

use conex_spec::image::media_type::{Kind, OCI_INDEX, OCI_MANIFEST, kind};
use conex_spec::image::{Descriptor, Index, Manifest, Platform};
use conex_spec::{Algorithm, Digest};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::transfer::RawManifest;
use crate::verify::{self, Hasher};
use crate::{Error, ErrorKind, Result};

/// The largest manifest, index or configuration that is read.
pub const MAX_MANIFEST: u64 = 4 << 20;

/// A manifest document, parsed.
#[derive(Clone, Debug)]
pub enum Document {
    /// Several images under one name.
    Index(Box<Index>),
    /// One image or artifact.
    Manifest(Box<Manifest>),
}

impl Document {
    /// Parses and checks. `raw.descriptor.media_type` must agree with what the document says and is.
    pub fn parse(raw: &RawManifest) -> Result<Self> {
        parse(raw).map_err(|error| error.wrap(format!("manifest {}", raw.descriptor.digest)))
    }

    /// Everything the document refers to, in its order: an index' manifests, or a manifest's configuration and layers.
    pub fn children(&self) -> Vec<&Descriptor> {
        match self {
            Self::Index(index) => index.manifests.iter().collect(),
            Self::Manifest(manifest) => std::iter::once(&manifest.config).chain(&manifest.layers).collect(),
        }
    }
}

fn parse(raw: &RawManifest) -> Result<Document> {
    if raw.bytes.len() as u64 > MAX_MANIFEST {
        return Err(Error::invalid("larger than 4 MiB"));
    }
    let shape = shape(&raw.bytes)?;
    let promised = raw.descriptor.media_type.as_str();
    if let Some(said) = &shape.media_type
        && kind(said) != kind(promised)
    {
        return Err(Error::invalid(format!("is called {promised}, but says that it is {said}")));
    }
    match kind(promised) {
        Kind::Index if shape.has_image => {
            Err(Error::invalid("is called an index, but has a configuration or layers"))
        }
        Kind::Index => Ok(Document::Index(Box::new(typed(&raw.bytes)?))),
        Kind::Manifest if shape.has_manifests => {
            Err(Error::invalid("is called an image manifest, but lists manifests"))
        }
        Kind::Manifest => Ok(Document::Manifest(Box::new(typed(&raw.bytes)?))),
        _ => Err(Error::new(ErrorKind::Unsupported, format!("media type {promised} is no manifest's"))),
    }
}

fn typed<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| Error::invalid(e.to_string()))
}

/// Reads an index.json, which has no descriptor.
pub(crate) fn parse_index(bytes: &[u8]) -> Result<Index> {
    let shape = shape(bytes)?;
    if shape.has_image {
        return Err(Error::invalid("has a configuration or layers beside manifests"));
    }
    typed(bytes)
}

/// Reads any JSON document of an image (a configuration), refusing keys that come twice.
pub fn parse_strictly<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T> {
    shape(bytes)?;
    typed(bytes)
}

/// Whether a descriptor of this media type leads to a manifest or index.
pub fn is_manifest(media_type: &str) -> bool {
    matches!(kind(media_type), Kind::Index | Kind::Manifest)
}

/// Whether a descriptor of this media type leads to an image's configuration.
pub(crate) fn is_config(media_type: &str) -> bool {
    kind(media_type) == Kind::Config
}

/// What a manifest of unknown media type is: what it says, or what it looks like.
pub fn sniff_media_type(bytes: &[u8]) -> Option<String> {
    let shape = shape(bytes).ok()?;
    let looks = match (shape.has_manifests, shape.has_image) {
        (true, false) => OCI_INDEX,
        (false, true) => OCI_MANIFEST,
        _ => return None,
    };
    Some(shape.media_type.unwrap_or_else(|| looks.to_owned()))
}

/// What tells an index from a manifest.
#[derive(Debug, Default)]
struct Shape {
    media_type: Option<String>,
    has_manifests: bool,
    has_image: bool,
}

/// Walks the whole document once: no key twice in any object, and which keys the top has.
fn shape(bytes: &[u8]) -> Result<Shape> {
    let mut shape = Shape::default();
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let walked = Walk { top: Some(&mut shape) }.deserialize(&mut reader).and_then(|()| reader.end());
    walked.map_err(|e| Error::invalid(e.to_string()))?;
    Ok(shape)
}

/// Whether no object in a JSON document has a key twice: readers differ in which of the two counts.
pub(crate) fn no_key_twice(bytes: &[u8]) -> Result<()> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    Walk { top: None }.deserialize(&mut reader).map_err(|e| Error::invalid(e.to_string()))
}

/// Visits a JSON value of any type. Depth is bounded by the parser (128).
struct Walk<'a> {
    top: Option<&'a mut Shape>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.top.is_some() { "a JSON object" } else { "a JSON value" })
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if let Some(shape) = self.top.as_deref_mut() {
                match key.as_str() {
                    "manifests" => shape.has_manifests = true,
                    "config" | "layers" | "fsLayers" => shape.has_image = true,
                    "mediaType" => {
                        shape.media_type = map.next_value::<Option<String>>()?;
                        if !seen.insert(key) {
                            return Err(A::Error::custom("the key \"mediaType\" comes twice"));
                        }
                        continue;
                    }
                    _ => {}
                }
            }
            map.next_value_seed(Walk { top: None })?;
            if seen.contains(&key) {
                return Err(A::Error::custom(format_args!("the key {key:?} comes twice")));
            }
            seen.insert(key);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        if self.top.is_some() {
            return Err(A::Error::custom("expected a JSON object"));
        }
        while seq.next_element_seed(Walk { top: None })?.is_some() {}
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        self.scalar()
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        self.scalar()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.scalar()
    }
}

impl Walk<'_> {
    fn scalar<E: serde::de::Error>(self) -> Result<(), E> {
        if self.top.is_some() { Err(E::custom("expected a JSON object")) } else { Ok(()) }
    }
}

/// Builds the [`RawManifest`] of received bytes: checks size and digest against `expected` where it is known.
/// `media_type` is what the other side called it (`Content-Type`, a descriptor).
pub fn verified(bytes: Vec<u8>, media_type: &str, expected: Option<&Digest>) -> Result<RawManifest> {
    let size = bytes.len() as u64;
    if size > MAX_MANIFEST {
        return Err(Error::invalid(format!("manifest of {size} bytes is larger than 4 MiB")));
    }
    let mut hasher = Hasher::new(expected.map_or(Algorithm::Sha256, Digest::algorithm));
    hasher.update(&bytes);
    let digest = hasher.finish();
    if let Some(expected) = expected {
        verify::check(expected, size, &digest, size)?;
    }
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    Ok(RawManifest { descriptor: Descriptor::new(media_type, digest, size), bytes })
}

/// The entry of an index that fits `wanted` best: an exact variant before a compatible one, in the index's order.
pub fn choose<'a>(index: &'a Index, wanted: &Platform) -> Option<&'a Descriptor> {
    let fits = |d: &&Descriptor| d.platform.as_ref().is_some_and(|p| wanted.accepts(p));
    let exact = |d: &&Descriptor| d.platform.as_ref().is_some_and(|p| p.variant == wanted.variant);
    let candidates = || index.manifests.iter().filter(fits);
    candidates().find(exact).or_else(|| candidates().next()).or_else(|| {
        // One image that does not say what it is for.
        let [only] = &index.manifests[..] else { return None };
        only.platform.is_none().then_some(only)
    })
}

#[cfg(test)]
mod tests {
    use conex_spec::image::media_type::DOCKER_MANIFEST;

    use super::*;

    const DIGEST: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

    fn descriptor() -> String {
        format!(r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{DIGEST}","size":2}}"#)
    }

    fn parse(text: &str, media_type: &str) -> Result<Document> {
        Document::parse(&verified(text.as_bytes().to_vec(), media_type, None)?)
    }

    #[test]
    fn one_document_is_one_thing() {
        let config = descriptor();
        let manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{config}]}}"#);
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{config}]}}"#);
        assert!(matches!(parse(&manifest, OCI_MANIFEST), Ok(Document::Manifest(_))));
        assert!(matches!(parse(&manifest, DOCKER_MANIFEST), Ok(Document::Manifest(_))));
        assert!(matches!(parse(&index, OCI_INDEX), Ok(Document::Index(_))));
        let both = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[],"manifests":[]}}"#);
        let lying = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","config":{config}}}"#);
        let twice = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[],"layers":[{config}]}}"#);
        let deep_twice = r#"{"schemaVersion":2,"manifests":[],"annotations":{"a":"1","a":"2"}}"#;
        let negative = manifest.replace("\"size\":2", "\"size\":-1");
        let climbing = manifest.replace(DIGEST, "sha256:../../../../etc/passwd");
        for (text, media_type, complaint) in [
            (both.as_str(), OCI_MANIFEST, "lists manifests"),
            (&both, OCI_INDEX, "has a configuration"),
            (&lying, OCI_MANIFEST, "says that it is"),
            (&twice, OCI_MANIFEST, "\"layers\" comes twice"),
            (deep_twice, OCI_INDEX, "\"a\" comes twice"),
            (&negative, OCI_MANIFEST, "invalid value"),
            (&climbing, OCI_MANIFEST, "digest"),
            ("[1]", OCI_MANIFEST, "JSON object"),
            ("{\"schemaVersion\":2} x", OCI_INDEX, "trailing"),
            (&manifest, "text/plain", "no manifest's"),
        ] {
            let error = parse(text, media_type).expect_err(text).to_string();
            assert!(error.contains(complaint), "{text}: {error}");
        }
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(parse(&format!(r#"{{"a":{deep}}}"#), OCI_INDEX).is_err());
        let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(5 << 20));
        assert!(parse(&large, OCI_INDEX).unwrap_err().to_string().contains("4 MiB"));
        assert!(verified(b"{}".to_vec(), OCI_INDEX, Some(&verify::sha256(b"other"))).is_err());
    }

    #[test]
    fn the_best_platform_is_chosen() {
        let entry = |arch: &str, variant: Option<&str>| Descriptor {
            platform: Some(Platform {
                architecture: arch.to_owned(),
                os: "linux".to_owned(),
                variant: variant.map(str::to_owned),
                ..Platform::default()
            }),
            ..Descriptor::new(OCI_MANIFEST, DIGEST.parse().unwrap(), 2)
        };
        let wanted = entry("arm64", Some("v8")).platform.unwrap();
        let index = |manifests: Vec<Descriptor>| Index {
            schema_version: 2,
            media_type: None,
            artifact_type: None,
            manifests,
            subject: None,
            annotations: std::collections::BTreeMap::new(),
        };
        let list = index(vec![entry("amd64", None), entry("arm64", None), entry("arm64", Some("v8"))]);
        assert_eq!(choose(&list, &wanted), Some(&list.manifests[2]));
        let list = index(vec![entry("amd64", None), entry("arm64", None)]);
        assert_eq!(choose(&list, &wanted), Some(&list.manifests[1]));
        assert_eq!(choose(&index(vec![entry("amd64", None)]), &wanted), None);
        let unnamed = index(vec![Descriptor { platform: None, ..entry("x", None) }]);
        assert_eq!(choose(&unnamed, &wanted), Some(&unnamed.manifests[0]));
    }
}
