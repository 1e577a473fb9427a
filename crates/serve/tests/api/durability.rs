// SPDX-License-Identifier: Apache-2.0
//! What survives an end without warning. (A real `kill -9` is in the black-box tests.)

use std::io::Write;
use std::sync::{Arc, Mutex};

use conex_serve::{Access, ServeOptions};

use crate::http::{Registry, manifest, sha256};

#[test]
fn an_upload_goes_on_after_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let mut registry = Registry::start(root.path());
    let location = registry.begin("a");
    assert_eq!(registry.send("PATCH", &location, &[], b"hello").status, 202);
    registry.stop();
    let registry = Registry::start(root.path());
    let status = registry.get(&location);
    assert_eq!((status.status, status.header("range")), (204, Some("0-4")));
    let digest = sha256(b"hello world");
    assert_eq!(registry.send("PUT", &format!("{location}?digest={digest}"), &[], b" world").status, 201);
    assert_eq!(registry.get(&format!("/v2/a/blobs/{digest}")).body, b"hello world");
}

#[test]
fn what_arrived_before_a_break_stays_and_is_not_visible() {
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(root.path());
    let location = registry.begin("a");
    let mut stream = registry.connect();
    let head = format!("PATCH {location} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(b"hello").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    drop(stream);
    let mut status = registry.get(&location);
    for _ in 0..100 {
        if status.status == 204 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        status = registry.get(&location);
    }
    assert_eq!((status.status, status.header("range")), (204, Some("0-4")));
    assert_eq!(registry.get(&format!("/v2/a/blobs/{}", sha256(b"hello"))).status, 404);
}

#[test]
fn a_restart_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let mut registry = Registry::start(root.path());
    let digest = registry.push_blob("a", b"{}");
    registry.put_manifest("a", "v1", &manifest(""));
    registry.stop();
    let registry = Registry::start(root.path());
    assert_eq!(registry.get("/v2/a/manifests/v1").body, manifest("").as_bytes());
    assert_eq!(registry.get(&format!("/v2/a/blobs/{digest}")).body, b"{}");
}

#[test]
fn a_problem_of_the_disk_is_logged_and_not_told() {
    let root = tempfile::tempdir().unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ear = heard.clone();
    let registry = Registry::with(ServeOptions {
        on_access: Some(Arc::new(move |access: &Access| ear.lock().unwrap().push(access.clone()))),
        ..ServeOptions::new(root.path())
    });
    std::fs::remove_dir_all(root.path().join("ingest")).unwrap();
    let answer = registry.send("POST", "/v2/a/blobs/uploads/", &[], b"");
    let told = String::from_utf8(answer.body.clone()).unwrap();
    assert_eq!(answer.status, 500);
    assert!(!told.contains(root.path().to_str().unwrap()) && !told.contains("upload-"), "{told}");
    let heard = heard.lock().unwrap();
    assert!(heard[0].cause.as_ref().unwrap().contains("no such file"), "{heard:?}");
}

#[test]
fn many_pushes_at_once_lose_no_tag() {
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(root.path());
    registry.push_blob("a", b"{}");
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let registry = &registry;
            scope.spawn(move || {
                for number in 0..5 {
                    assert_eq!(
                        registry.put_manifest("a", &format!("t{thread}-{number}"), &manifest("")).status,
                        201
                    );
                }
            });
        }
    });
    assert_eq!(registry.get("/v2/a/tags/list").json()["tags"].as_array().unwrap().len(), 40);
}

#[test]
fn the_end_lets_a_running_request_finish() {
    let root = tempfile::tempdir().unwrap();
    let mut registry = Registry::start(root.path());
    let location = registry.begin("a");
    let digest = sha256(b"hello");
    let mut stream = registry.connect();
    let head = format!("PUT {location}?digest={digest} HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhel");
    stream.write_all(head.as_bytes()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    let address = registry.address;
    let ending = std::thread::spawn(move || {
        registry.stop();
        registry
    });
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert!(std::net::TcpStream::connect(address).is_err(), "nobody new is let in");
    stream.write_all(b"lo").unwrap();
    assert_eq!(crate::http::Answer::read(stream, "PUT").status, 201);
    ending.join().unwrap();
}
