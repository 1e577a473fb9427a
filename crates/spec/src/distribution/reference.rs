// SPDX-License-Identifier: Apache-2.0
//! distribution-spec v1.1: #pulling-manifests, `<name>` and `<reference>`; the host in front follows the
//! habit of docker and podman.
//!
//! ```text
//! quay.io:443/org/app:1.2@sha256:…
//! └─ host ──┘ └name─┘ └tag┘ └digest
//! ```
//! A first component is a host when it has a dot or a colon, or is `localhost`; otherwise the host is
//! `docker.io`, and a name without a slash there gets `library/` in front.

use std::fmt;
use std::str::FromStr;

use crate::Digest;

/// The host that short names mean.
pub const DEFAULT_HOST: &str = "docker.io";

/// A parsed and completed image reference.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// `host` or `host:port`.
    pub host: String,
    /// The repository below the host, at most 255 characters with it.
    pub name: String,
    pub tag: Option<String>,
    pub digest: Option<Digest>,
}

/// Why a string is not an image reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceError {
    text: String,
    reason: String,
}

impl fmt::Display for ReferenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "image reference {:?}: {}", self.text, self.reason)
    }
}

impl std::error::Error for ReferenceError {}

impl Reference {
    /// The tag, or `latest` where neither tag nor digest is given.
    pub fn tag_or_latest(&self) -> Option<&str> {
        match (&self.tag, &self.digest) {
            (Some(tag), _) => Some(tag),
            (None, None) => Some("latest"),
            (None, Some(_)) => None,
        }
    }

    /// What stands after `manifests/` in a request: the digest where there is one, else the tag.
    pub fn manifest_reference(&self) -> &str {
        match &self.digest {
            Some(digest) => digest.as_str(),
            None => self.tag.as_deref().unwrap_or("latest"),
        }
    }

    /// Host and name, without tag and digest.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.host, self.name)
    }

    /// The reference with `latest` spelled out; the name under which a store keeps the image.
    pub fn canonical(&self) -> String {
        let mut text = self.repository();
        if let Some(tag) = self.tag_or_latest() {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest.as_str());
        }
        text
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical())
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        parse(text).map_err(|reason| ReferenceError { text: text.chars().take(300).collect(), reason })
    }
}

fn parse(text: &str) -> Result<Reference, String> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.parse::<Digest>().map_err(|e| e.to_string())?)),
        None => (text, None),
    };
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (rest, None),
    };
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    let (host, name) = split_host(path);
    check_host(&host)?;
    check_name(&name)?;
    if host.len() + 1 + name.len() > 255 {
        return Err("longer than 255 characters".to_owned());
    }
    Ok(Reference { host, name, tag: tag.map(str::to_owned), digest })
}

fn split_host(path: &str) -> (String, String) {
    let (host, name) = match path.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
        _ => (DEFAULT_HOST, path),
    };
    let host = if host == "index.docker.io" { DEFAULT_HOST } else { host };
    if host == DEFAULT_HOST && !name.contains('/') {
        (host.to_owned(), format!("library/{name}"))
    } else {
        (host.to_owned(), name.to_owned())
    }
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`
pub fn check_tag(tag: &str) -> Result<(), String> {
    let mut bytes = tag.bytes();
    let head = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    let tail = bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if head && tail && tag.len() <= 128 {
        return Ok(());
    }
    Err(format!("tag {tag:?} must be 1 to 128 of the characters A-Z a-z 0-9 _ . - and not start with . or -"))
}

/// `host[:port]`: a name, an IPv4 address, or an IPv6 address in brackets.
pub fn check_host(host: &str) -> Result<(), String> {
    let (domain, port) = match host.rsplit_once(':') {
        Some((domain, port)) if !host.ends_with(']') => (domain, Some(port)),
        _ => (host, None),
    };
    if port.is_some_and(|p| p.is_empty() || p.parse::<u16>().is_err()) {
        return Err(format!("host {host:?} has no port number after the colon"));
    }
    let inside = domain.strip_prefix('[').and_then(|d| d.strip_suffix(']'));
    let good = match inside {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => domain.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        }),
    };
    if good { Ok(()) } else { Err(format!("host {host:?} is not a host name or address")) }
}

/// Path components `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, joined by `/`.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("the repository name is empty".to_owned());
    }
    match name.split('/').find(|component| !component_is_good(component)) {
        None => Ok(()),
        Some(bad) if bad.bytes().any(|b| b.is_ascii_uppercase()) => {
            Err(format!("repository name {name:?} must be lowercase"))
        }
        Some(bad) => Err(format!(
            "repository name {name:?}: component {bad:?} must be letters a-z and digits, with . _ __ or - between them"
        )),
    }
}

fn component_is_good(component: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    plain(*first)
        && plain(*last)
        && component
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|gap| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|b| b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completes_short_names() {
        for (short, whole) in [
            ("alpine", "docker.io/library/alpine:latest"),
            ("docker.io/alpine", "docker.io/library/alpine:latest"),
            ("me/app:1", "docker.io/me/app:1"),
            ("localhost/x", "localhost/x:latest"),
            ("localhost:5000/x:y", "localhost:5000/x:y"),
            ("[::1]:5000/x", "[::1]:5000/x:latest"),
            ("quay.io/a/b/c:v1", "quay.io/a/b/c:v1"),
        ] {
            assert_eq!(short.parse::<Reference>().unwrap().canonical(), whole);
        }
    }

    #[test]
    fn refuses_what_the_grammar_forbids() {
        for bad in [
            "",
            "UPPER/x",
            "a//b",
            "a/",
            "/a",
            "a:b:c",
            "a..b",
            "a___b",
            "x:.tag",
            "x:",
            "x@sha256:zz",
            "../x",
            "docker.io/",
            "a b",
            "host.:x/y",
            "-a/b",
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad:?} must not parse");
        }
    }
}
