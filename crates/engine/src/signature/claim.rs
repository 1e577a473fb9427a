// SPDX-License-Identifier: Apache-2.0
//! What is signed about an image (containers-signature(5); cosign: specs/SIGNATURE_SPEC.md).
//!
//! ```json
//! {"critical": {"identity": {"docker-reference": "quay.io/org/app:1"},
//!               "image":    {"docker-manifest-digest": "sha256:…"},
//!               "type":     "atomic container signature", or "cosign container image signature"},
//!  "optional": {"creator": "conex 0.1.0", "timestamp": 1700000000}}
//! ```

use conex_image::manifest::parse_strictly;
use conex_spec::Digest;
use conex_spec::distribution::Reference;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, ErrorKind, Result, Wrap as _};

/// Who makes such signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// By OpenPGP.
    #[serde(rename = "atomic container signature")]
    Simple,
    /// As cosign does.
    #[serde(rename = "cosign container image signature")]
    Sigstore,
}

/// Read from a signature that has been verified, or to be signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    critical: Critical,
    optional: Value,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Critical {
    identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Identity {
    docker_reference: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Image {
    docker_manifest_digest: Digest,
}

impl Claim {
    /// That the manifest with this digest is `reference`. `timestamp` is in seconds since 1970.
    pub fn new(kind: Kind, reference: &str, digest: &Digest, creator: &str, timestamp: u64) -> Self {
        let identity = Identity { docker_reference: reference.to_owned() };
        let image = Image { docker_manifest_digest: digest.clone() };
        Self {
            critical: Critical { identity, image, kind },
            optional: serde_json::json!({ "creator": creator, "timestamp": timestamp }),
        }
    }

    /// Reads what was signed by one who makes this kind.
    pub fn parse(kind: Kind, bytes: &[u8]) -> Result<Self> {
        let claim: Self = parse_strictly(bytes).wrap(|| "what is signed")?;
        let invalid = |what: &str| Err(Error::new(ErrorKind::Invalid, format!("what is signed {what}")));
        if claim.critical.kind != kind {
            return invalid("has the type of another kind of signatures");
        }
        match &claim.optional {
            // cosign, where nobody asked for annotations.
            Value::Null if kind == Kind::Sigstore => {}
            Value::Object(said) => {
                let whole = |value: &Value| value.as_f64().is_some_and(|number| number.fract() == 0.0);
                if !said.get("creator").is_none_or(Value::is_string)
                    || !said.get("timestamp").is_none_or(whole)
                {
                    return invalid("has a creator or a timestamp of the wrong type");
                }
            }
            _ => return invalid("has no object where \"optional\" is"),
        }
        Ok(claim)
    }

    /// To be signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a claim has only string keys")
    }

    /// The manifest that is meant.
    pub fn digest(&self) -> &Digest {
        &self.critical.image.docker_manifest_digest
    }

    /// The name as it was written.
    pub fn name(&self) -> &str {
        &self.critical.identity.docker_reference
    }

    /// What the manifest is said to be.
    pub fn reference(&self) -> Result<Reference> {
        Ok(self.name().parse()?)
    }
}
