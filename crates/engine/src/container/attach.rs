// SPDX-License-Identifier: Apache-2.0
//! Being a container's terminal: the client side of the monitor's socket (docs/formats/monitor.md).
//!
//! ```text
//!  u8 kind, u32 big-endian length, bytes
//!   → 0 stdin (empty: end of input)   → 3 resize "rows columns"
//!   ← 1 stdout   ← 2 stderr           ← 4 exit code, in digits; then the end
//! ```
//! Three blocking threads: the caller's moves output, one moves input, one forwards signals. The latter two may still
//! wait when the first is done; they end with the process.

use std::fs::File;
use std::io::{ErrorKind as Io, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};

use conex_sys::signal::{CHLD, SignalFd, WINCH};
use conex_sys::{socket, tty};

use super::{Container, Record};
use crate::runtime::Runtime;
use crate::{Engine, Error, ErrorKind, Result, Wrap as _};

/// The longest frame that is believed.
const LONGEST: usize = 1 << 20;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const RESIZE: u8 = 3;
const EXIT: u8 = 4;

/// A connection to a monitor, made before the container's process starts, so that nothing is missed.
#[derive(Debug)]
pub struct Attachment {
    socket: UnixStream,
    id: String,
}

/// What the caller's side of the connection is.
#[derive(Debug)]
pub struct Streams {
    /// Whose bytes go to the container.
    pub input: Option<OwnedFd>,
    /// Whose size the container's terminal has.
    pub terminal: Option<OwnedFd>,
    /// Ends the connection and leaves the container running: usually ctrl-p ctrl-q.
    pub detach_keys: Vec<u8>,
}

/// Why moving bytes came to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The container's process ended with this code.
    Exited(u8),
    /// The detach keys were typed.
    Detached,
    /// The connection broke: the monitor was killed.
    Lost,
    /// The reader of our output has gone away.
    Unread,
    /// The terminal was closed.
    HungUp,
}

impl Attachment {
    pub(super) fn connect(container: &Container, record: &Record) -> Result<Self> {
        let socket = socket::connect(&container.path.join("attach.sock"))
            .map_err(|error| Error::from(error).wrap(format!("attach to {}", record.name)))?;
        Ok(Self { socket: socket.into(), id: container.id.clone() })
    }

    /// Moves bytes both ways until one side ends, and passes on the signals that this process gets.
    pub fn run(
        self,
        engine: &Engine,
        record: &Record,
        streams: Streams,
        stdout: &mut dyn Write,
        stderr: &mut dyn Write,
    ) -> Result<Ending> {
        let writer = Arc::new(Mutex::new(self.socket.try_clone().wrap(|| "attach")?));
        let forward = Forward {
            // Blocked in this thread and in all that it starts from now on.
            signals: SignalFd::all()?,
            runtime: engine.runtime_of(record),
            id: self.id,
            terminal: streams.terminal,
            writer: writer.clone(),
        };
        std::thread::spawn(move || forward.run());
        let (detached, detach) = channel();
        if let Some(input) = streams.input {
            let socket = self.socket.try_clone().wrap(|| "attach")?;
            std::thread::spawn(move || {
                let input = Input { from: input.into(), writer, keys: streams.detach_keys, typed: 0 };
                if input.run() == InputEnd::Detach && detached.send(()).is_ok() {
                    // Wakes the reader of output up.
                    let _gone_already = socket.shutdown(Shutdown::Read);
                }
            });
        }
        move_output(self.socket, stdout, stderr, &detach)
    }
}

fn send(writer: &Mutex<UnixStream>, kind: u8, bytes: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| Io::InvalidInput)?;
    let mut frame = vec![kind];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(bytes);
    writer.lock().unwrap_or_else(PoisonError::into_inner).write_all(&frame)
}

fn move_output(
    mut socket: UnixStream,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
    detach: &Receiver<()>,
) -> Result<Ending> {
    let mut body = Vec::new();
    loop {
        let Some(kind) = read_frame(&mut socket, &mut body)? else {
            return Ok(if detach.try_recv().is_ok() { Ending::Detached } else { Ending::Lost });
        };
        let written = match kind {
            STDOUT => stdout.write_all(&body).and_then(|()| stdout.flush()),
            STDERR => stderr.write_all(&body).and_then(|()| stderr.flush()),
            EXIT => return exit_code(&body),
            other => {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    format!("the monitor sent a frame of kind {other}"),
                ));
            }
        };
        let ending = match written {
            Err(error) if error.kind() == Io::BrokenPipe => Ending::Unread,
            Err(error) if error.raw_os_error() == Some(EIO) => Ending::HungUp,
            result => {
                result.wrap(|| "write the container's output")?;
                continue;
            }
        };
        // The other threads keep the connection open, and the monitor would wait for a reader.
        let _ended = socket.shutdown(Shutdown::Both);
        return Ok(ending);
    }
}

/// What writing to a terminal answers once it was closed.
const EIO: i32 = 5;

fn exit_code(body: &[u8]) -> Result<Ending> {
    let code = std::str::from_utf8(body).ok().and_then(|text| text.trim().parse().ok());
    code.map(Ending::Exited).ok_or_else(|| Error::new(ErrorKind::Invalid, "the monitor sent no exit code"))
}

/// `None` at the end of the connection, also in the middle of a frame.
fn read_frame(socket: &mut UnixStream, body: &mut Vec<u8>) -> Result<Option<u8>> {
    let mut head = [0; 5];
    let [kind, length @ ..] = match socket.read_exact(&mut head) {
        Ok(()) => head,
        Err(error) if matches!(error.kind(), Io::UnexpectedEof | Io::ConnectionReset) => return Ok(None),
        Err(error) => return Err(error).wrap(|| "read from the monitor"),
    };
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > LONGEST {
        return Err(Error::new(ErrorKind::Invalid, format!("the monitor sent a frame of {length} bytes")));
    }
    body.resize(length, 0);
    match socket.read_exact(body) {
        Ok(()) => Ok(Some(kind)),
        Err(error) if matches!(error.kind(), Io::UnexpectedEof | Io::ConnectionReset) => Ok(None),
        Err(error) => Err(error).wrap(|| "read from the monitor"),
    }
}

/// The thread that moves input.
struct Input {
    from: File,
    writer: Arc<Mutex<UnixStream>>,
    keys: Vec<u8>,
    /// How many of `keys` have been typed.
    typed: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum InputEnd {
    /// The input or the connection has ended.
    End,
    /// The detach keys were typed.
    Detach,
}

impl Input {
    fn run(mut self) -> InputEnd {
        let mut chunk = [0; 16 * 1024];
        loop {
            let length = match self.from.read(&mut chunk) {
                Err(error) if error.kind() == Io::Interrupted => continue,
                Err(_) => 0,
                Ok(length) => length,
            };
            let (kept, detach) = self.without_keys(&chunk[..length]);
            let sent = if kept.is_empty() && length > 0 { Ok(()) } else { send(&self.writer, STDIN, &kept) };
            match (sent, length) {
                _ if detach => return InputEnd::Detach,
                (Err(_), _) | (Ok(()), 0) => return InputEnd::End,
                _ => {}
            }
        }
    }

    /// The bytes to send, and whether the detach keys are complete. Keys that turn out to be none are sent late.
    fn without_keys(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut kept = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            if self.keys.get(self.typed) == Some(&byte) {
                self.typed += 1;
                if self.typed == self.keys.len() {
                    return (kept, true);
                }
                continue;
            }
            kept.extend_from_slice(&self.keys[..self.typed]);
            self.typed = usize::from(self.keys.first() == Some(&byte) && self.keys.len() > 1);
            if self.typed == 0 {
                kept.push(byte);
            }
        }
        (kept, false)
    }
}

/// The thread that passes signals on: a changed window to the monitor, the others to the container's process.
struct Forward {
    signals: SignalFd,
    runtime: Runtime,
    id: String,
    terminal: Option<OwnedFd>,
    writer: Arc<Mutex<UnixStream>>,
}

const SIGURG: i32 = 23;

impl Forward {
    fn run(self) {
        self.resize();
        while let Ok(Some(_)) = socket::wait_readable(&[self.signals.as_fd()], None) {
            while let Ok(Some(signal)) = self.signals.next() {
                match signal {
                    WINCH => self.resize(),
                    CHLD | SIGURG => {}
                    other => self.forward(other),
                }
            }
        }
    }

    fn forward(&self, signal: i32) {
        // A container that has just ended cannot be told; its exit code is on its way.
        let _ended = self.runtime.check(&mut self.runtime.command(&["kill", &self.id, &signal.to_string()]));
    }

    fn resize(&self) {
        let size = self.terminal.as_ref().and_then(|terminal| tty::size(terminal.as_fd()).ok());
        if let Some(tty::Size { rows, columns }) = size {
            let _ended = send(&self.writer, RESIZE, format!("{rows} {columns}").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input() -> Input {
        let (socket, _) = UnixStream::pair().unwrap();
        let from = File::open("/dev/null").unwrap();
        Input { from, writer: Arc::new(Mutex::new(socket)), keys: vec![16, 17], typed: 0 }
    }

    #[test]
    fn detach_keys_are_found_across_reads_and_others_are_kept() {
        let mut one = input();
        assert_eq!(one.without_keys(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(one.without_keys(b"\x11cd"), (Vec::new(), true));
        let mut other = input();
        assert_eq!(other.without_keys(b"a\x10b"), (b"a\x10b".to_vec(), false));
        assert_eq!(other.without_keys(b"\x10\x10"), (b"\x10".to_vec(), false));
        assert_eq!(other.without_keys(b"\x11"), (Vec::new(), true));
    }

    #[test]
    fn a_closed_terminal_is_no_error() {
        struct HungUp;
        impl Write for HungUp {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::Error::from_raw_os_error(EIO))
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (here, mut there) = UnixStream::pair().unwrap();
        there.write_all(b"\x01\0\0\0\x02hi").unwrap();
        let (_sender, detach) = channel();
        let ending = move_output(here, &mut HungUp, &mut Vec::new(), &detach).unwrap();
        assert_eq!(ending, Ending::HungUp);
        assert_eq!(there.read(&mut [0; 1]).unwrap(), 0, "the monitor is told");
    }

    #[test]
    fn frames_are_read_and_absurd_ones_refused() {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        there.write_all(b"\x01\0\0\0\x02hi\x04\0\0\0\x013").unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let (_sender, detach) = channel();
        let ending = move_output(here.try_clone().unwrap(), &mut out, &mut err, &detach).unwrap();
        assert_eq!((ending, out.as_slice()), (Ending::Exited(3), &b"hi"[..]));
        there.write_all(b"\x01\xff\xff\xff\xff").unwrap();
        assert!(read_frame(&mut here, &mut Vec::new()).is_err());
        drop(there);
        let (here, there) = UnixStream::pair().unwrap();
        drop(there);
        assert_eq!(move_output(here, &mut out, &mut err, &detach).unwrap(), Ending::Lost);
    }
}
