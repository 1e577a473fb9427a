// SPDX-License-Identifier: Apache-2.0
//! distribution-spec v1.1: #endpoints, and what there is beside them. A request's target becomes a [`Route`] whose parts
//! are grammatical, or an error answer: nothing behind this file sees an unchecked name.

use conex_spec::Digest;
use conex_spec::distribution::reference::{check_name, check_tag};

use crate::answer::Refusal;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/v2/`
    Base,
    /// `/v2/_catalog`, which is Docker's, not the specification's.
    Catalog,
    /// `/v2/<name>/manifests/<tag-or-digest>`
    Manifest(String, Target),
    /// `/v2/<name>/blobs/<digest>`
    Blob(String, Digest),
    /// `/v2/<name>/blobs/uploads/`
    Uploads(String),
    /// `/v2/<name>/blobs/uploads/<id>`
    Upload(String, String),
    /// `/v2/<name>/tags/list`
    Tags(String),
    /// `/v2/<name>/referrers/<digest>`
    Referrers(String, Digest),
    /// `/token`: Docker's token authentication.
    Token,
    /// `/healthz`
    Health,
    /// `/metrics`
    Metrics,
    /// For a person: `/`, `/ui/<name>`, `/ui/<name>:<tag>`, `/ui/<name>@<digest>`
    Page(Place),
}

/// What a page shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Repositories,
    Repository(String),
    Image(String, Target),
}

/// `<tag-or-digest>`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Tag(String),
    Digest(Digest),
}

impl Route {
    /// Reads a path, percent-encoded as it came.
    pub(crate) fn parse(path: &str) -> Result<Self, Refusal> {
        let path = decode(path).ok_or_else(Refusal::no_such_page)?;
        match path.as_str() {
            "/v2" | "/v2/" => return Ok(Self::Base),
            "/token" => return Ok(Self::Token),
            "/healthz" => return Ok(Self::Health),
            "/metrics" => return Ok(Self::Metrics),
            "/" => return Ok(Self::Page(Place::Repositories)),
            _ => {}
        }
        if let Some(place) = path.strip_prefix("/ui/") {
            return Place::parse(place).map(Self::Page);
        }
        let rest = path.strip_prefix("/v2/").ok_or_else(Refusal::no_such_page)?;
        if rest == "_catalog" {
            return Ok(Self::Catalog);
        }
        // From the end: a repository's name may hold any of these words.
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return Ok(Self::Tags(checked(name)?));
        }
        if let Some(name) = rest.strip_suffix("/blobs/uploads") {
            return Ok(Self::Uploads(checked(name)?));
        }
        let (path, last) = rest.rsplit_once('/').ok_or_else(Refusal::no_such_page)?;
        if let Some(name) = path.strip_suffix("/blobs/uploads") {
            let name = checked(name)?;
            return Ok(if last.is_empty() {
                Self::Uploads(name)
            } else {
                Self::Upload(name, last.to_owned())
            });
        }
        match path.rsplit_once('/') {
            Some((name, "manifests")) => Ok(Self::Manifest(checked(name)?, Target::parse(last)?)),
            Some((name, "blobs")) => Ok(Self::Blob(checked(name)?, parse_digest(last)?)),
            Some((name, "referrers")) => Ok(Self::Referrers(checked(name)?, parse_digest(last)?)),
            _ => Err(Refusal::no_such_page()),
        }
    }
}

impl Route {
    /// What it is called where requests are counted.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Catalog => "catalog",
            Self::Manifest(..) => "manifest",
            Self::Blob(..) => "blob",
            Self::Uploads(_) | Self::Upload(..) => "upload",
            Self::Tags(_) => "tags",
            Self::Referrers(..) => "referrers",
            Self::Token => "token",
            Self::Health => "health",
            Self::Metrics => "metrics",
            Self::Page(_) => "page",
        }
    }
}

impl Place {
    fn parse(path: &str) -> Result<Self, Refusal> {
        if let Some((name, digest)) = path.split_once('@') {
            return Ok(Self::Image(checked(name)?, Target::Digest(parse_digest(digest)?)));
        }
        match path.split_once(':') {
            Some((name, tag)) => Ok(Self::Image(checked(name)?, Target::parse(tag)?)),
            None => Ok(Self::Repository(checked(path)?)),
        }
    }
}

impl Target {
    fn parse(text: &str) -> Result<Self, Refusal> {
        if text.contains(':') {
            return Ok(Self::Digest(parse_digest(text)?));
        }
        // The specification has no code for a malformed tag: there is no such manifest.
        check_tag(text).map_err(|what| Refusal::new(404, "MANIFEST_UNKNOWN", what))?;
        Ok(Self::Tag(text.to_owned()))
    }
}

/// Parses a digest from a client.
pub(crate) fn parse_digest(text: &str) -> Result<Digest, Refusal> {
    text.parse().map_err(|error| Refusal::new(400, "DIGEST_INVALID", format!("{error}")))
}

/// Checks a repository name from a client.
pub(crate) fn checked(name: &str) -> Result<String, Refusal> {
    check_name(name).map_err(|what| Refusal::new(400, "NAME_INVALID", what))?;
    if name.len() > 255 {
        return Err(Refusal::new(400, "NAME_INVALID", "the repository name is longer than 255 characters"));
    }
    Ok(name.to_owned())
}

/// A query's values of one key, decoded.
pub(crate) fn query_values(query: &str, key: &str) -> Vec<String> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .filter(|(name, _)| *name == key)
        .filter_map(|(_, value)| decode(&value.replace('+', " ")))
        .collect()
}

/// A query's first value of one key.
pub(crate) fn query_value(query: &str, key: &str) -> Option<String> {
    query_values(query, key).into_iter().next()
}

/// Percent-decoding. `None` where it is malformed or not UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if *first != b'%' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let [high, low, after @ ..] = after else { return None };
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push(u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

    #[test]
    fn every_endpoint_is_told_apart() {
        let digest: Digest = DIGEST.parse().unwrap();
        let name = || "a/blobs/b".to_owned();
        for (path, route) in [
            ("/v2/", Route::Base),
            ("/", Route::Page(Place::Repositories)),
            ("/ui/a/blobs/b", Route::Page(Place::Repository(name()))),
            ("/ui/a/blobs/b:v1", Route::Page(Place::Image(name(), Target::Tag("v1".to_owned())))),
            (
                &format!("/ui/a/blobs/b@{DIGEST}"),
                Route::Page(Place::Image(name(), Target::Digest(digest.clone()))),
            ),
            ("/v2/_catalog", Route::Catalog),
            ("/v2/a/blobs/b/tags/list", Route::Tags(name())),
            ("/v2/a/blobs/b/manifests/v1", Route::Manifest(name(), Target::Tag("v1".to_owned()))),
            (
                &format!("/v2/a/blobs/b/manifests/{DIGEST}"),
                Route::Manifest(name(), Target::Digest(digest.clone())),
            ),
            (
                &format!("/v2/a/blobs/b/blobs/{}", DIGEST.replace(':', "%3A")),
                Route::Blob(name(), digest.clone()),
            ),
            (&format!("/v2/a/blobs/b/referrers/{DIGEST}"), Route::Referrers(name(), digest)),
            ("/v2/a/blobs/b/blobs/uploads/", Route::Uploads(name())),
            ("/v2/a/blobs/b/blobs/uploads/1f", Route::Upload(name(), "1f".to_owned())),
        ] {
            assert_eq!(Route::parse(path).unwrap(), route, "{path}");
        }
    }

    #[test]
    fn nothing_ungrammatical_gets_through() {
        for (path, status) in [
            ("/x", 404),
            ("/ui/", 400),
            ("/ui/../x", 400),
            ("/ui/a@sha256:zz", 400),
            ("/ui/a:b:c", 400),
            ("/ui/a:<script>", 404),
            ("/v1/", 404),
            ("/v2/a", 404),
            ("/v2/../manifests/x", 400),
            ("/v2/%2e%2e/manifests/x", 400),
            ("/v2/a%2f..%2fb/manifests/x", 400),
            ("/v2/A/manifests/x", 400),
            ("/v2//manifests/x", 400),
            ("/v2/a/manifests/..", 404),
            ("/v2/a/manifests/.x", 404),
            ("/v2/a/manifests/x%00", 404),
            ("/v2/a/blobs/sha256:zz", 400),
            ("/v2/a/blobs/sha256:..%2F..%2Fetc", 404),
            ("/v2/a/referrers/x", 400),
            ("/v2/a/manifests/%", 404),
            ("/v2/a/manifests/%ff", 404),
        ] {
            assert_eq!(Route::parse(path).unwrap_err().status, status, "{path}");
        }
        assert_eq!(Route::parse(&format!("/v2/{}/manifests/x", "a".repeat(256))).unwrap_err().status, 400);
    }

    #[test]
    fn queries_are_decoded() {
        let query = "digest=sha256%3Aab&n=2&tag=a&tag=b&from=x%2Fy+z";
        assert_eq!(query_value(query, "digest").unwrap(), "sha256:ab");
        assert_eq!(query_values(query, "tag"), ["a", "b"]);
        assert_eq!(query_value(query, "from").unwrap(), "x/y z");
        assert_eq!(query_value(query, "last"), None);
    }
}
