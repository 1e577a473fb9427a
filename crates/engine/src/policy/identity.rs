// SPDX-License-Identifier: Apache-2.0
//! `signedIdentity`: how what a signature calls an image and what the image is asked for by must agree. Pure.

use conex_spec::distribution::Reference;
use serde::Deserialize;

/// Which names are accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum SignedIdentity {
    /// The same name with the same tag or digest.
    MatchExact {},
    /// The same name and tag; for an image asked for by digest, the same name.
    MatchRepoDigestOrExact {},
    /// The same name.
    MatchRepository {},
    /// This one.
    ExactReference {
        /// With tag or digest.
        docker_reference: String,
    },
    /// This name.
    ExactRepository {
        /// Without tag and digest.
        docker_repository: String,
    },
    /// As `matchRepoDigestOrExact`, after one prefix has been put in another's place.
    RemapIdentity {
        /// What the image's name begins with.
        prefix: String,
        /// What the signed name begins with.
        signed_prefix: String,
    },
    /// `matchRepoDigestOrExact`, where nothing is said.
    #[default]
    #[serde(skip)]
    Unsaid,
}

impl SignedIdentity {
    /// Whether a signature for `signed` is one for the image asked for as `asked`, which images in files are not.
    pub fn accepts(&self, signed: &Reference, asked: Option<&Reference>) -> bool {
        match (self, asked) {
            (Self::ExactReference { docker_reference }, _) => {
                docker_reference.parse().is_ok_and(|wanted: Reference| is_exact(signed, &wanted))
            }
            (Self::ExactRepository { docker_repository }, _) => docker_repository
                .parse()
                .is_ok_and(|wanted: Reference| signed.repository() == wanted.repository()),
            (_, None) => false,
            (Self::MatchExact {}, Some(asked)) => is_exact(signed, asked),
            (Self::MatchRepository {}, Some(asked)) => signed.repository() == asked.repository(),
            (Self::MatchRepoDigestOrExact {} | Self::Unsaid, Some(asked)) => {
                repo_digest_or_exact(signed, asked)
            }
            (Self::RemapIdentity { prefix, signed_prefix }, Some(asked)) => {
                remapped(asked, prefix, signed_prefix)
                    .is_some_and(|asked| repo_digest_or_exact(signed, &asked))
            }
        }
    }
}

/// A signature must say its tag or digest; a person's `app` means `app:latest`.
fn is_exact(signed: &Reference, asked: &Reference) -> bool {
    let same_version = match &asked.digest {
        Some(digest) => signed.digest.as_ref() == Some(digest),
        None => signed.digest.is_none() && signed.tag.as_deref() == asked.tag_or_latest(),
    };
    signed.repository() == asked.repository() && same_version
}

fn repo_digest_or_exact(signed: &Reference, asked: &Reference) -> bool {
    let says_version = signed.tag.is_some() || signed.digest.is_some();
    match asked.digest {
        Some(_) => says_version && signed.repository() == asked.repository(),
        None => is_exact(signed, asked),
    }
}

fn remapped(asked: &Reference, prefix: &str, signed_prefix: &str) -> Option<Reference> {
    let repository = asked.repository();
    let rest = repository.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let Some(rest) = rest else { return Some(asked.clone()) };
    let (host, name) =
        format!("{signed_prefix}{rest}").split_once('/').map(|(h, n)| (h.to_owned(), n.to_owned()))?;
    Some(Reference { host, name, ..asked.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "@sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

    fn accepts(rule: &str, signed: &str, asked: &str) -> bool {
        let rule: SignedIdentity = serde_json::from_str(rule).unwrap();
        rule.accepts(&signed.parse().unwrap(), Some(&asked.parse().unwrap()))
    }

    #[test]
    fn each_rule_accepts_what_its_name_says() {
        let by_digest = format!("q.io/a{DIGEST}");
        let remap = r#"{"type": "remapIdentity", "prefix": "mirror:5000/q", "signedPrefix": "q.io"}"#;
        for (rule, signed, asked, accepted) in [
            (r#"{"type": "matchExact"}"#, "q.io/a:1", "q.io/a:1", true),
            (r#"{"type": "matchExact"}"#, "q.io/a:2", "q.io/a:1", false),
            (r#"{"type": "matchExact"}"#, "q.io/a:1", by_digest.as_str(), false),
            (r#"{"type": "matchExact"}"#, "q.io/a", "q.io/a:latest", false),
            (r#"{"type": "matchExact"}"#, "q.io/a:latest", "q.io/a", true),
            (r#"{"type": "matchRepoDigestOrExact"}"#, "q.io/a:1", &by_digest, true),
            (r#"{"type": "matchRepoDigestOrExact"}"#, "q.io/b:1", &by_digest, false),
            (r#"{"type": "matchRepoDigestOrExact"}"#, "q.io/a", &by_digest, false),
            (r#"{"type": "matchRepository"}"#, "q.io/a", "q.io/a:2", true),
            (r#"{"type": "matchRepoDigestOrExact"}"#, "q.io/a:1", "q.io/a:2", false),
            (r#"{"type": "matchRepository"}"#, "q.io/a:1", "q.io/a:2", true),
            (r#"{"type": "matchRepository"}"#, "q.io/ab:1", "q.io/a:1", false),
            (r#"{"type": "exactReference", "dockerReference": "q.io/a:1"}"#, "q.io/a:1", "other/b:7", true),
            (r#"{"type": "exactReference", "dockerReference": "q.io/a:1"}"#, "q.io/a:2", "q.io/a:2", false),
            (r#"{"type": "exactRepository", "dockerRepository": "q.io/a"}"#, "q.io/a:2", "other/b:7", true),
            (remap, "q.io/a:1", "mirror:5000/q/a:1", true),
            (remap, "q.io/a:1", "mirror:5000/quay/a:1", false),
            (remap, "x.io/a:1", "x.io/a:1", true),
        ] {
            assert_eq!(accepts(rule, signed, asked), accepted, "{rule}: {signed} for {asked}");
        }
        let signed = "q.io/a:1".parse().unwrap();
        assert!(!SignedIdentity::Unsaid.accepts(&signed, None), "a file has no name");
    }
}
