// SPDX-License-Identifier: Apache-2.0
//! What is refused beyond a limit, and what is not; counters.

use std::io::{Read, Write};
use std::time::Duration;

use conex_serve::{Limits, ServeOptions};

use crate::http::{Registry, sha256};

fn limited(root: &std::path::Path, limits: Limits) -> Registry {
    Registry::with(ServeOptions { limits, metrics: true, ..ServeOptions::new(root) })
}

#[test]
fn a_blob_may_be_as_large_as_is_said_and_no_larger() {
    let root = tempfile::tempdir().unwrap();
    let registry = limited(root.path(), Limits { blob: Some(1000), ..Limits::default() });
    registry.push_blob("app", &[7; 1000]);
    let large = [8; 1001];
    let target = format!("/v2/app/blobs/uploads/?digest={}", sha256(&large));
    let refused = registry.send("POST", &target, &[], &large);
    assert_eq!((refused.status, refused.code().as_str()), (413, "SIZE_INVALID"));
    let upload = registry.begin("app");
    assert_eq!(registry.send("PATCH", &upload, &[], &large[..600]).status, 202);
    assert_eq!(registry.send("PATCH", &upload, &[], &large[..401]).status, 413, "both together");
    assert_eq!(
        registry.send("PATCH", &upload, &[], &large[..400]).status,
        202,
        "what was refused left nothing"
    );
    let mut stream = registry.connect();
    let head =
        format!("PATCH {} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n", registry.begin("app"));
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(format!("{:x}\r\n{}\r\n0\r\n\r\n", 2000, "x".repeat(2000)).as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413", "no length was said");
}

#[test]
fn uploads_and_requests_are_counted() {
    let root = tempfile::tempdir().unwrap();
    let registry = limited(root.path(), Limits { uploads: Some(2), ..Limits::default() });
    let (first, _) = (registry.begin("app"), registry.begin("app"));
    let refused = registry.send("POST", "/v2/app/blobs/uploads/", &[], b"");
    assert_eq!((refused.status, refused.code().as_str()), (429, "TOOMANYREQUESTS"));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(registry.send("DELETE", &first, &[], b"").status, 204);
    registry.begin("app");
    let text = String::from_utf8(registry.get("/metrics").body).unwrap();
    let line = "conex_registry_requests_total{method=\"POST\",endpoint=\"upload\",status=\"429\"} 1";
    assert!(text.lines().any(|other| other == line), "{text}");
}

#[test]
fn who_asks_too_often_is_told_when_to_ask_again() {
    let root = tempfile::tempdir().unwrap();
    let registry = limited(root.path(), Limits { requests: Some(1), ..Limits::default() });
    // Two within a second, however slow the machine is: of so many at once one is.
    let answers: Vec<_> = std::thread::scope(|scope| {
        let ask = |_| scope.spawn(|| registry.get("/v2/"));
        let asked: Vec<_> = (0..50).map(ask).collect();
        asked.into_iter().map(|answer| answer.join().unwrap()).collect()
    });
    let refused = answers.iter().find(|answer| answer.status != 200).expect("one of fifty");
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
}

#[test]
fn connections_beyond_the_limit_wait() {
    let root = tempfile::tempdir().unwrap();
    let registry = limited(root.path(), Limits { connections: Some(1), ..Limits::default() });
    let mut held = registry.connect();
    let mut waiting = registry.connect();
    waiting.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    // The one that is open is answered, and again: the other still waits.
    for _ in 0..20 {
        held.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok\n") {
            let mut byte = [0];
            held.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
    }
    waiting.set_nonblocking(true).unwrap();
    assert!(waiting.read(&mut [0]).is_err(), "nobody answers yet");
    waiting.set_nonblocking(false).unwrap();
    drop(held);
    waiting.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
}
