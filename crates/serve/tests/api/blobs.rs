// SPDX-License-Identifier: Apache-2.0
//! Blobs: all ways in, ranges out, mounts, deletion.

use crate::http::{Registry, sha256, sha512};

fn registry() -> (tempfile::TempDir, Registry) {
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(root.path());
    (root, registry)
}

#[test]
fn a_blob_comes_back_whole_and_in_parts() {
    let (_root, registry) = registry();
    let bytes: Vec<u8> = (0..1_500_000_u32).map(|n| (n % 251) as u8).collect();
    let digest = registry.push_blob("a/b", &bytes);
    let path = format!("/v2/a/b/blobs/{digest}");
    let whole = registry.get(&path);
    assert_eq!((whole.status, whole.body == bytes), (200, true));
    assert_eq!(whole.header("docker-content-digest"), Some(digest.as_str()));
    let head = registry.send("HEAD", &path, &[], b"");
    assert_eq!((head.status, head.header("content-length")), (200, Some("1500000")));
    assert_eq!(head.header("docker-content-digest"), Some(digest.as_str()));
    let part = registry.send("GET", &path, &[("range", "bytes=1000000-1000009")], b"");
    assert_eq!((part.status, part.body.as_slice()), (206, &bytes[1_000_000..1_000_010]));
    assert_eq!(part.header("content-range"), Some("bytes 1000000-1000009/1500000"));
    let tail = registry.send("GET", &path, &[("range", "bytes=1499999-")], b"");
    assert_eq!((tail.status, tail.body.len()), (206, 1));
    let beyond = registry.send("GET", &path, &[("range", "bytes=1500000-")], b"");
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */1500000")));
    let stale = registry.send("GET", &path, &[("range", "bytes=5-"), ("if-range", "\"other\"")], b"");
    assert_eq!(stale.status, 200);
}

#[test]
fn an_upload_in_two_steps_and_the_empty_blob() {
    let (_root, registry) = registry();
    for bytes in [b"hello".as_slice(), b""] {
        let location = registry.begin("a");
        let digest = sha256(bytes);
        let answer = registry.send("PUT", &format!("{location}?digest={digest}"), &[], bytes);
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(registry.get(answer.header("location").unwrap()).body, bytes);
    }
}

#[test]
fn chunks_come_in_order_or_not_at_all() {
    let (_root, registry) = registry();
    let location = registry.begin("a");
    let chunk =
        |range: &str, body: &[u8]| registry.send("PATCH", &location, &[("content-range", range)], body);
    let first = chunk("0-4", b"hello");
    assert_eq!((first.status, first.header("range")), (202, Some("0-4")));
    for (range, body) in [("0-4", b"hello"), ("9-13", b"world")] {
        let refused = chunk(range, body);
        assert_eq!((refused.status, refused.header("range")), (416, Some("0-4")), "{range}");
        assert!(refused.header("location").is_some());
    }
    assert_eq!(chunk("5-5", b"world").status, 400, "the range is shorter than the body");
    assert_eq!(chunk("x-y", b"world").status, 400);
    let status = registry.get(&location);
    assert_eq!((status.status, status.header("range")), (204, Some("0-4")));
    let digest = sha256(b"helloworld");
    let put = |range: &str, body: &[u8]| {
        registry.send("PUT", &format!("{location}?digest={digest}"), &[("content-range", range)], body)
    };
    assert_eq!(put("7-11", b"world").status, 416);
    assert_eq!(put("5-9", b"world").status, 201);
    assert_eq!(registry.get(&format!("/v2/a/blobs/{digest}")).body, b"helloworld");
    assert_eq!(registry.get(&location).code(), "BLOB_UPLOAD_UNKNOWN", "the session is over");
}

#[test]
fn a_wrong_digest_leaves_nothing() {
    let (root, registry) = registry();
    let wrong = sha256(b"other");
    let location = registry.begin("a");
    let answer = registry.send("PUT", &format!("{location}?digest={wrong}"), &[], b"hello");
    assert_eq!((answer.status, answer.code().as_str()), (400, "DIGEST_INVALID"));
    assert_eq!(registry.get(&format!("/v2/a/blobs/{wrong}")).status, 404);
    let answer = registry.send("POST", &format!("/v2/a/blobs/uploads/?digest={wrong}"), &[], b"hello");
    assert_eq!(answer.status, 400);
    for bad in ["sha256:zz", "md5:x", "", "sha256%3A..%2F..%2Fx"] {
        let location = registry.begin("a");
        assert_eq!(
            registry.send("PUT", &format!("{location}?digest={bad}"), &[], b"x").code(),
            "DIGEST_INVALID"
        );
        assert_eq!(registry.send("DELETE", &location, &[], b"").status, 204);
    }
    assert_eq!(std::fs::read_dir(root.path().join("ingest")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(root.path().join("blobs/sha256")).unwrap().count(), 0);
}

#[test]
fn sha512_is_stored_under_its_name() {
    let (_root, registry) = registry();
    let digest = sha512(b"hello");
    let answer = registry.send("POST", "/v2/a/blobs/uploads/?digest-algorithm=sha512", &[], b"");
    let location = answer.header("location").unwrap().to_owned();
    assert_eq!(registry.send("PATCH", &location, &[], b"hello").status, 202);
    assert_eq!(registry.send("PUT", &format!("{location}?digest={digest}"), &[], b"").status, 201);
    assert_eq!(registry.get(&format!("/v2/a/blobs/{digest}")).body, b"hello");
    let unasked = registry.begin("a");
    assert_eq!(
        registry.send("PUT", &format!("{unasked}?digest={digest}"), &[], b"hello").status,
        201,
        "hashed again"
    );
    assert_eq!(registry.send("POST", "/v2/a/blobs/uploads/?digest-algorithm=md5", &[], b"").status, 400);
}

#[test]
fn a_repository_sees_only_its_own_blobs_until_they_are_mounted() {
    let (_root, registry) = registry();
    let digest = registry.push_blob("a", b"hello");
    assert_eq!(registry.get(&format!("/v2/b/blobs/{digest}")).code(), "BLOB_UNKNOWN");
    let mount = |query: &str| registry.send("POST", &format!("/v2/b/blobs/uploads/?{query}"), &[], b"");
    assert_eq!(mount(&format!("mount={}&from=a", sha256(b"unknown"))).status, 202, "falls back to an upload");
    assert_eq!(mount(&format!("mount={digest}&from=c")).status, 202);
    let mounted = mount(&format!("mount={digest}&from=a"));
    assert_eq!(mounted.status, 201);
    assert_eq!(registry.get(mounted.header("location").unwrap()).body, b"hello");
    let anonymous = registry.send("POST", &format!("/v2/d/blobs/uploads/?mount={digest}"), &[], b"");
    assert_eq!(anonymous.status, 201);
    let delete = |name: &str| registry.send("DELETE", &format!("/v2/{name}/blobs/{digest}"), &[], b"").status;
    assert_eq!((delete("b"), delete("b")), (202, 404));
    assert_eq!(registry.get(&format!("/v2/b/blobs/{digest}")).status, 404);
    assert_eq!(registry.get(&format!("/v2/a/blobs/{digest}")).status, 200, "the others keep it");
}

#[test]
fn a_cancelled_upload_is_gone() {
    let (root, registry) = registry();
    let location = registry.begin("a");
    assert_eq!(registry.send("PATCH", &location, &[], b"hello").status, 202);
    assert_eq!(registry.send("DELETE", &location, &[], b"").status, 204);
    assert_eq!(registry.send("DELETE", &location, &[], b"").status, 404);
    assert_eq!(std::fs::read_dir(root.path().join("ingest")).unwrap().count(), 0);
}
