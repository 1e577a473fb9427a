// SPDX-License-Identifier: Apache-2.0
//! Logins, tokens, and challenges that should not be trusted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use conex_image::transfer::Source;
use conex_registry::{Credentials, ErrorKind, Login, NoCredentials, Result, Settings};

use crate::image::{Image, hasty, pull, read_blob, remote, remote_with};
use crate::server::{Reply, Seen, Server};

struct Password;

impl Credentials for Password {
    fn find(&self, _host: &str, _name: &str) -> Result<Option<Login>> {
        Ok(Some(Login::Basic { user: "me".to_owned(), password: "hunter2".to_owned() }))
    }
}

struct Identity;

impl Credentials for Identity {
    fn find(&self, _host: &str, _name: &str) -> Result<Option<Login>> {
        Ok(Some(Login::Identity { token: "refresh+me".to_owned() }))
    }
}

fn settings(credentials: impl Credentials + 'static) -> Settings {
    let mut settings = hasty();
    settings.credentials = Arc::new(credentials);
    settings
}

/// A registry and its token server in one: token `t<n>` is good for `uses` requests.
fn bearer_registry(image: &Image, uses: usize) -> Server {
    let (own, issued, used) = (image.clone(), AtomicUsize::new(0), AtomicUsize::new(0));
    Server::start(move |seen| {
        if seen.target.starts_with("/token") {
            let number = issued.fetch_add(1, Ordering::SeqCst) + 1;
            used.store(0, Ordering::SeqCst);
            return Reply::new(200, format!(r#"{{"token":"t{number}","expires_in":300}}"#));
        }
        let good = format!("Bearer t{}", issued.load(Ordering::SeqCst));
        if seen.header("authorization") == Some(&good) && used.fetch_add(1, Ordering::SeqCst) < uses {
            return own.reply(seen);
        }
        challenge(seen)
    })
}

fn challenge(seen: &Seen) -> Reply {
    let host = seen.header("host").unwrap();
    Reply::new(401, r#"{"errors":[{"code":"UNAUTHORIZED","message":"log in"}]}"#).header(
        "www-authenticate",
        format!(r#"Bearer realm="http://{host}/token",service="reg",scope="repository:a/b:pull""#),
    )
}

#[test]
fn one_token_serves_the_whole_pull() {
    let image = Image::new();
    let server = bearer_registry(&image, usize::MAX);
    let remote = remote_with(settings(NoCredentials), &server.host());
    pull(&remote, &image).unwrap();
    pull(&remote, &image).unwrap();
    assert_eq!(server.count("GET", "/token"), 1);
    let asked = server.seen().into_iter().find(|seen| seen.target.starts_with("/token")).unwrap();
    assert_eq!(asked.target, "/token?service=reg&scope=repository:a/b:pull");
    assert_eq!(server.count("GET", "/v2/"), 5, "401 once, then two pulls of two requests");
}

#[test]
fn a_token_that_ends_mid_pull_is_renewed() {
    let image = Image::new();
    let server = bearer_registry(&image, 1);
    pull(&remote_with(settings(NoCredentials), &server.host()), &image).unwrap();
    assert_eq!(server.count("GET", "/token"), 2);
}

#[test]
fn a_password_goes_to_the_realm_and_a_refresh_token_into_a_form() {
    let image = Image::new();
    let server = bearer_registry(&image, usize::MAX);
    pull(&remote_with(settings(Password), &server.host()), &image).unwrap();
    let asked = server.seen().into_iter().find(|seen| seen.target.starts_with("/token")).unwrap();
    assert_eq!(asked.header("authorization"), Some("Basic bWU6aHVudGVyMg=="));
    assert!(asked.target.ends_with("&account=me"));
    let server = bearer_registry(&image, usize::MAX);
    pull(&remote_with(settings(Identity), &server.host()), &image).unwrap();
    let asked = server.seen().into_iter().find(|seen| seen.target.starts_with("/token")).unwrap();
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/token"));
    let form = String::from_utf8(asked.body).unwrap();
    assert!(
        form.contains("grant_type=refresh_token") && form.contains("refresh_token=refresh%2Bme"),
        "{form}"
    );
}

#[test]
fn basic_is_answered_with_the_password() {
    let image = Image::new();
    let own = image.clone();
    let server = Server::start(move |seen| match seen.header("authorization") {
        Some("Basic bWU6aHVudGVyMg==") => own.reply(seen),
        _ => Reply::new(401, "").header("www-authenticate", "Basic realm=\"r\""),
    });
    pull(&remote_with(settings(Password), &server.host()), &image).unwrap();
    assert_eq!(server.seen().len(), 3, "the second request logs in at once");
    let error = remote(&server).resolve().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.hint().unwrap().contains("log in"), "{error}");
}

#[test]
fn refusing_every_token_ends() {
    let image = Image::new();
    let server = bearer_registry(&image, 0);
    let error = read_blob(&remote_with(settings(Password), &server.host()), &image, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(server.seen().len() <= 4, "{:?}", server.seen());
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    let server = Server::start(|_| Reply::new(401, "").header("www-authenticate", "Basic realm=\"r\""));
    let error = read_blob(&remote_with(settings(Password), &server.host()), &image, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn hostile_challenges_are_survived() {
    let many = "Bearer realm=\"http://127.0.0.1:1/\", ".repeat(100);
    for hostile in [
        "Bearer realm=\"unterminated",
        "Bearer realm=\"file:///etc/passwd\"",
        "Bearer realm=\"http://user:pw@127.0.0.1/\"",
        "Bearer",
        "Bearer realm=",
        "Digest realm=\"x\", nonce=\"y\"",
        "\u{7f}\u{1}",
        many.as_str(),
    ] {
        let hostile = hostile.to_owned();
        let server = Server::start(move |_| Reply::new(401, "").header("www-authenticate", hostile.clone()));
        let error =
            read_blob(&remote_with(settings(Password), &server.host()), &Image::new(), 0).unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
        assert!(server.seen().len() <= 4, "{error}");
    }
}

#[test]
fn token_answers_are_capped_and_checked() {
    for (body, spoil) in [
        ("{}", crate::server::Spoil::No),
        ("not json", crate::server::Spoil::No),
        (r#"{"token":"line\r\nbreak: yes"}"#, crate::server::Spoil::No),
        ("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", crate::server::Spoil::Endless),
    ] {
        let server = Server::start(move |seen| {
            if seen.target.starts_with("/token") {
                Reply::new(200, body).spoil(spoil.clone())
            } else {
                challenge(seen)
            }
        });
        let error = read_blob(&remote(&server), &Image::new(), 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{body}: {error}");
    }
}

#[test]
fn a_realm_that_redirects_gets_no_password_elsewhere() {
    let thief = Server::start(|_| Reply::new(200, r#"{"token":"stolen"}"#));
    let elsewhere = thief.host();
    let server = Server::start(move |seen| {
        if seen.target.starts_with("/token") {
            return Reply::new(307, "").header("location", format!("http://{elsewhere}/token"));
        }
        challenge(seen)
    });
    for credentials in [settings(Password), settings(Identity)] {
        let _refused = read_blob(&remote_with(credentials, &server.host()), &Image::new(), 0).unwrap_err();
    }
    for seen in thief.seen() {
        assert!(seen.header("authorization").is_none() && seen.body.is_empty(), "{seen:?}");
    }
}
