// SPDX-License-Identifier: Apache-2.0
//! Blobs over bad connections.

use std::time::{Duration, Instant};

use conex_registry::ErrorKind;

use crate::image::{BLOB_SIZE, Image, hasty, pull, read_blob, remote, remote_with};
use crate::server::{Reply, Server, Spoil};

/// Spoils the first `times` blob answers.
fn spoiled(
    times: usize,
    spoil: impl Fn(&Image, Option<usize>) -> Reply + Send + Sync + 'static,
) -> (Server, Image) {
    let image = Image::new();
    let own = image.clone();
    let server = Server::start(move |seen| {
        if seen.target.contains("/blobs/") && seen.before < times {
            return spoil(&own, seen.range());
        }
        own.reply(seen)
    });
    (server, image)
}

#[test]
fn a_broken_body_is_resumed_where_it_broke() {
    for percent in [0, 1, 50, 99] {
        let at = BLOB_SIZE * percent / 100;
        for spoil in [Spoil::Cut(at), Spoil::Reset(at), Spoil::Stall(at, Duration::from_secs(1))] {
            let shown = format!("{spoil:?}");
            let (server, image) =
                spoiled(1, move |image, range| image.blob_reply(range).spoil(spoil.clone()));
            pull(&remote(&server), &image).unwrap_or_else(|error| panic!("{shown}: {error}"));
            let asked: Vec<_> =
                server.seen().iter().filter(|s| s.target.contains("/blobs/")).map(|s| s.range()).collect();
            assert_eq!(asked.len(), 2, "{shown}: {asked:?}");
            assert_eq!(asked[0], None);
            assert!(asked[1].unwrap_or(0) <= at, "{shown}: resumed at {asked:?}");
            if let Some(("Cut", _)) = shown.split_once('(') {
                assert_eq!(asked[1].unwrap_or(0), at, "a clean cut loses no byte");
            }
        }
    }
}

#[test]
fn three_breaks_in_a_row_are_survived() {
    let (server, image) = spoiled(3, |image, range| image.blob_reply(range).spoil(Spoil::Cut(10)));
    pull(&remote(&server), &image).unwrap();
    assert_eq!(server.count("GET", "/blobs/"), 4);
}

#[test]
fn breaking_forever_ends_with_the_place_and_the_reason() {
    let (server, image) = spoiled(usize::MAX, |image, range| image.blob_reply(range).spoil(Spoil::Cut(10)));
    let error = read_blob(&remote(&server), &image, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    let text = error.to_string();
    assert!(text.contains(image.layer.digest.as_str()) && text.contains("byte 40 of 300000"), "{text}");
    assert_eq!(server.count("GET", "/blobs/"), 4, "as many tries as the settings say");
}

#[test]
fn a_chunked_body_cut_short_is_resumed() {
    let (server, image) =
        spoiled(1, |image, range| image.blob_reply(range).spoil(Spoil::Chunked { cut: true }));
    pull(&remote(&server), &image).unwrap();
    let (server, image) =
        spoiled(1, |image, range| image.blob_reply(range).spoil(Spoil::Chunked { cut: false }));
    pull(&remote(&server), &image).unwrap();
    assert_eq!(server.count("GET", "/blobs/"), 1);
}

#[test]
fn a_body_without_length_ends_with_the_connection() {
    let (server, image) = spoiled(1, |image, range| image.blob_reply(range).header("content-length", "none"));
    pull(&remote(&server), &image).unwrap();
    assert_eq!(server.count("GET", "/blobs/"), 1);
}

#[test]
fn wrong_lengths_are_refused() {
    for length in ["299999", "300001", "0", "-1", "x", "18446744073709551616"] {
        let (server, image) =
            spoiled(usize::MAX, move |image, range| image.blob_reply(range).header("content-length", length));
        let error = read_blob(&remote(&server), &image, 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{length}: {error}");
    }
    let (server, image) = spoiled(usize::MAX, |image, _| {
        image.blob_reply(None).header("content-length", "300000").header("content-length", "5")
    });
    let error = read_blob(&remote(&server), &image, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "two lengths: {error}");
}

#[test]
fn one_byte_too_many_is_refused() {
    let (server, image) = spoiled(usize::MAX, |image, _| {
        let mut body = image.blob.clone();
        body.push(0);
        Reply::new(200, body).spoil(Spoil::Chunked { cut: false })
    });
    let error = read_blob(&remote(&server), &image, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("more than"), "{error}");
}

#[test]
fn compression_on_the_way_is_not_undone() {
    let (server, image) = spoiled(usize::MAX, |_, _| {
        Reply::new(200, b"\x1f\x8b\x08something else".to_vec()).header("content-encoding", "gzip")
    });
    let error = read_blob(&remote(&server), &image, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let asked = server.seen().pop().unwrap();
    assert_eq!(asked.header("accept-encoding"), Some("identity"));
}

#[test]
fn a_registry_that_ignores_ranges_costs_bytes_but_not_the_pull() {
    let (server, image) = spoiled(2, |image, _| image.blob_reply(None).spoil(Spoil::Cut(BLOB_SIZE / 2)));
    pull(&remote(&server), &image).unwrap();
    assert_eq!(read_blob(&remote(&server), &image, 100).unwrap().0, 100, "ranges work now");
    let (server, image) = spoiled(usize::MAX, |image, _| image.blob_reply(None));
    let (offset, bytes) = read_blob(&remote(&server), &image, 100).unwrap();
    assert_eq!((offset, bytes.len()), (0, BLOB_SIZE), "the reader says that it starts at 0");
}

#[test]
fn a_wrong_content_range_is_refused() {
    for range in ["bytes 0-299999/300000", "bytes 100-299999/300001", "bytes 100-200/300000", "", "nonsense"]
    {
        let (server, image) = spoiled(usize::MAX, move |image, _| {
            Reply::new(206, &image.blob[100..]).header("content-range", range)
        });
        let error = read_blob(&remote(&server), &image, 100).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{range}: {error}");
    }
    let (server, image) = spoiled(usize::MAX, |image, _| image.blob_reply(Some(0)));
    assert!(read_blob(&remote(&server), &image, 0).is_err(), "206 without a request for a range");
}

#[test]
fn an_unsatisfiable_range_starts_over() {
    let (server, image) = spoiled(1, |_, _| Reply::new(416, ""));
    let (offset, bytes) = read_blob(&remote(&server), &image, 100).unwrap();
    assert_eq!((offset, bytes.len()), (0, BLOB_SIZE));
}

#[test]
fn from_the_end_there_is_nothing_and_beyond_it_all() {
    let (server, image) = spoiled(0, |image, range| image.blob_reply(range));
    let size = BLOB_SIZE as u64;
    assert_eq!(read_blob(&remote(&server), &image, size).unwrap(), (size, Vec::new()));
    assert_eq!(server.count("GET", "/blobs/"), 0);
    assert_eq!(read_blob(&remote(&server), &image, size + 1).unwrap().0, 0);
    let mut empty = Image::new();
    empty.blob.clear();
    empty.layer.size = 0;
    let own = empty.clone();
    let server = Server::start(move |_| own.blob_reply(None));
    assert_eq!(read_blob(&remote(&server), &empty, 0).unwrap(), (0, Vec::new()));
}

#[test]
fn a_registry_that_says_later_is_asked_later() {
    for wish in [Some("0"), Some("3600"), Some("Fri, 01 Jan 2038 00:00:00 GMT"), Some("soon"), None] {
        let (server, image) = spoiled(1, move |_, _| {
            let reply = Reply::new(429, "");
            if let Some(wish) = wish { reply.header("retry-after", wish) } else { reply }
        });
        pull(&remote(&server), &image).unwrap_or_else(|error| panic!("{wish:?}: {error}"));
    }
    let (server, image) = spoiled(usize::MAX, |_, _| Reply::new(429, "").header("retry-after", "3600"));
    let error = read_blob(&remote(&server), &image, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    assert_eq!(server.count("GET", "/blobs/"), 2, "the budget of pauses is spent by one wish");
}

#[test]
fn server_errors_pass_or_end() {
    for status in [500, 502, 503, 504] {
        for times in [1, 3] {
            let (server, image) = spoiled(times, move |_, _| Reply::new(status, "oops"));
            pull(&remote(&server), &image).unwrap_or_else(|error| panic!("{status} {times} times: {error}"));
        }
        let (server, image) = spoiled(usize::MAX, move |_, _| Reply::new(status, "oops"));
        let error = read_blob(&remote(&server), &image, 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
        assert!(error.to_string().contains(&status.to_string()), "{error}");
        assert_eq!(server.count("GET", "/blobs/"), 4);
    }
    let (server, image) = spoiled(usize::MAX, |_, _| Reply::new(501, ""));
    assert!(read_blob(&remote(&server), &image, 0).is_err());
    assert_eq!(server.count("GET", "/blobs/"), 1, "not implemented stays not implemented");
}

#[test]
fn what_is_missing_is_asked_for_once() {
    let (server, image) = spoiled(usize::MAX, |_, _| {
        Reply::new(404, r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"never\u001b[2J seen"}]}"#)
    });
    let error = read_blob(&remote(&server), &image, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("BLOB_UNKNOWN never [2J seen"), "{error}");
    assert_eq!(server.count("GET", "/blobs/"), 1);
}

#[test]
fn a_drip_is_not_waited_for() {
    let mut settings = hasty();
    settings.patience.attempts = 2;
    let (server, image) =
        spoiled(1, |image, range| image.blob_reply(range).spoil(Spoil::Drip(Duration::from_millis(50))));
    let started = Instant::now();
    pull(&remote_with(settings, &server.host()), &image).unwrap();
    let bytes_by_drip = server.seen().iter().filter_map(|seen| seen.range()).max().unwrap();
    assert!(bytes_by_drip < 1024, "gave the drip up after {bytes_by_drip} bytes, {:?}", started.elapsed());
}

#[test]
fn headers_that_never_end_are_not_waited_for() {
    let image = Image::new();
    let own = image.clone();
    let server = Server::start(move |seen| {
        if seen.before == 0 && seen.target.contains("/blobs/") {
            std::thread::sleep(Duration::from_secs(3));
        }
        own.reply(seen)
    });
    pull(&remote(&server), &image).unwrap();
    assert_eq!(server.count("GET", "/blobs/"), 2);
}

#[test]
fn headers_without_end_are_refused() {
    let image = Image::new();
    let server = Server::start(|_| {
        let mut text = b"HTTP/1.1 200 OK\r\nx: ".to_vec();
        text.resize(1 << 20, b'y');
        Reply::raw(text)
    });
    let error = read_blob(&remote(&server), &image, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[test]
fn what_is_not_http_is_refused() {
    let image = Image::new();
    for garbage in ["\0\0\0\0\0\0\0\0", "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/9.9 200 OK\r\n\r\n", ""] {
        let server = Server::start(move |_| Reply::raw(garbage));
        let error = read_blob(&remote(&server), &image, 0).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Unreachable), "{garbage:?}: {error}");
        assert!(server.seen().len() <= 4);
    }
}

#[test]
fn a_refused_port_is_one_clear_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = read_blob(&remote_with(hasty(), &host), &Image::new(), 0).unwrap_err();
    assert_eq!(error.to_string(), format!("connect to {host}: connection refused"));
    assert!(error.hint().unwrap().contains("nothing listens there"));
    assert_eq!(error.kind(), ErrorKind::Unreachable);
}
