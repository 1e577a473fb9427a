// SPDX-License-Identifier: Apache-2.0
//! sigstore's bundle, which refers to an image as its subject: what cosign 3 makes (sigstore: bundle v0.3, DSSE 1.0, in-toto
//! Statement v1; OCI 1.1 referrers).
//!
//! ```text
//!  manifest ─┬─ subject: the image        bundle ─┬─ verificationMaterial.publicKey.hint: which key
//!            └─ layers: the bundle ──►            └─ dsseEnvelope: payload, signature over
//!                                                     "DSSEv1" SP length SP type SP length SP payload
//!  payload: {"_type": …, "subject": [{"digest": {"sha256": "<hex>"}}], "predicateType": …, "predicate": {}}
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use conex_image::manifest::{Document, parse_strictly};
use conex_image::transfer::{RawManifest, Sink as _, Source as _};
use conex_registry::Client;
use conex_spec::Digest;
use conex_spec::distribution::Reference;
use conex_spec::image::media_type::{OCI_EMPTY, OCI_MANIFEST};
use conex_spec::image::{Descriptor, Manifest};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::attachment::{blob, descriptor, put_blob};
use super::{PrivateKey, PublicKey, in_base64};
use crate::{Error, ErrorKind, Result, Wrap as _};

const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";
/// Most bundles of one image that are looked at.
const MOST: usize = 128;

/// What of a bundle is read; what else it has (certificates, a log's entries) is for others.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Bundle {
    media_type: String,
    dsse_envelope: Option<Envelope>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    #[serde(with = "in_base64")]
    payload: Vec<u8>,
    payload_type: String,
    signatures: Vec<Sig>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Sig {
    #[serde(with = "in_base64")]
    sig: Vec<u8>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
}

#[derive(Debug, Deserialize)]
struct Subject {
    digest: std::collections::BTreeMap<String, String>,
}

/// DSSE's pre-authentication encoding: what is signed.
fn encoded(kind: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// Says that the key has signed the manifest with this digest.
pub(super) fn make(digest: &Digest, key: &PrivateKey) -> Result<Vec<u8>> {
    let subject = json!({ "digest": { digest.algorithm().name(): digest.hex() } });
    let statement =
        json!({ "_type": STATEMENT, "subject": [subject], "predicateType": PREDICATE, "predicate": {} });
    let payload = serde_json::to_vec(&statement)?;
    let sig = key.sign(&encoded(PAYLOAD_TYPE, &payload))?;
    let signatures = vec![Sig { sig }];
    let envelope = Envelope { payload, payload_type: PAYLOAD_TYPE.to_owned(), signatures };
    let hint = key.public().hint();
    Ok(serde_json::to_vec(&json!({
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": { "publicKey": { "hint": hint } },
        "dsseEnvelope": envelope,
    }))?)
}

/// Whether one of the keys has signed the manifest with this digest.
pub(super) fn check(bundle: &[u8], digest: &Digest, keys: &[PublicKey]) -> Result<()> {
    let denied = |message: &str| Err(Error::new(ErrorKind::Denied, message));
    let bundle: Bundle = parse_strictly(bundle).wrap(|| "a bundle")?;
    let Some(envelope) = bundle.dsse_envelope.filter(|_| bundle.media_type == MEDIA_TYPE) else {
        return denied("a bundle of another kind: without a DSSE envelope, or of another version");
    };
    let signed = encoded(&envelope.payload_type, &envelope.payload);
    let good = |sig: &Sig| keys.iter().any(|key| key.verifies(&signed, &sig.sig));
    if envelope.payload_type != PAYLOAD_TYPE || !envelope.signatures.iter().any(good) {
        return denied("cryptographic signature verification failed: none of the keys made it");
    }
    let statement: Statement = parse_strictly(&envelope.payload).wrap(|| "what is signed")?;
    if statement.kind != STATEMENT || statement.predicate_type != PREDICATE {
        return denied("what is signed states something else than that the image is signed");
    }
    let (algorithm, hex) = (digest.algorithm().name(), digest.hex());
    let is_meant = |subject: &Subject| subject.digest.get(algorithm).is_some_and(|found| found == hex);
    match statement.subject.iter().any(is_meant) {
        true => Ok(()),
        false => denied("the signature is for another image"),
    }
}

/// Sends a bundle as a referrer of the image.
pub(super) fn attach(client: &Client, image: &Reference, subject: &Descriptor, bundle: &[u8]) -> Result<()> {
    let config = descriptor(OCI_EMPTY, b"{}");
    let layer = descriptor(MEDIA_TYPE, bundle);
    let annotations =
        [("dev.sigstore.bundle.content", "dsse-envelope"), ("dev.sigstore.bundle.predicateType", PREDICATE)];
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(OCI_MANIFEST.to_owned()),
        artifact_type: Some(MEDIA_TYPE.to_owned()),
        config: config.clone(),
        layers: vec![layer.clone()],
        subject: Some(Descriptor::new(subject.media_type.clone(), subject.digest.clone(), subject.size)),
        annotations: annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
    };
    let bytes = serde_json::to_vec(&manifest)?;
    let remote = client.remote(image);
    put_blob(&remote, &config, b"{}")?;
    put_blob(&remote, &layer, bundle)?;
    Ok(remote.put_manifest(&RawManifest { descriptor: descriptor(OCI_MANIFEST, &bytes), bytes })?)
}

/// All bundles that refer to the image.
pub(super) fn read(client: &Client, image: &Reference, digest: &Digest) -> Result<Vec<Vec<u8>>> {
    let remote = client.remote(image);
    let mut bundles = Vec::new();
    for referrer in remote.referrers(digest, Some(MEDIA_TYPE))?.into_iter().take(MOST) {
        let referrer = Descriptor { artifact_type: None, annotations: Default::default(), ..referrer };
        let Document::Manifest(manifest) = Document::parse(&remote.manifest(&referrer)?)? else { continue };
        for layer in manifest.layers.iter().filter(|layer| layer.media_type == MEDIA_TYPE) {
            bundles.push(blob(&remote, layer)?);
        }
    }
    Ok(bundles)
}

/// The key's name in bundles: the digest of its info, in base64.
impl PublicKey {
    fn hint(&self) -> String {
        STANDARD.encode(self.info_hash())
    }
}
