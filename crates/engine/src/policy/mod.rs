// SPDX-License-Identifier: Apache-2.0
//! containers-policy.json(5): which images may be used, by where they come from and who signed them.
//!
//! ```text
//!  transport and scope ──► the most specific list of requirements ──► all of them hold ──► the manifest may be used
//! ```
//! Parsing is strict: what is not understood rejects the whole file, for a requirement that is overlooked would be one
//! that is not enforced. The decision is made on the very bytes that are then copied: [`Guarded`].

mod guard;
mod identity;
mod requirement;
mod trust;
mod verdict;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use conex_image::containers_storage::StorageName;
use conex_image::manifest::parse_strictly;
use conex_registry::config::reference_scopes;
use serde::Deserialize;

use crate::transport::Location;
use crate::{Result, Wrap as _};

pub use guard::Guarded;
pub use identity::SignedIdentity;
pub use requirement::{Keys, Requirement};
pub use trust::{Trust, TrustFiles};
pub use verdict::{Signers, Subject};

/// A policy file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    default: Requirements,
    #[serde(default)]
    transports: BTreeMap<String, BTreeMap<String, Requirements>>,
}

/// All of them must hold; there is at least one.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Vec<Requirement>")]
pub struct Requirements(Vec<Requirement>);

impl TryFrom<Vec<Requirement>> for Requirements {
    type Error = &'static str;

    fn try_from(list: Vec<Requirement>) -> std::result::Result<Self, Self::Error> {
        if list.is_empty() { Err("a list of requirements must not be empty") } else { Ok(Self(list)) }
    }
}

/// The requirements for a place, and where the policy says them.
#[derive(Clone, Debug)]
pub struct Rule<'a> {
    /// What must hold.
    pub requirements: &'a Requirements,
    /// `transports › docker › "quay.io"`, or `default`.
    pub place: String,
}

impl Policy {
    /// Reads a file's contents.
    pub fn parse(text: &str) -> Result<Self> {
        parse_strictly(text.as_bytes()).wrap(|| "signature policy")
    }

    /// What must hold for images at `location`. `None`: it is conex' own store, whose images were let in before.
    pub fn rule(&self, location: &Location) -> Option<Rule<'_>> {
        let (transport, scopes) = scopes(location)?;
        let own = self.transports.get(transport);
        let found = own.and_then(|own| {
            scopes.iter().find_map(|scope| {
                let place = format!("transports › {transport} › {scope:?}");
                own.get(scope).map(|requirements| Rule { requirements, place })
            })
        });
        Some(found.unwrap_or_else(|| Rule { requirements: &self.default, place: "default".to_owned() }))
    }
}

/// A path without links and dots, as far as it is there: a scope must not be got into by a detour.
fn explicit(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.canonicalize().unwrap_or_else(|_| match (absolute.parent(), absolute.file_name()) {
        (Some(parent), Some(name)) => explicit(parent).join(name),
        // What cannot be resolved is in no scope but the transport's own.
        _ => PathBuf::from("/"),
    })
}

/// The transport, and from the most specific to the least the scopes that a place is in.
fn scopes(location: &Location) -> Option<(&'static str, Vec<String>)> {
    let (transport, mut scopes) = match location {
        Location::Docker(reference) => ("docker", reference_scopes(reference)),
        Location::Oci(name) => ("oci", path_scopes(&explicit(&name.path), name.reference.as_deref())),
        Location::OciArchive(name) => {
            ("oci-archive", path_scopes(&explicit(&name.path), name.reference.as_deref()))
        }
        Location::ContainersStorage(name) => ("containers-storage", storage_scopes(name)),
        Location::Dir(path) => ("dir", path_scopes(&explicit(path), None)),
        Location::DockerArchive(_) | Location::DockerArchiveDir(_) => ("docker-archive", Vec::new()),
        Location::DockerDaemon(name) => {
            ("docker-daemon", name.parse().map(|name| reference_scopes(&name)).unwrap_or_default())
        }
        Location::Store(_) => return None,
    };
    scopes.push(String::new());
    Some((transport, scopes))
}

/// `[overlay@root]host/a/b:tag`, … `[overlay@root]host`, `[overlay@root]`, `[root]`. Without a root, which only the
/// configuration knows, there is the transport's own scope.
fn storage_scopes(name: &StorageName) -> Vec<String> {
    let Some(root) = &name.graph_root else { return Vec::new() };
    let names = name.image.parse().map(|name| reference_scopes(&name)).unwrap_or_default();
    let place = format!("[overlay@{}]", root.display());
    let named = names.iter().filter(|scope| !scope.starts_with('*')).map(|scope| format!("{place}{scope}"));
    named.chain([place.clone(), format!("[{}]", root.display())]).collect()
}

/// `path:tag`, `path`, and the directories above but for `/`.
fn path_scopes(path: &Path, reference: Option<&str>) -> Vec<String> {
    let mut scopes: Vec<String> =
        reference.map(|name| format!("{}:{name}", path.display())).into_iter().collect();
    scopes.extend(
        path.ancestors().filter(|path| path.parent().is_some()).map(|path| path.display().to_string()),
    );
    scopes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_rejected(policy: &Policy, place: &str) -> bool {
        let location = Location::parse(place, false).unwrap();
        policy.rule(&location).is_some_and(|rule| matches!(rule.requirements.0[..], [Requirement::Reject]))
    }

    #[test]
    fn the_most_specific_scope_counts() {
        let policy = Policy::parse(
            r#"{"default": [{"type": "reject"}], "transports": {
                "docker": {
                    "docker.io/library/busybox": [{"type": "insecureAcceptAnything"}],
                    "docker.io/library/busybox:bad": [{"type": "reject"}],
                    "*.example.org": [{"type": "insecureAcceptAnything"}],
                    "a.example.org/x": [{"type": "reject"}]
                },
                "dir": {"": [{"type": "insecureAcceptAnything"}]},
                "oci": {"/good": [{"type": "insecureAcceptAnything"}]}
            }}"#,
        )
        .unwrap();
        for (place, rejected) in [
            ("docker://busybox", false),
            ("docker://busybox:bad", true),
            ("docker://alpine", true),
            ("docker://b.example.org/any", false),
            ("docker://a.example.org/x/y", true),
            ("docker://example.org/any", true),
            ("dir:/anywhere", false),
            ("oci:/good/layout:1", false),
            ("oci:/goods/layout:1", true),
            ("docker-archive:/good/x", true),
            ("store:busybox", false),
        ] {
            assert_eq!(is_rejected(&policy, place), rejected, "{place}");
        }
    }

    #[test]
    fn what_nobody_here_asks_never_holds() {
        for text in [
            r#"{"default": [{"type": "sigstoreSigned", "fulcio": {"caPath": "/c"}, "rekorPublicKeyPath": "/r"}]}"#,
            r#"{"default": [{"type": "sigstoreSigned", "keyPath": "/k", "rekorPublicKeyPath": "/r"}]}"#,
            r#"{"default": [{"type": "sigstoreSigned", "pki": {"caRootsPath": "/c"}}]}"#,
        ] {
            let policy = Policy::parse(text).unwrap();
            assert!(matches!(policy.default.0[..], [Requirement::Vouched { .. }]), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_rejects_the_file() {
        for text in [
            "{}",
            r#"{"default": []}"#,
            r#"{"default": [{"type": "insecureAcceptAnything", "but": 1}]}"#,
            r#"{"default": [{"type": "reject"}], "default": [{"type": "insecureAcceptAnything"}]}"#,
            r#"{"default": [{"type": "unheardOf"}]}"#,
            r#"{"default": [{"type": "reject"}], "other": 1}"#,
            r#"{"default": [{"type": "signedBy", "keyType": "X509", "keyPath": "/k"}]}"#,
            r#"{"default": [{"type": "signedBy", "keyType": "GPGKeys"}]}"#,
            r#"{"default": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k", "keyData": "aa"}]}"#,
            r#"{"default": [{"type": "sigstoreSigned"}]}"#,
            r#"{"default": [{"type": "sigstoreSigned", "keyPaths": []}]}"#,
            r#"{"default": [{"type": "sigstoreSigned", "keyData": "?"}]}"#,
            r#"{"default": [{"type": "sigstoreSigned", "keyPath": "/k", "keyDatas": ["aa=="]}]}"#,
            r#"{"default": [{"type": "sigstoreSigned", "keyPath": "/k", "keyType": "GPGKeys"}]}"#,
        ] {
            assert!(Policy::parse(text).is_err(), "{text}");
        }
    }
}
