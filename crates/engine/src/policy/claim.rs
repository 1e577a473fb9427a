// SPDX-License-Identifier: Apache-2.0
//! What a simple signature signs (containers/image: docs/containers-signature.5).
//!
//! ```json
//! {"critical": {"identity": {"docker-reference": "quay.io/org/app:1"},
//!               "image":    {"docker-manifest-digest": "sha256:…"},
//!               "type":     "atomic container signature"},
//!  "optional": {"creator": "conex 0.1.0", "timestamp": 1700000000}}
//! ```

use conex_image::manifest::parse_strictly;
use conex_spec::Digest;
use conex_spec::distribution::Reference;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, ErrorKind, Result, Wrap as _};

const KIND: &str = "atomic container signature";

/// Read from a signature that has been verified, or to be signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    critical: Critical,
    optional: Option<Value>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Critical {
    identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    kind: String,
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
    pub fn new(reference: &str, digest: &Digest, creator: &str, timestamp: u64) -> Self {
        let identity = Identity { docker_reference: reference.to_owned() };
        let image = Image { docker_manifest_digest: digest.clone() };
        Self {
            critical: Critical { identity, image, kind: KIND.to_owned() },
            optional: Some(serde_json::json!({ "creator": creator, "timestamp": timestamp })),
        }
    }

    /// Reads what was signed.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let claim: Self = parse_strictly(bytes).wrap(|| "what is signed")?;
        if claim.critical.kind != KIND {
            let message = format!("what is signed is a {:?}, not a {KIND:?}", claim.critical.kind);
            return Err(Error::new(ErrorKind::Invalid, message));
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
