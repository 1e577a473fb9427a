// SPDX-License-Identifier: Apache-2.0
//! Bodies, streamed. Disk work is done on tokio's blocking threads, one piece at a time, so that a slow client holds
//! some memory but no thread.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use conex_image::store::Upload;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::task::{JoinError, JoinHandle};

use crate::answer::Refusal;

/// Bytes moved at a time.
const PIECE: usize = 512 * 1024;
/// Longest silence within a body that comes in.
const SILENCE: Duration = Duration::from_secs(60);

/// An answer's body.
pub(crate) enum Payload {
    Bytes(Option<Bytes>),
    File(FilePart),
}

/// A stretch of a file, read one piece ahead.
pub(crate) struct FilePart {
    file: Arc<File>,
    next: u64,
    end: u64,
    /// Bytes not yet handed out.
    left: u64,
    reading: Option<JoinHandle<io::Result<Piece>>>,
    /// The buffer of the piece before: free again once the client has it.
    spare: BytesMut,
}

/// A piece, and its buffer for another one.
type Piece = (Bytes, BytesMut);

impl Payload {
    pub(crate) fn empty() -> Self {
        Self::Bytes(None)
    }

    pub(crate) fn full(bytes: Bytes) -> Self {
        Self::Bytes((!bytes.is_empty()).then_some(bytes))
    }

    /// Bytes `start` to `end` (exclusive) of a file.
    pub(crate) fn file(file: File, start: u64, end: u64) -> Self {
        Self::File(FilePart {
            file: Arc::new(file),
            next: start,
            end,
            left: end - start,
            reading: None,
            spare: BytesMut::new(),
        })
    }
}

impl FilePart {
    fn read_ahead(&mut self) {
        if self.next == self.end {
            return;
        }
        let (file, at) = (self.file.clone(), self.next);
        let length = usize::try_from(self.end - at).unwrap_or(PIECE).min(PIECE);
        self.next += length as u64;
        let mut buffer = std::mem::take(&mut self.spare);
        self.reading = Some(tokio::task::spawn_blocking(move || {
            buffer.resize(length, 0);
            file.read_exact_at(&mut buffer, at)?;
            Ok((buffer.split().freeze(), buffer))
        }));
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if self.reading.is_none() {
            self.read_ahead();
        }
        let Some(reading) = &mut self.reading else { return Poll::Ready(None) };
        let piece = ready!(Pin::new(reading).poll(context)).map_err(io::Error::other).flatten();
        self.reading = None;
        match piece {
            Ok((piece, buffer)) => {
                self.left -= piece.len() as u64;
                self.read_ahead();
                self.spare = buffer;
                Poll::Ready(Some(Ok(piece)))
            }
            Err(error) => {
                self.left = 0;
                Poll::Ready(Some(Err(error)))
            }
        }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = match self.get_mut() {
            Self::Bytes(bytes) => bytes.take().map(Ok),
            Self::File(part) => ready!(part.poll_piece(context)),
        };
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Bytes(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Self::File(part) => part.left,
        })
    }
}

/// Runs disk work where it may block.
pub(crate) async fn blocking<T, F>(work: F) -> Result<T, Refusal>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Refusal> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(_) => Err(Refusal::new(500, "UNKNOWN", "the registry made a mistake")),
    }
}

async fn next_data(body: &mut Incoming) -> Result<Option<Bytes>, Refusal> {
    loop {
        let frame = match tokio::time::timeout(SILENCE, body.frame()).await {
            Err(_) => return Err(Refusal::new(408, "BLOB_UPLOAD_INVALID", "the body stood still")),
            Ok(None) => return Ok(None),
            Ok(Some(Err(_))) => return Err(Refusal::new(400, "BLOB_UPLOAD_INVALID", "the body broke off")),
            Ok(Some(Ok(frame))) => frame,
        };
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
}

/// Reads a short body; `None` where it is longer than `cap`.
pub(crate) async fn read_short(mut body: Incoming, cap: u64) -> Result<Option<Bytes>, Refusal> {
    if body.size_hint().lower() > cap {
        return Ok(None);
    }
    let mut whole = BytesMut::new();
    while let Some(data) = next_data(&mut body).await? {
        if whole.len() as u64 + data.len() as u64 > cap {
            return Ok(None);
        }
        whole.extend_from_slice(&data);
    }
    Ok(Some(whole.freeze()))
}

/// Appends a body to an upload, up to `most` bytes in all: while one piece is hashed and written, the next one arrives. What arrived before a
/// break stays in the upload. No upload comes back where writing it failed beyond repair.
pub(crate) async fn append(
    mut body: Incoming,
    upload: Upload,
    most: Option<u64>,
) -> (Option<Upload>, Result<(), Refusal>) {
    let most = most.unwrap_or(u64::MAX);
    if upload.len().saturating_add(body.size_hint().lower()) > most {
        return (Some(upload), Err(too_large(most)));
    }
    let mut writing = write(upload, Vec::new());
    loop {
        let (pieces, more) = next_pieces(&mut body).await;
        let upload = match writing.await {
            Ok((upload, Ok(()))) => upload,
            other => return outcome(other),
        };
        let length: usize = pieces.iter().map(Bytes::len).sum();
        if upload.len() + length as u64 > most {
            return (Some(upload), Err(too_large(most)));
        }
        writing = write(upload, pieces);
        if !matches!(more, Ok(true)) {
            let (upload, written) = outcome(writing.await);
            return (upload, written.and(more.map(drop)));
        }
    }
}

fn too_large(most: u64) -> Refusal {
    Refusal::new(413, "SIZE_INVALID", format!("a blob has at most {most} bytes here"))
        .header("connection", "close")
}

/// An upload and whether the last write to it went well.
type Written = (Upload, crate::Result<()>);

fn write(mut upload: Upload, pieces: Vec<Bytes>) -> JoinHandle<Written> {
    tokio::task::spawn_blocking(move || {
        let written = pieces.iter().try_for_each(|piece| upload.write(piece));
        (upload, written)
    })
}

fn outcome(written: Result<Written, JoinError>) -> (Option<Upload>, Result<(), Refusal>) {
    match written {
        Ok((upload, written)) => (Some(upload), written.map_err(Refusal::from)),
        Err(_) => (None, Err(Refusal::new(500, "UNKNOWN", "the registry made a mistake"))),
    }
}

/// Gathers a piece's worth of data. False where the body is over; an error where it broke off, after the pieces.
async fn next_pieces(body: &mut Incoming) -> (Vec<Bytes>, Result<bool, Refusal>) {
    let (mut pieces, mut length) = (Vec::new(), 0);
    while length < PIECE {
        match next_data(body).await {
            Ok(Some(data)) => {
                length += data.len();
                pieces.push(data);
            }
            Ok(None) => return (pieces, Ok(false)),
            Err(refusal) => return (pieces, Err(refusal)),
        }
    }
    (pieces, Ok(true))
}
