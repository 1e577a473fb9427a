// SPDX-License-Identifier: Apache-2.0
//! containers-registries.d(5): where the signatures of a registry's images are.
//!
//! ```yaml
//! default-docker:
//!   lookaside: https://signatures.example.org
//! docker:
//!   quay.io/org:
//!     lookaside: https://signatures.example.org
//!     lookaside-staging: file:///var/lib/signatures    # written, and brought there by other means
//!     use-sigstore-attachments: true                   # cosign's, in the registry itself
//! ```
//! The simple signatures of `quay.io/org/app@sha256:ab…` are then at
//! `file:///var/lib/signatures/org/app@sha256=ab…/signature-1`, `-2` and so on, up to the first that is not there.

use std::collections::BTreeMap;

use conex_spec::Digest;
use conex_spec::distribution::Reference;
use serde_json::Value;

use super::yaml;
use crate::{Error, ErrorKind, Result};

/// What the files of registries.d say together.
#[derive(Clone, Debug, Default)]
pub struct Lookasides {
    builtin: String,
    default: Option<Section>,
    scopes: BTreeMap<String, Section>,
}

/// What is said about one scope. What it leaves open a wider one says: so do the programs, though the page has it that only
/// the most specific counts.
#[derive(Clone, Debug, Default)]
struct Section {
    lookaside: Option<String>,
    staging: Option<String>,
    attachments: Option<bool>,
}

/// For what an address is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `lookaside`
    Read,
    /// `lookaside-staging`, or `lookaside` where there is none.
    Write,
}

impl Lookasides {
    /// `builtin` is where signatures are where no file says anything.
    pub fn new(builtin: impl Into<String>) -> Self {
        Self { builtin: builtin.into(), ..Self::default() }
    }

    /// Adds a file's contents.
    pub fn add(&mut self, text: &str) -> Result<()> {
        let file = yaml::parse(text)?;
        let twice = |what: &str| {
            Err(Error::new(ErrorKind::Usage, format!("registries.d: {what} is in several files")))
        };
        if let Some(default) = file.get("default-docker").filter(|said| !said.is_null())
            && self.default.replace(Section::read(default)?).is_some()
        {
            return twice("default-docker");
        }
        for (scope, said) in file.get("docker").and_then(Value::as_object).into_iter().flatten() {
            if self.scopes.insert(scope.clone(), Section::read(said)?).is_some() {
                return twice(scope);
            }
        }
        Ok(())
    }

    /// The address of the `number`-th simple signature, counted from 1.
    pub fn address(&self, purpose: Purpose, reference: &Reference, digest: &Digest, number: usize) -> String {
        let base = self.first(reference, |said| said.base(purpose));
        let base = base.unwrap_or(&self.builtin).trim_end_matches('/');
        let (algorithm, hex) = (digest.algorithm().name(), digest.hex());
        format!("{base}/{}@{algorithm}={hex}/signature-{number}", reference.name)
    }

    /// Whether the registry itself holds sigstore signatures, as attachments.
    pub fn uses_attachments(&self, reference: &Reference) -> bool {
        self.first(reference, |said| said.attachments).unwrap_or(false)
    }

    /// What the most specific scope says that says anything.
    fn first<'a, T>(&'a self, reference: &Reference, what: impl Fn(&'a Section) -> Option<T>) -> Option<T> {
        let scopes = reference_scopes(reference);
        let sections = scopes.iter().filter_map(|scope| self.scopes.get(scope));
        sections.chain(&self.default).find_map(what)
    }
}

impl Section {
    /// `sigstore` is what lookasides were called before.
    fn read(said: &Value) -> Result<Self> {
        let text = |new: &str, old: &str| {
            let found = [new, old].into_iter().filter_map(|key| said.get(key)?.as_str());
            found.filter(|text| !text.is_empty()).map(str::to_owned).next()
        };
        let attachments = match said.get("use-sigstore-attachments") {
            None | Some(Value::Null) => None,
            Some(Value::Bool(answer)) => Some(*answer),
            Some(_) => {
                let message = "registries.d: use-sigstore-attachments is neither true nor false";
                return Err(Error::new(ErrorKind::Usage, message));
            }
        };
        Ok(Self {
            lookaside: text("lookaside", "sigstore"),
            staging: text("lookaside-staging", "sigstore-staging"),
            attachments,
        })
    }

    fn base(&self, purpose: Purpose) -> Option<&String> {
        let staging = self.staging.as_ref().filter(|_| purpose == Purpose::Write);
        staging.or(self.lookaside.as_ref())
    }
}

/// The scopes that an image is in, the most specific first, as policies and registries.d name them: `host/a/b:tag`,
/// `host/a/b`, `host/a`, `host`, `*.domain` without the port, …
pub fn reference_scopes(reference: &Reference) -> Vec<String> {
    let repository = reference.repository();
    let whole = match &reference.digest {
        Some(digest) => format!("{repository}@{digest}"),
        None => format!("{repository}:{}", reference.tag_or_latest().unwrap_or("latest")),
    };
    let parents = std::iter::successors(Some(repository.as_str()), |path| Some(path.rsplit_once('/')?.0));
    let mut scopes: Vec<String> = std::iter::once(whole).chain(parents.map(str::to_owned)).collect();
    let mut domain = reference.host.split(':').next().unwrap_or_default();
    while let Some((_, rest)) = domain.split_once('.') {
        scopes.push(format!("*.{rest}"));
        domain = rest;
    }
    scopes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_scope_says_where() {
        let mut found = Lookasides::new("file:///builtin");
        let reference: Reference = "quay.io/org/app:1".parse().unwrap();
        let digest: Digest = format!("sha256:{}", "ab".repeat(32)).parse().unwrap();
        let rest = format!("/org/app@sha256={}/signature-1", "ab".repeat(32));
        let read = |found: &Lookasides, base: &str| {
            assert_eq!(found.address(Purpose::Read, &reference, &digest, 1), format!("{base}{rest}"))
        };
        let write = |found: &Lookasides, base: &str| {
            assert_eq!(found.address(Purpose::Write, &reference, &digest, 1), format!("{base}{rest}"))
        };
        read(&found, "file:///builtin");
        found
            .add("default-docker:\n  sigstore: http://old.example/\n  sigstore-staging: file:///s\n")
            .unwrap();
        read(&found, "http://old.example");
        write(&found, "file:///s");
        found
            .add("docker:\n  quay.io:\n    lookaside: file:///a\n  quay.io/org:\n    lookaside: file:///b\n")
            .unwrap();
        read(&found, "file:///b");
        write(&found, "file:///b");
        assert!(found.add("docker:\n  quay.io:\n    lookaside: file:///c\n").is_err());
        assert!(found.add("default-docker:\n  use-sigstore-attachments: true\n").is_err());
    }

    #[test]
    fn a_host_with_a_port_is_another_host_in_the_same_domain() {
        let scopes = reference_scopes(&"a.example.org:5000/x/y:1".parse().unwrap());
        let wanted = [
            "a.example.org:5000/x/y:1",
            "a.example.org:5000/x/y",
            "a.example.org:5000/x",
            "a.example.org:5000",
        ];
        assert_eq!(scopes[..4], wanted);
        assert_eq!(scopes[4..], ["*.example.org", "*.org"]);
    }

    #[test]
    fn each_thing_is_said_by_the_nearest_that_says_it() {
        let mut found = Lookasides::new("");
        let text = "docker:\n  quay.io/org/app:\n    lookaside: file:///a\n  quay.io/org:\n    use-sigstore-attachments: false\n  \
                    quay.io:\n    use-sigstore-attachments: true\n  '*.example.org':\n    use-sigstore-attachments: true\n";
        found.add(text).unwrap();
        for (reference, uses) in [
            ("quay.io/org/app:1", false),
            ("quay.io/other:1", true),
            ("a.example.org/x", true),
            ("docker.io/x", false),
        ] {
            assert_eq!(found.uses_attachments(&reference.parse().unwrap()), uses, "{reference}");
        }
        assert!(found.add("docker:\n  x.io:\n    use-sigstore-attachments: maybe\n").is_err());
    }
}
