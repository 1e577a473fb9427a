// SPDX-License-Identifier: Apache-2.0
//! One requirement of a policy, as it is written and as it is then used.
//!
//! ```json
//! {"type": "sigstoreSigned", "keyPath": "/etc/pki/org.pub", "signedIdentity": {"type": "matchRepository"}}
//! ```
//! What cannot be used is refused when the file is read, but for what sigstore's public services vouch for (`fulcio`,
//! `pki`, `rekorPublicKey…`): such a requirement is one that never holds here, and says so where it stands.

use std::fmt;
use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::SignedIdentity;
use crate::{Result, Wrap as _};

/// What must hold.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Written")]
pub enum Requirement {
    /// Always holds.
    InsecureAcceptAnything,
    /// Never holds.
    Reject,
    /// A signature by one of these OpenPGP keys, for this image.
    SignedBy {
        /// Whose.
        keys: Keys,
        /// What the signature must say about the image.
        identity: SignedIdentity,
    },
    /// A sigstore signature by one of these keys, for this image.
    SigstoreSigned {
        /// Whose.
        keys: Keys,
        /// What the signature must say about the image.
        identity: SignedIdentity,
    },
    /// A sigstore signature that somebody else vouches for, whom conex does not ask.
    Vouched {
        /// The key of the policy that names them.
        by: String,
    },
}

/// Where keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// In files, at least one.
    Files(Vec<String>),
    /// In the policy itself, at least one.
    Inline(Vec<Vec<u8>>),
}

impl Requirement {
    /// Whether signatures are looked at for it.
    pub fn verifies_signatures(&self) -> bool {
        !matches!(self, Self::InsecureAcceptAnything | Self::Reject)
    }
}

impl Keys {
    /// Their contents.
    pub fn load(&self) -> Result<Vec<Vec<u8>>> {
        match self {
            Self::Files(paths) => {
                paths.iter().map(|path| fs::read(path).wrap(|| format!("key {path}"))).collect()
            }
            Self::Inline(keys) => Ok(keys.clone()),
        }
    }
}

/// For messages: the requirement with its keys.
impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InsecureAcceptAnything => f.write_str("insecureAcceptAnything"),
            Self::Reject => f.write_str("reject"),
            Self::SignedBy { keys, .. } => write!(f, "signedBy {keys}"),
            Self::SigstoreSigned { keys, .. } => write!(f, "sigstoreSigned {keys}"),
            Self::Vouched { by } => write!(f, "sigstoreSigned by {by}"),
        }
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(paths) => write!(f, "with the key {}", paths.join(" or ")),
            Self::Inline(_) => f.write_str("with the key that the policy holds"),
        }
    }
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
enum Written {
    InsecureAcceptAnything {},
    Reject {},
    SignedBy {
        key_type: KeyType,
        key_path: Option<String>,
        key_paths: Option<Vec<String>>,
        key_data: Option<String>,
        #[serde(default)]
        signed_identity: SignedIdentity,
    },
    SigstoreSigned {
        key_path: Option<String>,
        key_paths: Option<Vec<String>>,
        key_data: Option<String>,
        key_datas: Option<Vec<String>>,
        fulcio: Option<IgnoredAny>,
        pki: Option<IgnoredAny>,
        rekor_public_key_path: Option<IgnoredAny>,
        rekor_public_key_paths: Option<IgnoredAny>,
        rekor_public_key_data: Option<IgnoredAny>,
        rekor_public_key_datas: Option<IgnoredAny>,
        #[serde(default)]
        signed_identity: SignedIdentity,
    },
}

#[derive(Deserialize)]
enum KeyType {
    #[serde(rename = "GPGKeys")]
    GpgKeys,
}

impl TryFrom<Written> for Requirement {
    type Error = &'static str;

    fn try_from(written: Written) -> std::result::Result<Self, Self::Error> {
        Ok(match written {
            Written::InsecureAcceptAnything {} => Self::InsecureAcceptAnything,
            Written::Reject {} => Self::Reject,
            Written::SignedBy {
                key_type: KeyType::GpgKeys,
                key_path,
                key_paths,
                key_data,
                signed_identity,
            } => {
                let keys = keys(key_path, key_paths, key_data, None)?;
                let keys = keys.ok_or("signedBy needs exactly one of keyPath, keyPaths and keyData")?;
                Self::SignedBy { keys, identity: signed_identity }
            }
            Written::SigstoreSigned {
                key_path,
                key_paths,
                key_data,
                key_datas,
                fulcio,
                pki,
                rekor_public_key_path,
                rekor_public_key_paths,
                rekor_public_key_data,
                rekor_public_key_datas,
                signed_identity,
            } => {
                let keys = keys(key_path, key_paths, key_data, key_datas)?;
                let others = [
                    ("fulcio", fulcio),
                    ("pki", pki),
                    ("rekorPublicKeyPath", rekor_public_key_path),
                    ("rekorPublicKeyPaths", rekor_public_key_paths),
                    ("rekorPublicKeyData", rekor_public_key_data),
                    ("rekorPublicKeyDatas", rekor_public_key_datas),
                ];
                let vouched = others.into_iter().find_map(|(name, value)| value.map(|_| name.to_owned()));
                match (keys, vouched) {
                    (_, Some(by)) => Self::Vouched { by },
                    (Some(keys), None) => Self::SigstoreSigned { keys, identity: signed_identity },
                    (None, None) => {
                        return Err(
                            "sigstoreSigned needs exactly one of keyPath, keyPaths, keyData, keyDatas, fulcio and pki",
                        );
                    }
                }
            }
        })
    }
}

/// Of the ways to say it, the one that was used. `None`: none was.
fn keys(
    path: Option<String>,
    paths: Option<Vec<String>>,
    data: Option<String>,
    datas: Option<Vec<String>>,
) -> std::result::Result<Option<Keys>, &'static str> {
    let decoded = |texts: Vec<String>| {
        let keys =
            texts.iter().map(|text| STANDARD.decode(text.trim())).collect::<std::result::Result<_, _>>();
        keys.map(Keys::Inline).map_err(|_| "keys in a policy are in base64")
    };
    match (path, paths, data, datas) {
        (None, None, None, None) => Ok(None),
        (Some(path), None, None, None) => Ok(Some(Keys::Files(vec![path]))),
        (None, Some(paths), None, None) if !paths.is_empty() => Ok(Some(Keys::Files(paths))),
        (None, None, Some(data), None) => decoded(vec![data]).map(Some),
        (None, None, None, Some(datas)) if !datas.is_empty() => decoded(datas).map(Some),
        (None, Some(_), None, None) | (None, None, None, Some(_)) => Err("a list of keys must not be empty"),
        _ => Err("keys are said in one way, not in several"),
    }
}
