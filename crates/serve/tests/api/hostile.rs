// SPDX-License-Identifier: Apache-2.0
//! Requests that no good client sends.

use std::io::{Read, Write};

use conex_serve::ServeOptions;

use crate::http::{Answer, Registry};

#[test]
fn nothing_outside_the_root_is_reachable() {
    let outer = tempfile::tempdir().unwrap();
    std::fs::write(outer.path().join("secret"), "secret").unwrap();
    let registry = Registry::start(&outer.path().join("root"));
    for target in [
        "/v2/../../secret",
        "/v2/a/blobs/../../../../secret",
        "/v2/a/blobs/sha256:..%2f..%2f..%2fsecret",
        "/v2/..%2f..%2f/manifests/secret",
        "/v2/a/manifests/..%2f..%2fsecret",
        "/v2/a/blobs/uploads/..%2f..%2f..%2fsecret",
        "/v2/a/blobs/uploads/../../secret",
        "/v2/a%00/manifests/x",
        "/../secret",
        "//secret",
    ] {
        for method in ["GET", "PUT", "PATCH", "DELETE"] {
            let answer = registry.send(method, target, &[], b"");
            assert!((400..500).contains(&answer.status), "{method} {target}: {answer:?}");
            assert!(!String::from_utf8_lossy(&answer.body).contains("secret\n"));
        }
    }
    assert_eq!(std::fs::read(outer.path().join("secret")).unwrap(), b"secret");
    assert_eq!(std::fs::read_dir(outer.path()).unwrap().count(), 2);
}

#[test]
fn what_is_not_http_ends_with_the_connection() {
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(root.path());
    for garbage in [&b"\x16\x03\x01\0\xa5"[..], b"GET", b"GET / HTTP/9.9\r\n\r\n", b"\0\0\0\0\r\n\r\n"] {
        let mut stream = registry.connect();
        stream.write_all(garbage).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        // Reset or closed: either way it ends.
        let _ended = stream.read_to_end(&mut answer);
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 4") || answer.starts_with(b"HTTP/1.1 505")
        );
    }
    assert_eq!(registry.get("/v2/").status, 200, "and the registry lives");
}

#[test]
fn lengths_that_lie_are_not_believed() {
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(root.path());
    for (name, value) in
        [("content-length", "-1"), ("content-length", "99999999999999999999"), ("transfer-encoding", "gzip")]
    {
        let answer =
            registry.send("POST", "/v2/a/blobs/uploads/", &[("content-length", "0"), (name, value)], b"");
        assert!(
            (400..500).contains(&answer.status) || name == "transfer-encoding",
            "{name}: {value}: {answer:?}"
        );
    }
    let answer = registry.send("PUT", "/v2/a/manifests/x", &[("content-length", "99999999999")], b"{");
    assert_eq!(answer.status, 413, "refused before it is read");
    assert_eq!(registry.get("/v2/").status, 200);
}

#[test]
fn an_endless_manifest_is_cut_off() {
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(root.path());
    let mut stream = registry.connect();
    let head = "PUT /v2/a/manifests/x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    let mut sent = 0;
    while sent < 200 && stream.write_all(&chunk).is_ok() {
        sent += 1;
    }
    assert!(sent < 200, "the registry read on and on");
}

#[test]
fn unknown_methods_and_pages_are_told() {
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(root.path());
    assert_eq!(registry.send("PATCH", "/v2/a/manifests/x", &[], b"").status, 405);
    assert_eq!(registry.send("BREW", "/v2/a/manifests/x", &[], b"").status, 405);
    assert_eq!(registry.get("/index.html").status, 404);
    assert_eq!(registry.get("/v2/").body, b"{}");
    let answer = registry.get("/v2/UPPER/tags/list");
    assert_eq!((answer.status, answer.code().as_str()), (400, "NAME_INVALID"));
}

#[test]
fn a_read_only_registry_only_reads() {
    let root = tempfile::tempdir().unwrap();
    let mut writable = Registry::start(root.path());
    let digest = writable.push_blob("a", b"{}");
    writable.stop();
    let registry = Registry::with(ServeOptions { read_only: true, ..ServeOptions::new(root.path()) });
    assert_eq!(registry.get(&format!("/v2/a/blobs/{digest}")).status, 200);
    for (method, target) in [
        ("POST", "/v2/a/blobs/uploads/".to_owned()),
        ("PUT", "/v2/a/manifests/x".to_owned()),
        ("DELETE", format!("/v2/a/blobs/{digest}")),
    ] {
        assert_eq!(registry.send(method, &target, &[], b"").status, 405);
    }
}

#[test]
fn a_slow_client_does_not_hold_up_the_others() {
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(root.path());
    let slow: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = registry.connect();
            stream.write_all(b"GET /v2/ HTTP/1.1\r\nhost:").unwrap();
            stream
        })
        .collect();
    assert_eq!(registry.get("/v2/").status, 200);
    for mut stream in slow {
        stream.write_all(b" x\r\nconnection: close\r\n\r\n").unwrap();
        assert_eq!(Answer::read(stream, "GET").status, 200);
    }
}
