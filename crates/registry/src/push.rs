// SPDX-License-Identifier: Apache-2.0
//! distribution-spec v1.1: #push.
//!
//! ```text
//!  HEAD blob ──200──► there already
//!    └ POST uploads/?mount=[&from=] ──201──► mounted
//!        ├ 202 Location ── PUT whole ──201──► done
//!        │     └ broke, or 413: GET Location ► PATCH from where it stands, in chunks ► PUT ?digest=
//!        └ refused ► POST uploads/ ──202──► as above; nothing more is mounted from there
//! ```
//! What is mounted from: the repository that the image comes from, else the last one where the blob was seen, else
//! wherever the registry knows it.

use std::io::{self, Read};
use std::thread;

use conex_image::transfer::{Outcome, Progress, RawManifest, Source};
use conex_spec::image::Descriptor;
use conex_spec::{Algorithm, Digest};
use ureq::http::{Method, Uri};

use crate::auth::{Actions, Scopes};
use crate::http::{Answer, Ask, Pauses, Sending, with_query};
use crate::repository::Repository;
use crate::{Error, ErrorKind, Result};

/// Size of a chunk, unless the registry wants larger ones.
const CHUNK: u64 = 16 * 1024 * 1024;

/// An upload in progress.
struct Session {
    address: Uri,
    /// Bytes that the registry has.
    offset: u64,
    chunk: u64,
}

impl Repository {
    pub(crate) fn has_blob(&self, digest: &Digest) -> Result<bool> {
        let ask = self.ask(Method::HEAD, format_args!("blobs/{digest}"), Actions::PullPush).expect(&[404]);
        let answer = self.send(ask)?;
        match answer.status {
            200 => Ok(true),
            404 => Ok(false),
            status => Err(unexpected(&answer, status)),
        }
    }

    /// Mounts or uploads a blob that is not there.
    pub(crate) fn put_blob(
        &self,
        blob: &Descriptor,
        from: &dyn Source,
        progress: &dyn Progress,
    ) -> Result<Outcome> {
        let Some(session) = self.mount_or_begin(&blob.digest, from)? else {
            return Ok(Outcome::Mounted);
        };
        self.upload(blob, from, progress, session)?;
        Ok(Outcome::Copied)
    }

    /// The blob is in this repository.
    pub(crate) fn note(&self, digest: &Digest) {
        self.shared.sightings.note(digest, &self.host.name, &self.name);
    }

    /// `None`: mounted. Whatever speaks against mounting, the blob can still be sent.
    fn mount_or_begin(&self, digest: &Digest, from: &dyn Source) -> Result<Option<Session>> {
        let (host, sightings) = (&self.host, &self.shared.sightings);
        let source = from.repository().filter(|(at, name)| *at == host.name && *name != self.name);
        let beside = source.map(|(_, name)| name).or_else(|| sightings.last(digest, &host.name, &self.name));
        let beside = beside.as_deref();
        if host.refuses_mounts(beside) {
            return self.begin_upload(digest).map(Some);
        }
        let mounted = self.mount(digest, beside);
        if let (Some(name), Err(_) | Ok(Some(_))) = (beside, &mounted) {
            sightings.forget(digest, &host.name, name);
        }
        match mounted {
            Err(error) if error.kind() != ErrorKind::Unreachable => {
                host.refused_mount(beside);
                self.begin_upload(digest).map(Some)
            }
            other => other,
        }
    }

    /// `None`: mounted from `beside`, or from wherever the registry found it.
    fn mount(&self, digest: &Digest, beside: Option<&str>) -> Result<Option<Session>> {
        let mut scopes = self.scopes(Actions::PullPush);
        let mut query = format!("?mount={digest}");
        if let Some(name) = beside {
            scopes = scopes.and_pull(name);
            query.push_str(&format!("&from={name}"));
        }
        // A server that stumbles over this request may well take the plain one.
        let ask = Ask::new(Method::POST, self.path(format_args!("blobs/uploads/{query}")), scopes);
        let answer = self.send(ask.expect(&[500, 501]))?;
        match answer.status {
            201 => Ok(None),
            _ => self.session(answer).map(Some),
        }
    }

    fn begin_upload(&self, digest: &Digest) -> Result<Session> {
        let query = match digest.algorithm() {
            Algorithm::Sha256 => String::new(),
            other => format!("?digest-algorithm={}", other.name()),
        };
        let scopes = self.scopes(Actions::PullPush);
        self.session(self.send(Ask::new(
            Method::POST,
            self.path(format_args!("blobs/uploads/{query}")),
            scopes,
        ))?)
    }

    /// What the registry has opened.
    fn session(&self, answer: Answer) -> Result<Session> {
        if answer.status != 202 {
            return Err(unexpected(&answer, answer.status));
        }
        let smallest = answer.header("oci-chunk-min-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let address = self.host.location(&answer)?;
        answer.finish();
        Ok(Session { address, offset: 0, chunk: CHUNK.max(smallest) })
    }

    fn upload(
        &self,
        blob: &Descriptor,
        from: &dyn Source,
        progress: &dyn Progress,
        mut session: Session,
    ) -> Result<()> {
        let mut pauses = Pauses::new(&self.shared.settings.patience);
        let mut sent = match self.send_whole(blob, from, progress, &session) {
            Ok(true) => return Ok(()),
            Ok(false) => self.send_rest(blob, from, progress, &mut session),
            Err(error) => Err(error),
        };
        while let Err(error) = sent {
            let Some(pause) = pauses.next(None).filter(|_| error.kind() == ErrorKind::Unreachable) else {
                self.cancel(&session);
                return Err(error);
            };
            thread::sleep(pause);
            self.find_offset(&mut session, blob)?;
            sent = self.send_rest(blob, from, progress, &mut session);
        }
        Ok(())
    }

    /// `false`: the registry wants it in smaller pieces.
    fn send_whole(
        &self,
        blob: &Descriptor,
        from: &dyn Source,
        progress: &dyn Progress,
        session: &Session,
    ) -> Result<bool> {
        let mut stream = Stream::open(from, blob, 0, progress)?;
        let answer = self.send(
            Ask::at(Method::PUT, closing(session, &blob.digest)?, self.scopes(Actions::PullPush))
                .header("content-type", "application/octet-stream")
                .body(Sending::Stream(&mut stream, blob.size))
                .expect(&[413]),
        );
        let answer = answer.map_err(|error| stream.cause_or(error))?;
        if answer.status == 413 {
            return Ok(false);
        }
        created(answer).map(|()| true)
    }

    /// Sends what the registry lacks, chunk by chunk, and closes the session.
    fn send_rest(
        &self,
        blob: &Descriptor,
        from: &dyn Source,
        progress: &dyn Progress,
        session: &mut Session,
    ) -> Result<()> {
        let mut stream = Stream::open(from, blob, session.offset, progress)?;
        while session.offset < blob.size {
            let length = session.chunk.min(blob.size - session.offset);
            let last = session.offset + length - 1;
            let answer = self.send(
                Ask::at(Method::PATCH, session.address.clone(), self.scopes(Actions::PullPush))
                    .header("content-type", "application/octet-stream")
                    .header("content-range", format!("{}-{last}", session.offset))
                    .body(Sending::Stream(&mut (&mut stream).take(length), length)),
            );
            let answer = answer.map_err(|error| stream.cause_or(error))?;
            if answer.status != 202 {
                return Err(unexpected(&answer, answer.status));
            }
            session.address = self.host.location(&answer)?;
            session.offset += length;
            answer.finish();
        }
        created(self.send(Ask::at(
            Method::PUT,
            closing(session, &blob.digest)?,
            self.scopes(Actions::PullPush),
        ))?)
    }

    /// Asks how much of an interrupted upload has arrived; begins a new one where the registry has forgotten it.
    fn find_offset(&self, session: &mut Session, blob: &Descriptor) -> Result<()> {
        let ask = Ask::at(Method::GET, session.address.clone(), self.scopes(Actions::PullPush))
            .expect(&[400, 404, 405]);
        let answer = self.send(ask)?;
        if answer.status == 204 {
            if answer.header("location").is_some() {
                session.address = self.host.location(&answer)?;
            }
            session.offset = answer.header("range").and_then(received).unwrap_or(0).min(blob.size);
            return Ok(());
        }
        answer.finish();
        *session = Session { chunk: session.chunk, ..self.begin_upload(&blob.digest)? };
        Ok(())
    }

    /// Tells the registry to forget an upload. It may not care.
    fn cancel(&self, session: &Session) {
        let ask = Ask::at(Method::DELETE, session.address.clone(), self.scopes(Actions::PullPush));
        if let Ok(answer) = self.send(ask) {
            answer.finish();
        }
    }

    /// Stores a manifest under a tag or its digest. Returns whether the registry took note of its subject.
    pub(crate) fn put_manifest(&self, manifest: &RawManifest, reference: &str) -> Result<bool> {
        let answer = self.send(
            self.ask(Method::PUT, format_args!("manifests/{reference}"), Actions::PullPush)
                .header("content-type", manifest.descriptor.media_type.clone())
                .body(Sending::Bytes(&manifest.bytes)),
        )?;
        if !matches!(answer.status, 200 | 201) {
            return Err(unexpected(&answer, answer.status));
        }
        let digest = &manifest.descriptor.digest;
        if let Some(told) =
            answer.header("docker-content-digest").and_then(|text| text.parse::<Digest>().ok())
            && told.algorithm() == digest.algorithm()
            && told != *digest
        {
            let what = format!("{}: pushed {digest}, the registry says it got {told}", answer.place());
            return Err(Error::new(ErrorKind::Invalid, what));
        }
        let subject_noted = answer.header("oci-subject").is_some();
        answer.finish();
        Ok(subject_noted)
    }

    /// Scopes for a request that only reads.
    pub(crate) fn pull_scopes(&self) -> Scopes {
        self.scopes(Actions::Pull)
    }
}

/// The session's address with the digest added.
fn closing(session: &Session, digest: &Digest) -> Result<Uri> {
    with_query(&session.address, "digest", digest.as_str())
}

/// `0-99`: a hundred bytes. `0-0` is what registries say before the first byte too.
fn received(range: &str) -> Option<u64> {
    let last: u64 = range.trim_start_matches("bytes=").split_once('-')?.1.parse().ok()?;
    Some(if last == 0 { 0 } else { last + 1 })
}

/// The end of an upload.
fn created(answer: Answer) -> Result<()> {
    if answer.status != 201 {
        return Err(unexpected(&answer, answer.status));
    }
    answer.finish();
    Ok(())
}

fn unexpected(answer: &Answer, status: u16) -> Error {
    Error::new(ErrorKind::Invalid, format!("{}: unexpected status {status}", answer.place()))
}

/// A source's bytes on their way out; remembers why reading failed, which the transport would garble.
struct Stream<'a> {
    reader: Box<dyn Read + Send>,
    blob: &'a Descriptor,
    progress: &'a dyn Progress,
    failed: Option<io::Error>,
}

impl<'a> Stream<'a> {
    fn open(
        from: &dyn Source,
        blob: &'a Descriptor,
        offset: u64,
        progress: &'a dyn Progress,
    ) -> Result<Self> {
        let mut opened = from.open_blob(blob, offset)?;
        let skip = offset - opened.offset.min(offset);
        io::copy(&mut (&mut opened.reader).take(skip), &mut io::sink())?;
        progress.begin(blob, offset);
        Ok(Self { reader: opened.reader, blob, progress, failed: None })
    }

    /// The source's error where there is one, else the transport's.
    fn cause_or(&mut self, error: Error) -> Error {
        match self.failed.take() {
            Some(cause) => Error::from(cause).wrap(format_args!("read {}", self.blob.digest)),
            None => error,
        }
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.reader.read(buffer) {
            Ok(count) => {
                self.progress.advance(self.blob, count as u64);
                Ok(count)
            }
            Err(error) => {
                let shown = io::Error::new(error.kind(), error.to_string());
                self.failed = Some(error);
                Err(shown)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_has_received() {
        assert_eq!(received("0-99"), Some(100));
        assert_eq!(received("bytes=0-99"), Some(100));
        assert_eq!(received("0-0"), Some(0));
        assert_eq!(received("x"), None);
    }
}
