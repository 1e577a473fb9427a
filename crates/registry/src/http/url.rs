// SPDX-License-Identifier: Apache-2.0
//! Origins, and where a `Location` leads (RFC 9110 §10.2.2, RFC 3986 §5).

use std::fmt;
use std::net::IpAddr;

use ureq::http::Uri;

use crate::{Error, ErrorKind, Result};

/// Scheme, host and port: what a secret is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) tls: bool,
    /// Lower case, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Origin {
    /// Of `host[:port]` as it stands in a reference.
    pub(crate) fn of_authority(tls: bool, authority: &str) -> Result<Self> {
        let scheme = if tls { "https" } else { "http" };
        Self::of(&parse(&format!("{scheme}://{authority}/"))?)
    }

    pub(crate) fn of(uri: &Uri) -> Result<Self> {
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(invalid(uri, "only http and https are spoken")),
        };
        let authority = uri.authority().ok_or_else(|| invalid(uri, "has no host"))?;
        if authority.as_str().contains('@') {
            return Err(invalid(uri, "has a user name in it"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        if host.is_empty() {
            return Err(invalid(uri, "has no host"));
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { tls, host, port })
    }

    /// `host[:port]`, the port only where it is not the scheme's own.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let own = if self.tls { 443 } else { 80 };
        if self.port == own { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }
}

/// Resolves a `Location` or `Link` target against the address it came from.
pub(crate) fn join(base: &Uri, target: &str) -> Result<Uri> {
    let origin = Origin::of(base)?;
    let target = target.split('#').next().unwrap_or_default();
    if target.contains("://") && !target.starts_with(['/', '?']) {
        return parse(target);
    }
    if let Some(rest) = target.strip_prefix("//") {
        return parse(&format!("{}://{rest}", if origin.tls { "https" } else { "http" }));
    }
    let path = base.path();
    let joined = match target.as_bytes().first() {
        Some(b'/') => target.to_owned(),
        Some(b'?') => format!("{path}{target}"),
        None => path.to_owned(),
        Some(_) => format!("{}/{target}", path.rsplit_once('/').map_or("", |(directory, _)| directory)),
    };
    parse(&format!("{origin}{joined}"))
}

/// Adds `key=value` to the query, keeping what is there.
pub(crate) fn with_query(uri: &Uri, key: &str, value: &str) -> Result<Uri> {
    let separator = if uri.query().is_some() { '&' } else { '?' };
    parse(&format!("{uri}{separator}{key}={}", escape(value)))
}

/// Percent-encodes everything but unreserved characters and `:` `/`, which a query may hold.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// Whether a host (without port and brackets) is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a host is an address that only has a meaning inside some network: loopback, private, link-local.
pub(crate) fn is_internal(host: &str) -> bool {
    if is_loopback(host) || host.ends_with(".localhost") {
        return true;
    }
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(v4)) => {
            v4.is_private() || v4.is_link_local() || v4.is_unspecified() || v4.is_broadcast()
        }
        Ok(IpAddr::V6(v6)) => match v6.to_ipv4_mapped() {
            Some(v4) => is_internal(&v4.to_string()),
            None => v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_unspecified(),
        },
        Err(_) => false,
    }
}

pub(crate) fn parse(text: &str) -> Result<Uri> {
    let shown: String = text.chars().take(200).collect();
    text.parse().map_err(|error| Error::new(ErrorKind::Invalid, format!("address {shown:?}: {error}")))
}

/// Never shows the query: it may hold a signature or a token.
pub(crate) fn redacted(uri: &Uri) -> String {
    match Origin::of(uri) {
        Ok(origin) => format!("{origin}{}", uri.path()),
        Err(_) => uri.path().to_owned(),
    }
}

fn invalid(uri: &Uri, what: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("address {:?} {what}", uri.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_lead_where_the_standard_says() {
        let base = parse("https://r.example:5000/v2/a/blobs/uploads/1?state=x").unwrap();
        for (target, whole) in [
            ("/v2/a/blobs/uploads/2?s=1&t=%2F", "https://r.example:5000/v2/a/blobs/uploads/2?s=1&t=%2F"),
            ("https://cdn.example/x?sig=1", "https://cdn.example/x?sig=1"),
            ("//cdn.example/x", "https://cdn.example/x"),
            ("2?s=y", "https://r.example:5000/v2/a/blobs/uploads/2?s=y"),
            ("?n=2", "https://r.example:5000/v2/a/blobs/uploads/1?n=2"),
            ("?next=http://x", "https://r.example:5000/v2/a/blobs/uploads/1?next=http://x"),
        ] {
            assert_eq!(join(&base, target).unwrap().to_string(), whole, "{target}");
        }
        for bad in ["file:///etc/passwd", "ftp://x/", "http://user:secret@x/", "https://"] {
            let joined = join(&base, bad).and_then(|uri| Origin::of(&uri));
            assert!(joined.is_err(), "{bad} gave {joined:?}");
        }
    }

    #[test]
    fn the_standard_port_is_no_other_origin() {
        let origin = |text: &str| Origin::of(&parse(text).unwrap()).unwrap();
        assert_eq!(origin("https://Host/"), origin("https://host:443/x"));
        assert_ne!(origin("https://host/"), origin("http://host/"));
        assert_ne!(origin("https://host/"), origin("https://host:8443/"));
        assert_eq!(origin("http://[::1]:80/").authority(), "[::1]");
    }

    #[test]
    fn a_query_is_extended_and_escaped() {
        let uri = with_query(&parse("http://x/u?_state=a").unwrap(), "digest", "sha256:ab").unwrap();
        assert_eq!(uri.to_string(), "http://x/u?_state=a&digest=sha256:ab");
        assert_eq!(escape("a b&c=d"), "a%20b%26c%3Dd");
    }

    #[test]
    fn internal_addresses_are_known() {
        for inside in [
            "127.9.9.9",
            "::1",
            "localhost",
            "169.254.169.254",
            "10.0.0.1",
            "192.168.1.1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_internal(inside), "{inside}");
        }
        for outside in ["8.8.8.8", "auth.docker.io", "2606:4700::1"] {
            assert!(!is_internal(outside), "{outside}");
        }
    }
}
