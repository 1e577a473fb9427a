// SPDX-License-Identifier: Apache-2.0
//! Redirects: followed, counted, and without our secrets.

use std::sync::Arc;

use conex_registry::{Credentials, ErrorKind, Login, Result};

use crate::image::{Image, hasty, pull, read_blob, remote, remote_with};
use crate::server::{Reply, Server};

pub(crate) const SENTINEL: &str = "c2VudGluZWw";

/// Logs in everywhere with a token that must never be seen elsewhere.
pub(crate) struct Sentinel;

impl Credentials for Sentinel {
    fn find(&self, _host: &str, _name: &str) -> Result<Option<Login>> {
        Ok(Some(Login::Bearer { token: SENTINEL.to_owned() }))
    }
}

#[test]
fn another_host_sees_no_secret() {
    let image = Image::new();
    let storage_image = image.clone();
    let storage = Server::start(move |seen| storage_image.reply(seen));
    let (own, elsewhere) = (image.clone(), storage.host());
    let server = Server::start(move |seen| {
        if seen.header("authorization") != Some(&format!("Bearer {SENTINEL}")) {
            return Reply::new(401, "").header("www-authenticate", "Basic realm=\"x\"");
        }
        if seen.target.contains("/blobs/") {
            return Reply::new(307, "")
                .header("location", format!("http://{elsewhere}{}?sig=1", seen.target));
        }
        own.reply(seen)
    });
    let mut settings = hasty();
    settings.credentials = Arc::new(Sentinel);
    pull(&remote_with(settings, &server.host()), &image).unwrap();
    let seen = storage.seen();
    assert!(!seen.is_empty());
    for request in seen {
        assert!(request.target.contains("?sig=1"), "the query is kept: {}", request.target);
        let everything = format!("{request:?}");
        assert!(!everything.contains(SENTINEL), "{everything}");
        assert!(request.header("referer").is_none() && request.header("cookie").is_none());
    }
}

#[test]
fn another_host_that_asks_for_a_login_gets_none() {
    let storage = Server::start(|_| Reply::new(401, "").header("www-authenticate", "Basic realm=\"give\""));
    let elsewhere = storage.host();
    let server = Server::start(move |seen| {
        if seen.header("authorization").is_none() {
            return Reply::new(401, "").header("www-authenticate", "Basic realm=\"x\"");
        }
        Reply::new(302, "").header("location", format!("http://{elsewhere}/x"))
    });
    let mut settings = hasty();
    settings.credentials = Arc::new(Sentinel);
    let error = read_blob(&remote_with(settings, &server.host()), &Image::new(), 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(storage.seen().iter().all(|seen| seen.header("authorization").is_none()));
}

#[test]
fn relative_redirects_are_followed() {
    let image = Image::new();
    let own = image.clone();
    let server = Server::start(move |seen| {
        if seen.target.starts_with("/v2/a/b/blobs/") {
            return Reply::new(302, "").header("location", "elsewhere?x=1");
        }
        if seen.target == "/v2/a/b/blobs/elsewhere?x=1" || seen.target.contains("elsewhere") {
            return own.blob_reply(seen.range());
        }
        own.reply(seen)
    });
    let error = pull(&remote(&server), &image);
    assert!(error.is_err(), "the script redirects elsewhere to itself");
    let own = image.clone();
    let server = Server::start(move |seen| match seen.target.as_str() {
        "/v2/a/b/blobs/elsewhere?x=1" => Reply::new(308, "").header("location", "/third"),
        "/third" => own.blob_reply(seen.range()),
        target if target.contains("/blobs/") => Reply::new(302, "").header("location", "elsewhere?x=1"),
        _ => own.reply(seen),
    });
    pull(&remote(&server), &image).unwrap();
}

#[test]
fn endless_redirects_end() {
    for location in ["", "/v2/a/b/blobs/again", "file:///etc/passwd", "https://[::1", "gopher://x/"] {
        let server = Server::start(move |seen| {
            let location = if location.is_empty() { seen.target.clone() } else { location.to_owned() };
            Reply::new(307, "").header("location", location)
        });
        let error = read_blob(&remote(&server), &Image::new(), 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{location}: {error}");
        assert!(server.seen().len() <= 11, "{} requests", server.seen().len());
    }
    let server = Server::start(|_| Reply::new(307, ""));
    assert!(read_blob(&remote(&server), &Image::new(), 0).unwrap_err().to_string().contains("no Location"));
}

#[test]
fn twenty_hops_are_too_many() {
    let server = Server::start(|seen| {
        let hop: usize = seen.target.strip_prefix("/hop/").and_then(|n| n.parse().ok()).unwrap_or(0);
        Reply::new(302, "").header("location", format!("/hop/{}", hop + 1))
    });
    let error = read_blob(&remote(&server), &Image::new(), 0).unwrap_err();
    assert!(error.to_string().contains("more than 10 redirects"), "{error}");
}
