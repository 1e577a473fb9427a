// SPDX-License-Identifier: Apache-2.0
//! A registry in a thread, and requests to it by hand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use conex_serve::{ServeOptions, Server, Shutdown};
use conex_spec::{Algorithm, Digest};
use serde_json::Value;
use sha2::Digest as _;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A running registry; ends with the value.
pub(crate) struct Registry {
    pub(crate) address: SocketAddr,
    shutdown: Shutdown,
    thread: Option<JoinHandle<conex_serve::Result<()>>>,
}

impl Registry {
    pub(crate) fn start(root: &Path) -> Self {
        Self::with(ServeOptions::new(root))
    }

    pub(crate) fn with(options: ServeOptions) -> Self {
        let server = Server::bind("127.0.0.1:0", options).unwrap();
        let (address, shutdown) = (server.local_addr().unwrap(), server.shutdown());
        Self { address, shutdown, thread: Some(std::thread::spawn(move || server.run())) }
    }

    pub(crate) fn stop(&mut self) {
        self.shutdown.trigger();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    pub(crate) fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = self.connect();
        let mut head =
            format!("{method} {target} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address);
        if !headers.iter().any(|(name, _)| *name == "content-length") {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        // The registry may have answered and closed before it read all.
        let _early_answer = stream.write_all(body);
        Answer::read(stream, method)
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.send("GET", target, &[], b"")
    }

    /// Pushes a blob in one request, and gives its digest.
    pub(crate) fn push_blob(&self, name: &str, bytes: &[u8]) -> Digest {
        let digest = sha256(bytes);
        let answer = self.send("POST", &format!("/v2/{name}/blobs/uploads/?digest={digest}"), &[], bytes);
        assert_eq!(answer.status, 201, "{answer:?}");
        digest
    }

    /// Begins an upload, and gives its location.
    pub(crate) fn begin(&self, name: &str) -> String {
        let answer = self.send("POST", &format!("/v2/{name}/blobs/uploads/"), &[], b"");
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.header("location").unwrap().to_owned()
    }

    pub(crate) fn put_manifest(&self, name: &str, reference: &str, body: &str) -> Answer {
        self.send(
            "PUT",
            &format!("/v2/{name}/manifests/{reference}"),
            &[("content-type", MANIFEST)],
            body.as_bytes(),
        )
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn read(stream: TcpStream, method: &str) -> Self {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let status = line
            .split(' ')
            .nth(1)
            .unwrap_or_else(|| panic!("no answer to {method}: {line:?}"))
            .parse()
            .unwrap();
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Self { status, headers, body: Vec::new() };
        if method != "HEAD" {
            let length = answer.header("content-length").map_or(0, |text| text.parse().unwrap());
            let mut body = Vec::new();
            reader.take(length).read_to_end(&mut body).unwrap();
            answer.body = body;
        }
        answer
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The code of an error answer.
    pub(crate) fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    Digest::from_hash(Algorithm::Sha256, &sha2::Sha256::digest(bytes))
}

pub(crate) fn sha512(bytes: &[u8]) -> Digest {
    Digest::from_hash(Algorithm::Sha512, &sha2::Sha512::digest(bytes))
}

/// A manifest with the empty configuration and no layers; `extra` goes into the document.
pub(crate) fn manifest(extra: &str) -> String {
    let config = sha256(b"{}");
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}",{extra}"config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{config}","size":2}},"layers":[]}}"#
    )
}
