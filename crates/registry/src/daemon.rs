// SPDX-License-Identifier: Apache-2.0
//! `docker-daemon:NAME`: images of a running docker (or podman's service), by Docker's Engine API, v1.24 and later.
//!
//! ```text
//!  GET  /images/NAME/get   ──► docker-archive ──► a nameless file, then read as one
//!  POST /images/load       ◄── docker-archive
//! ```
//! Spoken in HTTP/1.0 over the daemon's socket: an answer then ends where the connection does, and one request is all
//! that a connection is for. A daemon behind TLS or ssh is not reached.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use conex_image::archive::{ArchiveName, DockerArchiveSink, DockerArchiveSource};
use conex_image::transfer::{BlobReader, Form, Progress, RawManifest, Sink, Source};
use conex_spec::distribution::Reference;
use conex_spec::image::Descriptor;

use crate::{Error, ErrorKind, Result};

/// Where docker listens if nobody says.
pub const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
/// The longest head of an answer, and the longest error text.
const MAX_TEXT: u64 = 64 << 10;
const ARCHIVE: &str = "docker-archive";

/// A daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    address: Address,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Address {
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
}

/// Both directions of a connection.
trait Connection: Read + Write {}
impl<T: Read + Write> Connection for T {}

impl Daemon {
    /// From `DOCKER_HOST` or `--src-daemon-host`: `unix:///path` or `tcp://host:port`.
    pub fn new(host: &str) -> Result<Self> {
        let address = if let Some(path) = host.strip_prefix("unix://") {
            Address::Unix(path.into())
        } else if let Some(address) = host.strip_prefix("tcp://").or_else(|| host.strip_prefix("http://")) {
            Address::Tcp(address.trim_end_matches('/').to_owned())
        } else {
            let message = format!("docker host {host:?}: expected unix:///PATH or tcp://HOST:PORT");
            return Err(Error::new(ErrorKind::Usage, message));
        };
        Ok(Self { address })
    }

    fn connect(&self) -> Result<Box<dyn Connection>> {
        let connected: io::Result<Box<dyn Connection>> = match &self.address {
            Address::Unix(path) => UnixStream::connect(path).map(|stream| Box::new(stream) as _),
            Address::Tcp(address) => TcpStream::connect(address).map(|stream| Box::new(stream) as _),
        };
        connected.map_err(|error| {
            let message = match &self.address {
                Address::Unix(path) => format!("connect to the docker daemon at {}: {error}", path.display()),
                Address::Tcp(address) => format!("connect to the docker daemon at {address}: {error}"),
            };
            Error::new(ErrorKind::Unreachable, message)
                .with_hint("is it running, and may you use its socket?")
        })
    }

    /// Sends one request and returns the body of a good answer.
    fn ask(&self, head: &str, body: Option<(&mut File, u64)>) -> Result<impl Read + use<>> {
        let mut connection = self.connect()?;
        let lost =
            |error: io::Error| Error::new(ErrorKind::Unreachable, format!("the docker daemon: {error}"));
        let length = body
            .as_ref()
            .map(|(_, length)| format!("Content-Type: application/x-tar\r\nContent-Length: {length}\r\n"));
        let head = format!("{head} HTTP/1.0\r\nHost: docker\r\n{}\r\n", length.unwrap_or_default());
        connection.write_all(head.as_bytes()).map_err(lost)?;
        if let Some((file, _)) = body {
            io::copy(file, &mut BufWriter::with_capacity(256 << 10, &mut connection)).map_err(lost)?;
        }
        let mut answer = BufReader::with_capacity(256 << 10, connection);
        let status = read_head(&mut answer).map_err(lost)?;
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        let mut text = String::new();
        answer.take(MAX_TEXT).read_to_string(&mut text).map_err(lost)?;
        let kind = if status == 404 { ErrorKind::NotFound } else { ErrorKind::Invalid };
        Err(Error::new(kind, format!("the docker daemon answers {status}: {}", message(&text))))
    }
}

/// The status of an answer; leaves the reader at its body.
fn read_head(answer: &mut impl BufRead) -> io::Result<u16> {
    let mut line = String::new();
    let mut head = answer.take(MAX_TEXT);
    head.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("{line:?} is not HTTP")))?;
    while !matches!(line.as_str(), "\r\n" | "\n") {
        line.clear();
        if head.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(status)
}

/// Docker wraps what it has to say into `{"message": …}`.
fn message(text: &str) -> String {
    let parsed: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let said = parsed.as_ref().and_then(|value| value["message"].as_str());
    said.unwrap_or(text.trim()).chars().take(300).collect()
}

/// The name as the daemon knows it: a reference, or an image id.
fn daemon_name(text: &str) -> Result<String> {
    let id = text.strip_prefix("sha256:").unwrap_or(text);
    if id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(text.to_owned());
    }
    Ok(text.parse::<Reference>()?.canonical())
}

/// An image of a daemon, to read.
#[derive(Debug)]
pub struct DaemonSource {
    name: String,
    archive: DockerArchiveSource,
}

impl DaemonSource {
    /// Fetches the whole image: the API has no smaller part.
    pub fn open(daemon: &Daemon, name: &str) -> Result<Self> {
        let open = || {
            let path = format!("GET /v1.24/images/{}/get", daemon_name(name)?);
            let mut body = daemon.ask(&path, None)?;
            let mut file = tempfile::tempfile()?;
            io::copy(&mut body, &mut file)
                .map_err(|error| Error::new(ErrorKind::Unreachable, format!("the docker daemon: {error}")))?;
            DockerArchiveSource::of_file(file)
        };
        let archive = open().map_err(|error: Error| error.wrap(format!("docker-daemon:{name}")))?;
        Ok(Self { name: name.to_owned(), archive })
    }
}

impl Source for DaemonSource {
    fn resolve(&self) -> Result<RawManifest> {
        self.archive.resolve()
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<RawManifest> {
        self.archive.manifest(descriptor)
    }

    fn open_blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobReader> {
        self.archive.open_blob(descriptor, offset)
    }

    fn describe(&self) -> String {
        format!("docker-daemon:{}", self.name)
    }
}

/// An image for a daemon.
#[derive(Debug)]
pub struct DaemonSink {
    daemon: Daemon,
    name: String,
    archive: DockerArchiveSink,
    scratch: tempfile::TempDir,
}

impl DaemonSink {
    /// What arrives is gathered in a temporary directory, and loaded in one go.
    pub fn open(daemon: &Daemon, name: &str) -> Result<Self> {
        let open = || {
            let reference: Reference = name.parse()?;
            let scratch = tempfile::tempdir()?;
            let path = scratch.path().join("image.tar");
            let archive = DockerArchiveSink::open(&ArchiveName {
                transport: ARCHIVE,
                path,
                reference: Some(reference.canonical()),
                more_names: Vec::new(),
            })?;
            Ok(Self { daemon: daemon.clone(), name: name.to_owned(), archive, scratch })
        };
        open().map_err(|error: Error| error.wrap(format!("docker-daemon:{name}")))
    }

    fn load(&self) -> Result<()> {
        let mut file = File::open(self.scratch.path().join("image.tar"))?;
        let length = file.seek(io::SeekFrom::End(0))?;
        file.rewind()?;
        let mut answer = self.daemon.ask("POST /v1.24/images/load?quiet=1", Some((&mut file, length)))?;
        let mut said = String::new();
        answer.by_ref().take(MAX_TEXT).read_to_string(&mut said)?;
        // It says 200 first, and what went wrong later.
        match said.lines().find(|line| line.contains("\"error\"")) {
            Some(line) => Err(Error::invalid(format!("the docker daemon does not load it: {}", line.trim()))),
            None => Ok(()),
        }
    }
}

impl Sink for DaemonSink {
    fn form(&self) -> Form {
        self.archive.form()
    }

    fn has_blob(&self, descriptor: &Descriptor) -> Result<bool> {
        self.archive.has_blob(descriptor)
    }

    fn put_blob(&self, descriptor: &Descriptor, from: &dyn Source, progress: &dyn Progress) -> Result<()> {
        self.archive.put_blob(descriptor, from, progress)
    }

    fn put_manifest(&self, manifest: &RawManifest) -> Result<()> {
        self.archive.put_manifest(manifest)
    }

    fn commit(&self, manifest: &RawManifest) -> Result<()> {
        self.archive.commit(manifest)?;
        self.load()
    }

    fn describe(&self) -> String {
        format!("docker-daemon:{}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_names() {
        assert!(Daemon::new(DEFAULT_HOST).is_ok() && Daemon::new("tcp://127.0.0.1:2375").is_ok());
        assert!(Daemon::new("ssh://host").is_err());
        assert_eq!(daemon_name("alpine").unwrap(), "docker.io/library/alpine:latest");
        let id = "a".repeat(64);
        assert_eq!(daemon_name(&id).unwrap(), id);
        assert!(daemon_name("../containers/x").is_err());
    }

    #[test]
    fn an_answer_begins_with_its_head() {
        let mut answer = &b"HTTP/1.0 404 Not Found\r\nA: b\r\n\r\n{\"message\":\"gone\"}"[..];
        assert_eq!(read_head(&mut answer).unwrap(), 404);
        assert_eq!(message(std::str::from_utf8(answer).unwrap()), "gone");
        assert!(read_head(&mut &b"HTTP/1.0 200 OK\r\n"[..]).is_err());
        assert!(read_head(&mut &b"SSH-2.0-x\r\n"[..]).is_err());
        assert!(read_head(&mut &b""[..]).is_err());
    }
}
