// SPDX-License-Identifier: Apache-2.0
//! The container's standard streams: pipes, or the master of a pty that the runtime sends through a socket.

use std::fs::File;
use std::io::{ErrorKind as IoKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use conex_sys::poll::set_nonblocking;
use conex_sys::socket;

use crate::{Error, ErrorKind, Result, Wrap};

/// Where bytes of the container come from. The discriminant is the kind of the frame that carries them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout = 1,
    Stderr = 2,
}

impl Stream {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// What the container writes.
pub(super) struct Output {
    pub file: File,
    pub stream: Stream,
}

/// One read from an output.
pub(super) enum Chunk {
    Bytes(usize),
    Nothing,
    End,
}

impl Output {
    pub(super) fn new(file: OwnedFd, stream: Stream) -> Result<Self> {
        set_nonblocking(file.as_fd())?;
        Ok(Self { file: file.into(), stream })
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Chunk {
        match self.file.read(buffer) {
            Ok(0) => Chunk::End,
            Ok(length) => Chunk::Bytes(length),
            Err(error) if matches!(error.kind(), IoKind::WouldBlock | IoKind::Interrupted) => Chunk::Nothing,
            // EIO is how a pty says that its last user is gone.
            Err(_) => Chunk::End,
        }
    }
}

/// What the container reads, and what waits for it to do so.
pub(super) struct Input {
    pub file: File,
    pending: Vec<u8>,
    /// Nothing will follow what is pending.
    ending: bool,
}

/// Enough for a paste; whoever sends more waits.
const MOST_PENDING: usize = 64 * 1024;

impl Input {
    pub(super) fn new(file: OwnedFd) -> Result<Self> {
        set_nonblocking(file.as_fd())?;
        Ok(Self { file: file.into(), pending: Vec::new(), ending: false })
    }

    pub(super) fn takes_more(&self) -> bool {
        !self.ending && self.pending.len() < MOST_PENDING
    }

    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if !self.ending {
            self.pending.extend_from_slice(bytes);
        }
    }

    pub(super) fn end(&mut self) {
        self.ending = true;
    }

    /// False when there is nothing more to write, ever.
    pub(super) fn flush(&mut self) -> bool {
        while !self.pending.is_empty() {
            match self.file.write(&self.pending) {
                Ok(length) => drop(self.pending.drain(..length)),
                Err(error) if error.kind() == IoKind::WouldBlock => return true,
                Err(error) if error.kind() == IoKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        !self.ending
    }
}

/// The ends for the runtime, which the container inherits, and the ends for the monitor.
pub(super) struct Streams {
    pub for_runtime: [Stdio; 3],
    pub outputs: Vec<Output>,
    pub input: Option<Input>,
    /// Where a terminal's master will come from.
    pub console: Option<ConsoleSocket>,
}

impl Streams {
    pub(super) fn pipes(with_input: bool) -> Result<Self> {
        let pipe = || std::io::pipe().wrap(|| "make a pipe");
        let (stdout, stdout_end) = pipe()?;
        let (stderr, stderr_end) = pipe()?;
        let (stdin_end, input) = if with_input {
            let (end, stdin) = pipe()?;
            (Stdio::from(end), Some(Input::new(stdin.into())?))
        } else {
            (Stdio::null(), None)
        };
        Ok(Self {
            for_runtime: [stdin_end, stdout_end.into(), stderr_end.into()],
            outputs: vec![
                Output::new(stdout.into(), Stream::Stdout)?,
                Output::new(stderr.into(), Stream::Stderr)?,
            ],
            input,
            console: None,
        })
    }

    /// Until the master arrives, only the runtime's own words are heard.
    pub(super) fn terminal(pid_file: &str) -> Result<Self> {
        let (stderr, stderr_end) = std::io::pipe().wrap(|| "make a pipe")?;
        Ok(Self {
            for_runtime: [Stdio::null(), Stdio::null(), stderr_end.into()],
            outputs: vec![Output::new(stderr.into(), Stream::Stderr)?],
            input: None,
            console: Some(ConsoleSocket::bind(pid_file)?),
        })
    }
}

/// A socket for one message: the master of the container's pty. Its name is gone when it is dropped.
pub(super) struct ConsoleSocket {
    pub path: PathBuf,
    pub listener: UnixListener,
}

impl ConsoleSocket {
    /// Beside the pid file, where nobody else may write.
    fn bind(pid_file: &str) -> Result<Self> {
        let path = Path::new(pid_file).with_file_name(format!(".console-{}.sock", std::process::id()));
        let listener = listen(&path)?;
        Ok(Self { path, listener })
    }

    /// The master, once the runtime has connected and sent it.
    pub(super) fn receive(&self) -> Result<OwnedFd> {
        let (connection, _) = self.listener.accept().wrap(|| "accept on the console socket")?;
        connection.set_nonblocking(false).wrap(|| "console socket")?;
        let (_, master) = socket::receive(connection.as_fd(), &mut [0; 4096])?;
        master.ok_or_else(|| {
            Error::new(ErrorKind::State, "the runtime sent no terminal through the console socket")
        })
    }
}

impl Drop for ConsoleSocket {
    fn drop(&mut self) {
        std::fs::remove_file(&self.path).ok();
    }
}

/// Binds a socket that only the owner can connect to. The name may be longer than an address has room for: then it
/// goes through a descriptor of its directory. What is left of a killed monitor is replaced.
pub(super) fn listen(path: &Path) -> Result<UnixListener> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::new(ErrorKind::Usage, format!("{} is no name for a socket", path.display())));
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let directory = File::open(parent).wrap(|| format!("open {}", parent.display()))?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&directory);
    let short = Path::new("/proc/self/fd").join(number.to_string()).join(name);
    std::fs::remove_file(&short).ok();
    conex_sys::process::set_umask(0o177);
    let bound = UnixListener::bind(&short);
    conex_sys::process::set_umask(0o022);
    let listener = bound.wrap(|| format!("bind {}", path.display()))?;
    listener.set_nonblocking(true).wrap(|| format!("listen on {}", path.display()))?;
    Ok(listener)
}
