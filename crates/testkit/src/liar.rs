// SPDX-License-Identifier: Apache-2.0
//! A registry that hands out an OCI layout without looking at it: what lies on disk is what it serves, whatever
//! the name says. Read-only, HTTP/1.1, one thread per connection, loopback.
//!
//! ```text
//! GET|HEAD /v2/                       200
//! GET|HEAD /v2/NAME/manifests/TAG     the manifest that index.json has under TAG
//! GET|HEAD /v2/NAME/manifests/DIGEST  that blob
//! GET|HEAD /v2/NAME/blobs/DIGEST      that blob; cut short after `cut` bytes when told so
//! ```

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Barrier};

use crate::image::Layout;

/// A running one; it ends with the test's process.
#[derive(Debug)]
pub struct Liar {
    /// `127.0.0.1:PORT`.
    pub address: String,
}

/// How it lies beyond what lies on disk.
#[derive(Clone, Debug, Default)]
pub struct Lies {
    /// Ends each blob after so many bytes, having announced all of them.
    pub cut: Option<usize>,
    /// Waits here after so many bytes of each blob that is longer.
    pub pause: Option<(usize, Arc<Barrier>)>,
    /// Calls every manifest this.
    pub manifest_type: Option<&'static str>,
}

impl Liar {
    pub fn serve(layout: &Layout, lies: Lies) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind to loopback");
        let address = listener.local_addr().expect("the address of a bound socket").to_string();
        let shared = Arc::new((layout.clone(), lies));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || answer_all(&stream, &shared.0, &shared.1));
            }
        });
        Self { address }
    }
}

/// Requests of one connection, until it ends or an answer was cut short.
fn answer_all(stream: &TcpStream, layout: &Layout, lies: &Lies) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut request = String::new();
        reader.read_line(&mut request).ok().filter(|length| *length > 0)?;
        let mut header = String::new();
        while header != "\r\n" {
            header.clear();
            reader.read_line(&mut header).ok().filter(|length| *length > 0)?;
        }
        let mut words = request.split(' ');
        let (method, path) = (words.next()?, words.next()?);
        let answer = find(path, layout, lies);
        answer.send(stream, method == "HEAD")?;
    }
}

/// What a path names.
struct Answer {
    status: &'static str,
    kind: String,
    body: Vec<u8>,
    cut: Option<usize>,
    pause: Option<(usize, Arc<Barrier>)>,
}

impl Answer {
    /// Nothing when the connection must end.
    fn send(&self, mut stream: &TcpStream, head: bool) -> Option<()> {
        let Self { status, kind, body, .. } = self;
        let length = body.len();
        write!(stream, "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n")
            .ok()?;
        if let Some((at, barrier)) = self.pause.as_ref().filter(|(at, _)| !head && *at < length) {
            stream.write_all(&body[..*at]).ok()?;
            barrier.wait();
            return stream.write_all(&body[*at..]).ok();
        }
        match self.cut.filter(|cut| *cut < length) {
            _ if head => Some(()),
            None => stream.write_all(body).ok(),
            Some(cut) => {
                stream.write_all(&body[..cut]).ok()?;
                None
            }
        }
    }
}

fn find(path: &str, layout: &Layout, lies: &Lies) -> Answer {
    let found =
        |kind: &str, body, cut| Answer { status: "200 OK", kind: kind.into(), body, cut, pause: None };
    let parts: Vec<&str> = path.trim_start_matches('/').rsplitn(3, '/').collect();
    let blob = |digest: &str| fs::read(layout.blob_path(digest)).ok();
    let answer = match parts[..] {
        ["", "v2"] => Some(found("application/json", b"{}".to_vec(), None)),
        [digest, "blobs", _] => blob(digest).map(|body| Answer {
            pause: lies.pause.clone(),
            ..found("application/octet-stream", body, lies.cut)
        }),
        [reference, "manifests", _] => manifest(layout, reference).and_then(|(digest, kind)| {
            blob(&digest).map(|body| found(lies.manifest_type.unwrap_or(&kind), body, None))
        }),
        _ => None,
    };
    let unknown = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#.to_vec();
    answer.unwrap_or(Answer {
        status: "404 Not Found",
        kind: "application/json".into(),
        body: unknown,
        cut: None,
        pause: None,
    })
}

/// Digest and media type of what `index.json` has under a tag, or of a digest.
fn manifest(layout: &Layout, reference: &str) -> Option<(String, String)> {
    let index = layout.index();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let named = index["manifests"].as_array()?.iter().find(|entry| {
        text(&entry["annotations"]["org.opencontainers.image.ref.name"]) == reference
            || text(&entry["digest"]) == reference
    });
    match named {
        Some(entry) => Some((text(&entry["digest"]), text(&entry["mediaType"]))),
        None if reference.starts_with("sha256:") => {
            Some((reference.to_owned(), crate::image::MANIFEST.to_owned()))
        }
        None => None,
    }
}
