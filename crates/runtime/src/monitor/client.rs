// SPDX-License-Identifier: Apache-2.0
//! One who attached: frames in, frames out. The protocol is drawn in docs/formats/monitor.md.
//!
//! ```text
//!  u8 kind, u32 big-endian length, bytes
//!   → 0 stdin (empty: end of input)   → 3 resize "rows columns"
//!   ← 1 stdout   ← 2 stderr           ← 4 exit code, in digits; then the end
//! ```

use std::collections::VecDeque;
use std::io::{ErrorKind as IoKind, Read, Write};
use std::os::unix::net::UnixStream;

use conex_sys::tty::Size;

const STDIN: u8 = 0;
const RESIZE: u8 = 3;
pub(super) const EXIT: u8 = 4;

/// The longest frame that is taken. A longer one is no frame.
const LONGEST: usize = 64 * 1024;
/// From here on the container is not read until the client has caught up.
const MUCH: usize = 256 * 1024;

/// What a client wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    Input(Vec<u8>),
    EndOfInput,
    Resize(Size),
}

/// A connection that is still open.
pub(super) struct Client {
    pub socket: UnixStream,
    incoming: Vec<u8>,
    outgoing: VecDeque<u8>,
    /// It will send no more.
    pub is_silent: bool,
}

impl Client {
    pub(super) fn new(socket: UnixStream) -> std::io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket, incoming: Vec::new(), outgoing: VecDeque::new(), is_silent: false })
    }

    pub(super) fn is_behind(&self) -> bool {
        self.outgoing.len() >= MUCH
    }

    pub(super) fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    pub(super) fn send(&mut self, kind: u8, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).expect("a chunk of output is far smaller");
        self.outgoing.push_back(kind);
        self.outgoing.extend(length.to_be_bytes());
        self.outgoing.extend(bytes);
    }

    /// False if the connection is broken.
    pub(super) fn flush(&mut self) -> bool {
        while !self.outgoing.is_empty() {
            let (first, _) = self.outgoing.as_slices();
            match self.socket.write(first) {
                Ok(0) => return false,
                Ok(length) => drop(self.outgoing.drain(..length)),
                Err(error) if error.kind() == IoKind::WouldBlock => return true,
                Err(error) if error.kind() == IoKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }

    /// Reads what is there. `None` if the connection is broken or speaks something else.
    pub(super) fn receive(&mut self) -> Option<Vec<Word>> {
        let mut chunk = [0; 16 * 1024];
        match self.socket.read(&mut chunk) {
            Ok(0) => self.is_silent = true,
            Ok(length) => self.incoming.extend_from_slice(&chunk[..length]),
            Err(error) if matches!(error.kind(), IoKind::WouldBlock | IoKind::Interrupted) => {}
            Err(_) => return None,
        }
        decode(&mut self.incoming)
    }
}

/// Takes whole frames off the front.
fn decode(incoming: &mut Vec<u8>) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    let mut taken = 0;
    while let Some((kind, body)) = frame(&incoming[taken..])? {
        taken += 5 + body.len();
        words.push(match kind {
            STDIN if body.is_empty() => Word::EndOfInput,
            STDIN => Word::Input(body.to_vec()),
            RESIZE => Word::Resize(size(body)?),
            _ => return None,
        });
    }
    incoming.drain(..taken);
    Some(words)
}

/// The first frame, if it is complete. The outer `None` is for what is no frame at all.
fn frame(bytes: &[u8]) -> Option<Option<(u8, &[u8])>> {
    let Some((head, rest)) = bytes.split_first_chunk::<5>() else { return Some(None) };
    let [kind, length @ ..] = *head;
    let length = usize::try_from(u32::from_be_bytes(length)).ok().filter(|length| *length <= LONGEST)?;
    Some(rest.get(..length).map(|body| (kind, body)))
}

fn size(body: &[u8]) -> Option<Size> {
    let (rows, columns) = std::str::from_utf8(body).ok()?.split_once(' ')?;
    Some(Size { rows: rows.parse().ok()?, columns: columns.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_as_they_become_complete() {
        let mut incoming = b"\0\0\0\0\x02hi\x03\0\0\0\x0524 80\0\0\0".to_vec();
        let words = decode(&mut incoming).unwrap();
        assert_eq!(words, [Word::Input(b"hi".to_vec()), Word::Resize(Size { rows: 24, columns: 80 })]);
        assert_eq!(incoming, b"\0\0\0");
        incoming.extend(b"\0\0");
        assert_eq!(decode(&mut incoming).unwrap(), [Word::EndOfInput]);
        assert!(incoming.is_empty());
    }

    #[test]
    fn what_is_no_frame_ends_the_connection() {
        for bytes in [
            &b"\0\0\x01\0\x01"[..],
            b"\xff\0\0\0\0",
            b"\x01\0\0\0\0",
            b"\x03\0\0\0\x03a b",
            b"\x03\0\0\0\x01\xff",
        ] {
            assert_eq!(decode(&mut bytes.to_vec()), None, "{bytes:?}");
        }
    }
}
