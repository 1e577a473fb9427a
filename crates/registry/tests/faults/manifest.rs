// SPDX-License-Identifier: Apache-2.0
//! Manifests that are not what they claim.

use conex_image::transfer::Source;
use conex_registry::{Client, ErrorKind};
use conex_spec::image::media_type;

use crate::image::{Image, digest, hasty, remote};
use crate::server::{Reply, Server, Spoil};

fn refused(reply: Reply) -> String {
    let server = Server::start(move |_| reply.clone());
    let error = remote(&server).resolve().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    error.to_string()
}

#[test]
fn a_tag_is_one_request() {
    let image = Image::new();
    let own = image.clone();
    let server = Server::start(move |seen| own.reply(seen));
    let found = remote(&server).resolve().unwrap();
    assert_eq!(found.descriptor, image.descriptor);
    let seen = server.seen();
    assert_eq!(seen.len(), 1, "no ping before: {seen:?}");
    assert!(seen[0].header("accept").unwrap().contains(media_type::OCI_INDEX));
    assert_eq!(seen[0].header("user-agent"), Some("conex-test"));
    assert_eq!(remote(&server).head().unwrap(), image.descriptor);
}

#[test]
fn bytes_of_another_digest_are_refused() {
    let image = Image::new();
    let own = image.clone();
    let server = Server::start(move |_| {
        Reply::new(200, own.manifest.clone()).header("content-type", media_type::OCI_MANIFEST)
    });
    let wrong = digest(b"something else");
    let reference = format!("{}/a/b@{wrong}", server.host()).parse().unwrap();
    let error = Client::new(hasty()).remote(&reference).resolve().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(
        error.to_string().contains(wrong.as_str())
            && error.to_string().contains(image.descriptor.digest.as_str())
    );
}

#[test]
fn a_lying_digest_header_is_refused() {
    let image = Image::new();
    let mut reply = image.manifest_reply();
    reply.headers.retain(|(name, _)| name != "docker-content-digest");
    let told = refused(reply.header("docker-content-digest", digest(b"x").to_string()));
    assert!(told.contains("Docker-Content-Digest says"), "{told}");
}

#[test]
fn header_and_document_must_agree() {
    let image = Image::new();
    let told = refused(Reply::new(200, image.manifest.clone()).header("content-type", media_type::OCI_INDEX));
    assert!(told.contains("Content-Type is") || told.contains("mediaType"), "{told}");
}

#[test]
fn a_document_of_two_kinds_is_refused() {
    let both = r#"{"schemaVersion":2,"manifests":[],"layers":[],"config":{}}"#;
    refused(Reply::new(200, both).header("content-type", media_type::OCI_MANIFEST));
    refused(Reply::new(200, "<html>").header("content-type", "text/html"));
}

#[test]
fn four_mebibytes_are_enough() {
    let mut large = br#"{"schemaVersion":2,"x":""#.to_vec();
    large.resize(4 << 20, b' ');
    large.extend_from_slice(br#""}"#);
    assert!(refused(Reply::new(200, large)).contains("exceeds"));
    assert!(refused(Reply::new(200, vec![b' '; 4096]).spoil(Spoil::Endless)).contains("exceeds"));
}

#[test]
fn a_long_error_body_is_cut() {
    let server = Server::start(|_| Reply::new(404, vec![b'x'; 4096]).spoil(Spoil::Endless));
    let error = remote(&server).resolve().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().len() < 1000);
}

#[test]
fn warnings_are_heard_once() {
    let image = Image::new();
    let own = image.clone();
    let server = Server::start(move |seen| own.reply(seen).header("warning", "299 - \"going away\""));
    let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let ear = heard.clone();
    let mut settings = hasty();
    settings.on_warning =
        Some(std::sync::Arc::new(move |text: &str| ear.lock().unwrap().push(text.to_owned())));
    let remote = crate::image::remote_with(settings, &server.host());
    remote.resolve().unwrap();
    remote.resolve().unwrap();
    assert_eq!(*heard.lock().unwrap(), ["going away"]);
}
