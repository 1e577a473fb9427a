// SPDX-License-Identifier: Apache-2.0
//! What goes wrong in the runtime, as one opaque error: a kind to decide by, and a message that grows to the left
//! (`step 14 of 31: mount proc at /proc: fsmount([9], 0): EPERM: operation not permitted`).

use std::fmt;

/// What a caller may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The configuration is wrong.
    Config,
    /// The command line is wrong.
    Usage,
    /// No such container, file or cgroup.
    NotFound,
    /// A container of that id is there already.
    Exists,
    /// The container is not in a state for this.
    State,
    /// Understood, but not to be had here.
    Unsupported,
    /// The program to run is missing or not executable.
    Program,
    /// The kernel said no.
    Os,
}

impl ErrorKind {
    /// The inverse of `as u8`, for an error that crosses a socket.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        const ALL: [ErrorKind; 8] = [
            ErrorKind::Config,
            ErrorKind::Usage,
            ErrorKind::NotFound,
            ErrorKind::Exists,
            ErrorKind::State,
            ErrorKind::Unsupported,
            ErrorKind::Program,
            ErrorKind::Os,
        ];
        ALL.get(usize::from(number)).copied()
    }
}

/// A kind and a message. In a box: every function on the way up hands it on.
#[derive(Debug)]
pub struct Error(Box<Failure>);

#[derive(Debug)]
struct Failure {
    kind: ErrorKind,
    message: String,
    errno: Option<conex_sys::Errno>,
}

/// What every function of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// `message` is a lower-case fragment without a period, naming what and where.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Failure { kind, message: message.into(), errno: None }))
    }

    /// An error of the other process, as it came over the socket; `errno` 0 is none.
    pub(crate) fn received(kind: ErrorKind, message: String, errno: i32) -> Self {
        let errno = (errno != 0).then(|| conex_sys::Errno::from_raw_os_error(errno));
        Self(Box::new(Failure { kind, message, errno }))
    }

    /// What to decide by.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The kernel's answer, where it was the kernel.
    pub fn errno(&self) -> Option<conex_sys::Errno> {
        self.0.errno
    }

    /// Puts a remedy, or what the kernel's answer may mean, behind the message.
    #[must_use]
    pub fn explained(mut self, remedy: impl fmt::Display) -> Self {
        self.0.message = format!("{} ({remedy})", self.0.message);
        self
    }

    /// Puts context to the left of the message.
    #[must_use]
    pub fn wrap(mut self, context: impl fmt::Display) -> Self {
        self.0.message = format!("{context}: {}", self.0.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}

impl From<conex_sys::Error> for Error {
    fn from(error: conex_sys::Error) -> Self {
        let kind = match error.errno() {
            conex_sys::Errno::NOENT => ErrorKind::NotFound,
            _ => ErrorKind::Os,
        };
        Self(Box::new(Failure { kind, message: error.to_string(), errno: Some(error.errno()) }))
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Os,
        };
        let errno = error.raw_os_error().map(conex_sys::Errno::from_raw_os_error);
        let words = error.to_string();
        let words = words.split(" (os error").next().unwrap_or_default().to_ascii_lowercase();
        Self(Box::new(Failure { kind, message: words, errno }))
    }
}

/// Adds context to a failed result.
pub trait Wrap<T> {
    /// `context` is only built on failure.
    fn wrap<C: fmt::Display>(self, context: impl FnOnce() -> C) -> Result<T>;
}

impl<T, E: Into<Error>> Wrap<T> for std::result::Result<T, E> {
    fn wrap<C: fmt::Display>(self, context: impl FnOnce() -> C) -> Result<T> {
        self.map_err(|error| error.into().wrap(context()))
    }
}
