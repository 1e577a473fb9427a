// SPDX-License-Identifier: Apache-2.0
//! Uploads: mounted, whole, in chunks, resumed, and never with a secret for somebody else.

use std::io::Cursor;
use std::sync::{Arc, Mutex};

use conex_image::transfer::{BlobReader, Outcome, Progress, RawManifest, Silent, Sink, Source};
use conex_registry::{ErrorKind, Result, Settings};
use conex_spec::image::Descriptor;

use crate::image::{Image, digest, hasty, remote, remote_with};
use crate::redirect::{SENTINEL, Sentinel};
use crate::server::{Reply, Seen, Server, Spoil};

struct Memory(Image);

impl Source for Memory {
    fn resolve(&self) -> Result<RawManifest> {
        Ok(RawManifest { descriptor: self.0.descriptor.clone(), bytes: self.0.manifest.clone() })
    }

    fn manifest(&self, _descriptor: &Descriptor) -> Result<RawManifest> {
        self.resolve()
    }

    fn open_blob(&self, _descriptor: &Descriptor, offset: u64) -> Result<BlobReader> {
        let rest = self.0.blob[usize::try_from(offset).unwrap()..].to_vec();
        Ok(BlobReader { reader: Box::new(Cursor::new(rest)), offset })
    }

    fn describe(&self) -> String {
        "memory".to_owned()
    }
}

#[derive(Default)]
struct Heard(Mutex<Vec<Outcome>>);

impl Progress for Heard {
    fn finish(&self, _blob: &Descriptor, outcome: Outcome) {
        self.0.lock().unwrap().push(outcome);
    }
}

/// A registry with one upload: what arrived so far, and whether it was closed with the right digest.
#[derive(Default)]
struct Upload {
    bytes: Vec<u8>,
    done: bool,
}

/// `spoil` may answer a request in the registry's stead.
fn registry(
    spoil: impl Fn(&Seen, &mut Upload) -> Option<Reply> + Send + Sync + 'static,
) -> (Server, Arc<Mutex<Upload>>) {
    let upload = Arc::new(Mutex::new(Upload::default()));
    let state = upload.clone();
    let server = Server::start(move |seen| {
        let mut upload = state.lock().unwrap();
        if let Some(reply) = spoil(seen, &mut upload) {
            return reply;
        }
        let here = "/v2/a/b/blobs/uploads/1?state=s%2F1";
        let location = |reply: Reply| reply.header("location", here);
        match seen.method.as_str() {
            "HEAD" => Reply::new(404, ""),
            "POST" => {
                upload.bytes.clear();
                location(Reply::new(202, ""))
            }
            "GET" if upload.bytes.is_empty() => location(Reply::new(204, "")),
            "GET" => location(Reply::new(204, "")).header("range", format!("0-{}", upload.bytes.len() - 1)),
            "PATCH" => {
                let start = seen.header("content-range").unwrap().split('-').next().unwrap().to_owned();
                assert_eq!(start, upload.bytes.len().to_string(), "chunks come in order");
                upload.bytes.extend_from_slice(&seen.body);
                location(Reply::new(202, "")).header("range", format!("0-{}", upload.bytes.len() - 1))
            }
            "PUT" => {
                assert!(seen.target.contains("state=s%2F1&digest=sha256:"), "query kept: {}", seen.target);
                upload.bytes.extend_from_slice(&seen.body);
                upload.done = seen.target.contains(digest(&upload.bytes).as_str());
                Reply::new(if upload.done { 201 } else { 400 }, "").header("location", "/v2/a/b/blobs/x")
            }
            _ => Reply::new(405, ""),
        }
    });
    (server, upload)
}

fn put(server: &Server) -> Result<Vec<Outcome>> {
    let image = Image::new();
    put_with(hasty(), server, &Memory(image.clone()))
}

/// As the walk of a copy does it.
fn put_with(settings: Settings, server: &Server, source: &dyn Source) -> Result<Vec<Outcome>> {
    let (remote, layer, heard) =
        (remote_with(settings, &server.host()), Image::new().layer, Heard::default());
    if remote.has_blob(&layer)? {
        return Ok(vec![Outcome::Exists]);
    }
    remote.put_blob(&layer, source, &heard)?;
    Ok(heard.0.into_inner().unwrap())
}

#[test]
fn a_blob_goes_in_one_piece() {
    let (server, upload) = registry(|_, _| None);
    assert_eq!(put(&server).unwrap(), [Outcome::Copied]);
    assert!(upload.lock().unwrap().done);
    let methods: Vec<_> = server.seen().into_iter().map(|seen| seen.method).collect();
    assert_eq!(methods, ["HEAD", "POST", "PUT"]);
}

#[test]
fn a_blob_that_is_there_is_not_sent() {
    let (server, _) = registry(|seen, _| (seen.method == "HEAD").then(|| Reply::new(200, "")));
    assert_eq!(put(&server).unwrap(), [Outcome::Exists]);
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_refusal_of_the_size_leads_to_chunks() {
    let (server, upload) =
        registry(|seen, _| (seen.method == "PUT" && !seen.body.is_empty()).then(|| Reply::new(413, "")));
    put(&server).unwrap();
    assert!(upload.lock().unwrap().done);
    assert_eq!(server.count("PATCH", ""), 1);
}

#[test]
fn a_broken_upload_goes_on_where_the_registry_stands() {
    let (server, upload) = registry(|seen, upload| {
        (seen.method == "PUT" && seen.before == 0).then(|| {
            upload.bytes.extend_from_slice(&seen.body[..1000]);
            Reply::new(503, "")
        })
    });
    put(&server).unwrap();
    assert!(upload.lock().unwrap().done);
    let patch = server.seen().into_iter().find(|seen| seen.method == "PATCH").unwrap();
    assert_eq!(patch.header("content-range"), Some("1000-299999"));
}

#[test]
fn a_forgotten_upload_begins_again() {
    let (server, upload) = registry(|seen, _| match (seen.method.as_str(), seen.before) {
        ("PUT", 0) => Some(Reply::new(200, "").spoil(Spoil::Raw)),
        ("GET", _) => Some(Reply::new(404, r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}"#)),
        _ => None,
    });
    put(&server).unwrap();
    assert!(upload.lock().unwrap().done);
    assert_eq!(server.count("POST", ""), 2);
}

#[test]
fn a_registry_that_keeps_failing_ends_the_push() {
    let (server, _) =
        registry(|seen, _| matches!(seen.method.as_str(), "PUT" | "PATCH").then(|| Reply::new(500, "")));
    let error = put(&server).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    assert_eq!(server.count("DELETE", ""), 1, "the upload is cancelled");
    let (server, _) = registry(|seen, _| {
        (seen.method == "PUT")
            .then(|| Reply::new(400, r#"{"errors":[{"code":"DIGEST_INVALID","message":"no"}]}"#))
    });
    let error = put(&server).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert_eq!(server.count("PUT", ""), 1, "what is wrong stays wrong");
}

#[test]
fn chunks_are_as_large_as_the_registry_wants() {
    let (server, _) = registry(|seen, _| match seen.method.as_str() {
        "POST" => Some(
            Reply::new(202, "")
                .header("location", "/v2/a/b/blobs/uploads/1?state=s%2F1")
                .header("oci-chunk-min-length", "99999999999"),
        ),
        "PUT" if !seen.body.is_empty() => Some(Reply::new(413, "")),
        _ => None,
    });
    put(&server).unwrap();
    assert_eq!(server.count("PATCH", ""), 1);
}

#[test]
fn an_upload_elsewhere_gets_no_secret() {
    let bucket = Server::start(|_| Reply::new(201, "").header("location", "/done"));
    let elsewhere = bucket.host();
    let server = Server::start(move |seen| {
        if seen.header("authorization").is_none() {
            return Reply::new(401, "").header("www-authenticate", "Basic realm=\"x\"");
        }
        match seen.method.as_str() {
            "POST" => Reply::new(202, "").header("location", format!("http://{elsewhere}/bucket?sig=1")),
            _ => Reply::new(404, ""),
        }
    });
    let mut settings = hasty();
    settings.credentials = Arc::new(Sentinel);
    let image = Image::new();
    remote_with(settings, &server.host()).put_blob(&image.layer, &Memory(image.clone()), &Silent).unwrap();
    let seen = bucket.seen();
    assert_eq!(seen.len(), 1);
    assert!(!format!("{:?} {:?}", seen[0].headers, seen[0].target).contains(SENTINEL));
    assert_eq!(seen[0].body, image.blob);
}

#[test]
fn a_token_that_ends_during_an_upload_is_renewed() {
    let (issued, upload) = (std::sync::atomic::AtomicUsize::new(0), Mutex::new(Upload::default()));
    let server = Server::start(move |seen| {
        if seen.target.starts_with("/token") {
            let number = issued.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            return Reply::new(200, format!(r#"{{"token":"t{number}"}}"#));
        }
        let stale = seen.method == "PUT" && seen.header("authorization") == Some("Bearer t0");
        if seen.header("authorization").is_none() || stale {
            let realm = format!("Bearer realm=\"http://{}/token\"", seen.header("host").unwrap());
            return Reply::new(401, "").header("www-authenticate", realm);
        }
        let here = "/v2/a/b/blobs/uploads/1";
        match seen.method.as_str() {
            "HEAD" => Reply::new(404, ""),
            "POST" => Reply::new(202, "").header("location", here),
            "GET" => Reply::new(204, "").header("location", here),
            _ => {
                upload.lock().unwrap().bytes.extend_from_slice(&seen.body);
                Reply::new(if seen.method == "PUT" { 201 } else { 202 }, "").header("location", here)
            }
        }
    });
    assert_eq!(put(&server).unwrap(), [Outcome::Copied]);
    assert_eq!(server.count("GET", "/token"), 2);
    assert_eq!(server.count("PATCH", ""), 1);
}

#[test]
fn a_manifest_is_sent_as_it_is_and_its_receipt_checked() {
    let image = Image::new();
    let raw = Memory(image.clone()).resolve().unwrap();
    let server = Server::start(|_| Reply::new(201, "").header("location", "/x").header("oci-subject", "y"));
    remote(&server).commit(&raw).unwrap();
    let seen = &server.seen()[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("PUT", "/v2/a/b/manifests/tag"));
    assert_eq!(
        (seen.header("content-type"), &seen.body),
        (Some(image.descriptor.media_type.as_str()), &image.manifest)
    );
    let liar =
        Server::start(|_| Reply::new(201, "").header("docker-content-digest", digest(b"other").to_string()));
    assert_eq!(remote(&liar).commit(&raw).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_subject_that_the_registry_ignores_is_kept_in_the_fallback_tag() {
    let image = Image::new();
    let subject = digest(b"subject");
    let text = String::from_utf8(image.manifest.clone()).unwrap();
    let with_subject = text.replacen(
        "{\"schemaVersion\":2,",
        &format!(
            r#"{{"schemaVersion":2,"artifactType":"app/sbom","subject":{{"mediaType":"x","digest":"{subject}","size":1}},"#
        ),
        1,
    );
    let bytes = with_subject.into_bytes();
    let descriptor = Descriptor::new(image.descriptor.media_type.clone(), digest(&bytes), bytes.len() as u64);
    let raw = RawManifest { descriptor: descriptor.clone(), bytes };
    let server = Server::start(|seen| Reply::new(if seen.method == "PUT" { 201 } else { 404 }, ""));
    remote(&server).commit(&raw).unwrap();
    let list = server.seen().into_iter().find(|seen| seen.target.contains("manifests/sha256-")).unwrap();
    assert!(list.target.ends_with(subject.hex()));
    let put = server.seen().into_iter().rfind(|seen| seen.method == "PUT").unwrap();
    let index: serde_json::Value = serde_json::from_slice(&put.body).unwrap();
    assert_eq!(index["manifests"][0]["digest"], descriptor.digest.as_str());
    assert_eq!(index["manifests"][0]["artifactType"], "app/sbom");
}

/// What was asked, in short.
fn lines(server: &Server) -> Vec<String> {
    let line = |seen: Seen| format!("{} {}", seen.method, seen.target.rsplit('/').next().unwrap());
    let digest = Image::new().layer.digest.to_string();
    server.seen().into_iter().map(|seen| line(seen).replace(&digest, "D")).collect()
}

/// A registry whose repository `from` has the blob; it opens uploads elsewhere.
fn mounting(from: &'static str) -> Server {
    let asked = format!("&from={from}");
    Server::start(move |seen| match seen.method.as_str() {
        "GET" => Image::new().reply(seen),
        "HEAD" => Reply::new(404, ""),
        "POST" if seen.target.ends_with(&asked) => Reply::new(201, ""),
        "POST" => Reply::new(202, "").header("location", "/v2/a/b/blobs/uploads/1"),
        _ => Reply::new(201, ""),
    })
}

#[test]
fn a_blob_is_mounted_from_where_it_was_seen() {
    let place = tempfile::tempdir().unwrap();
    let settings = || Settings { sightings: Some(place.path().join("seen")), ..hasty() };
    let (image, server) = (Image::new(), mounting("other"));
    let elsewhere = format!("{}/other:tag", server.host()).parse().unwrap();
    let client = conex_registry::Client::new(settings());
    client.remote(&elsewhere).open_blob(&image.layer, 0).unwrap();
    assert_eq!(put_with(settings(), &server, &Memory(image)).unwrap(), [Outcome::Mounted]);
    assert_eq!(lines(&server)[1..], ["HEAD D", "POST ?mount=D&from=other"]);
    // Another host's repository of that name is another place.
    let (other, _) = registry(|_, _| None);
    assert_eq!(put_with(settings(), &other, &Memory(Image::new())).unwrap(), [Outcome::Copied]);
    assert_eq!(lines(&other)[1], "POST ?mount=D");
}

#[test]
fn a_false_memory_costs_nothing_and_is_forgotten() {
    let place = tempfile::tempdir().unwrap();
    let settings = || Settings { sightings: Some(place.path().to_owned()), ..hasty() };
    let server = mounting("nowhere");
    let elsewhere = format!("{}/gone:tag", server.host()).parse().unwrap();
    let client = conex_registry::Client::new(settings());
    client.remote(&elsewhere).open_blob(&Image::new().layer, 0).unwrap();
    for from in ["POST ?mount=D&from=gone", "POST ?mount=D"] {
        let before = server.seen().len();
        assert_eq!(put_with(settings(), &server, &Memory(Image::new())).unwrap(), [Outcome::Copied]);
        assert_eq!(lines(&server)[before..], ["HEAD D", from, "PUT 1?digest=D"]);
    }
}

#[test]
fn a_registry_that_refuses_to_mount_gets_the_blob() {
    for status in [400, 401, 403, 404, 405, 500] {
        let (server, upload) =
            registry(move |seen, _| seen.target.contains("mount=").then(|| Reply::new(status, "")));
        assert_eq!(put(&server).unwrap(), [Outcome::Copied]);
        assert!(upload.lock().unwrap().done);
        assert_eq!(lines(&server)[..3], ["HEAD D", "POST ?mount=D", "POST "], "{status}");
    }
}
