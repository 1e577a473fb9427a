// SPDX-License-Identifier: Apache-2.0
//! The conversation between the runtime and the process it made, over one message socket. Each message is one
//! byte that says what it is, and its content. The end of the socket means that the other side is gone.
//!
//! ```text
//!  runtime                              stage (only where a namespace is joined first)      init
//!     │ ◄──────────── Born(pid) ──────────┘ exits                                             │
//!     │   records the pid, writes id maps                                                     │ enters its v1 cgroups
//!     │ ─────────────────────────────── Go ─────────────────────────────────────────────────► │ walks the plan, or has
//!     │                                                                                       │ begun to (`Plan::begins_alone`)
//!     │ ◄────────────────────────────── Ask(step) ─────────────────────────────────────────── │
//!     │   runs hooks, raises limits                                                           │
//!     │ ◄────────────────────────────── Traced(step, span) ── with `--trace`, after each step │
//!     │ ◄────────────────────────────── Listener(step) + descriptor ───────────────────────── │
//!     │   tells the agent                                                                     │
//!     │ ─────────────────────────────── Done, or Opened + descriptor ───────────────────────► │
//!     │ ◄────────────────────────────── Ready ─────────────────────────────────────────────── │ waits for `start`
//!     │ ◄────────────────────────────── Failed(error) ── at any time, from anybody ────────── │ exits
//! ```

use std::os::fd::{AsFd, OwnedFd};

use conex_sys::{Errno, socket};

use crate::trace::Span;
use crate::{Error, ErrorKind, Result};

/// One end of the conversation.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

/// What either side says.
#[derive(Debug)]
pub(crate) enum Message {
    /// To init: the maps are written.
    Go,
    /// To init: what was asked for is done.
    Done,
    /// From the stage: init's pid, in the runtime's pid namespace.
    Born(i32),
    /// From init: the step of this number is the parent's to do.
    Ask(usize),
    /// From init: the filter of this step is in force, and this is where its notifications come from.
    Listener(usize, OwnedFd),
    /// To init, and to the runtime from who looked for it in init's mount namespace: what was asked to be opened.
    Opened(OwnedFd),
    /// From init: the step of this number took from here to there.
    Traced(usize, Span),
    /// From init: everything up to the start is done.
    Ready,
    /// From anybody: it is over.
    Failed(Error),
}

/// Longer errors are cut. A message socket takes it in one piece.
const MAX_MESSAGE: usize = 8192;

impl Channel {
    /// The runtime's end and the new process's end.
    pub(crate) fn pair() -> Result<(Self, Self)> {
        let (ours, theirs) = socket::message_pair()?;
        Ok((Self(ours), Self(theirs)))
    }

    /// Says something. That nobody is there to hear it is an error.
    pub(crate) fn send(&self, message: &Message) -> Result<()> {
        let passed = match message {
            Message::Listener(_, descriptor) | Message::Opened(descriptor) => Some(descriptor.as_fd()),
            _ => None,
        };
        Ok(socket::send(self.0.as_fd(), &encode(message), passed)?)
    }

    /// As [`Channel::send`], to the new process: if that is gone, its last words are the error.
    pub(crate) fn tell(&self, message: &Message) -> Result<()> {
        match self.send(message) {
            // Nobody who is still there has any last words; to wait for them would be for ever.
            Err(gone) if matches!(gone.errno(), Some(Errno::PIPE | Errno::CONNRESET)) => {
                self.last_words_or(gone)
            }
            outcome => outcome,
        }
    }

    /// Why something about the new process failed: for a reason that it has told, or else for `error`.
    pub(crate) fn last_words_or(&self, error: Error) -> Result<()> {
        match self.receive() {
            Ok(Some(Message::Failed(reason))) => Err(reason),
            _ => Err(error),
        }
    }

    /// Waits for the other side. `None` if it is gone.
    pub(crate) fn receive(&self) -> Result<Option<Message>> {
        let mut buffer = [0; MAX_MESSAGE];
        let (length, passed) = socket::receive(self.0.as_fd(), &mut buffer)?;
        if length == 0 {
            return Ok(None);
        }
        decode(&buffer[..length], passed).map(Some)
    }

    /// Waits for one certain word; anything else ends the conversation.
    pub(crate) fn expect(&self, wanted: fn(&Message) -> bool) -> Result<()> {
        match self.receive()? {
            Some(message) if wanted(&message) => Ok(()),
            Some(Message::Failed(error)) => Err(error),
            Some(other) => Err(Error::new(ErrorKind::Os, format!("unexpected message {other:?}"))),
            None => Err(Error::new(ErrorKind::Os, "the runtime process is gone")),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn encode(message: &Message) -> Vec<u8> {
    match message {
        Message::Go => vec![b'g'],
        Message::Done => vec![b'd'],
        Message::Ready => vec![b'r'],
        Message::Opened(_) => vec![b'o'],
        Message::Born(pid) => [b"b", pid.to_ne_bytes().as_slice()].concat(),
        Message::Ask(step) => [b"a", step.to_ne_bytes().as_slice()].concat(),
        Message::Listener(step, _) => [b"l", step.to_ne_bytes().as_slice()].concat(),
        Message::Traced(step, span) => {
            let numbers = [*step as u64, span.begin, span.end];
            std::iter::once(b't').chain(numbers.into_iter().flat_map(u64::to_ne_bytes)).collect()
        }
        Message::Failed(error) => {
            let errno = error.errno().map_or(0, Errno::raw_os_error);
            let text = error.to_string();
            let text = text.as_bytes();
            let text = &text[..text.len().min(MAX_MESSAGE - 16)];
            [b"f".as_slice(), &[error.kind() as u8], &errno.to_ne_bytes(), text].concat()
        }
    }
}

fn decode(bytes: &[u8], passed: Option<OwnedFd>) -> Result<Message> {
    let garbled = || Error::new(ErrorKind::Os, "garbled message on the sync socket");
    let (kind, content) = bytes.split_first().ok_or_else(garbled)?;
    match kind {
        b'g' => Ok(Message::Go),
        b'd' => Ok(Message::Done),
        b'r' => Ok(Message::Ready),
        b'o' => Ok(Message::Opened(passed.ok_or_else(garbled)?)),
        b'b' => Ok(Message::Born(i32::from_ne_bytes(content.try_into().map_err(|_| garbled())?))),
        b'a' => Ok(Message::Ask(usize::from_ne_bytes(content.try_into().map_err(|_| garbled())?))),
        b'l' => {
            let step = usize::from_ne_bytes(content.try_into().map_err(|_| garbled())?);
            Ok(Message::Listener(step, passed.ok_or_else(garbled)?))
        }
        b't' => {
            let (numbers, _) = content.as_chunks::<8>();
            let [step, begin, end] = numbers else { return Err(garbled()) };
            let [step, begin, end] = [step, begin, end].map(|bytes| u64::from_ne_bytes(*bytes));
            Ok(Message::Traced(usize::try_from(step).map_err(|_| garbled())?, Span { begin, end }))
        }
        b'f' => {
            let (kind, content) = content.split_first().ok_or_else(garbled)?;
            let (errno, text) = content.split_at_checked(4).ok_or_else(garbled)?;
            let errno = i32::from_ne_bytes(errno.try_into().map_err(|_| garbled())?);
            let kind = ErrorKind::from_number(*kind).ok_or_else(garbled)?;
            Ok(Message::Failed(Error::received(kind, String::from_utf8_lossy(text).into_owned(), errno)))
        }
        _ => Err(garbled()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_arrives_as_it_was() {
        let error = Error::from(conex_sys::Error::new("mount()", Errno::PERM)).wrap("step 3 of 9");
        let Message::Failed(back) = decode(&encode(&Message::Failed(error)), None).unwrap() else {
            panic!("another kind of message")
        };
        assert_eq!(back.kind(), ErrorKind::Os);
        assert_eq!(back.errno(), Some(Errno::PERM));
        assert_eq!(back.to_string(), "step 3 of 9: mount(): operation not permitted");
    }

    #[test]
    fn garbage_is_an_error_and_no_panic() {
        for bytes in [&b""[..], b"x", b"a", b"ab", b"f", b"f\xff", b"f\x00\x01", b"t1234567"] {
            decode(bytes, None).unwrap_err();
        }
        assert!(matches!(decode(&encode(&Message::Ask(7)), None).unwrap(), Message::Ask(7)));
        let span = Span { begin: 3, end: u64::MAX };
        let back = decode(&encode(&Message::Traced(7, span)), None).unwrap();
        assert!(matches!(back, Message::Traced(7, same) if same == span));
    }
}
