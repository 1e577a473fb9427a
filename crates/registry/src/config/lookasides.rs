// SPDX-License-Identifier: Apache-2.0
//! containers-registries.d(5): where the simple signatures of a registry's images are.
//!
//! ```yaml
//! default-docker:
//!   lookaside: https://signatures.example.org
//! docker:
//!   quay.io/org:
//!     lookaside: file:///var/lib/signatures
//! ```
//! The signatures of `quay.io/org/app@sha256:ab…` are then at
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
    default: Option<String>,
    scopes: BTreeMap<String, String>,
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
        if let Some(default) = file.get("default-docker").and_then(lookaside)
            && self.default.replace(default).is_some()
        {
            return twice("default-docker");
        }
        for (scope, said) in file.get("docker").and_then(Value::as_object).into_iter().flatten() {
            if let Some(base) = lookaside(said)
                && self.scopes.insert(scope.clone(), base).is_some()
            {
                return twice(scope);
            }
        }
        Ok(())
    }

    /// The address of the `number`-th signature, counted from 1. `scopes` are those of the image, the most specific first.
    pub fn address(
        &self,
        reference: &Reference,
        scopes: &[String],
        digest: &Digest,
        number: usize,
    ) -> String {
        let base = scopes.iter().find_map(|scope| self.scopes.get(scope)).or(self.default.as_ref());
        let base = base.unwrap_or(&self.builtin).trim_end_matches('/');
        let (algorithm, hex) = (digest.algorithm().name(), digest.hex());
        format!("{base}/{}@{algorithm}={hex}/signature-{number}", reference.name)
    }
}

/// `sigstore` is what it was called before.
fn lookaside(said: &Value) -> Option<String> {
    let base = said.get("lookaside").or_else(|| said.get("sigstore"))?;
    base.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_scope_says_where() {
        let mut found = Lookasides::new("file:///builtin");
        let reference: Reference = "quay.io/org/app:1".parse().unwrap();
        let digest: Digest = format!("sha256:{}", "ab".repeat(32)).parse().unwrap();
        let scopes = ["quay.io/org/app:1", "quay.io/org/app", "quay.io/org", "quay.io"].map(str::to_owned);
        let rest = format!("/org/app@sha256={}/signature-1", "ab".repeat(32));
        assert_eq!(found.address(&reference, &scopes, &digest, 1), format!("file:///builtin{rest}"));
        found.add("default-docker:\n  sigstore: http://old.example/\n").unwrap();
        assert_eq!(found.address(&reference, &scopes, &digest, 1), format!("http://old.example{rest}"));
        found
            .add("docker:\n  quay.io:\n    lookaside: file:///a\n  quay.io/org:\n    lookaside: file:///b\n")
            .unwrap();
        assert_eq!(found.address(&reference, &scopes, &digest, 1), format!("file:///b{rest}"));
        assert!(found.add("docker:\n  quay.io:\n    lookaside: file:///c\n").is_err());
    }
}
