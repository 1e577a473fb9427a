// SPDX-License-Identifier: Apache-2.0
//! What goes wrong with images, as one opaque error: a kind to decide by, and a message that grows to the left
//! (`pull alpine: layer sha256:…: entry 12 "etc/passwd": …`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a caller may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorKind {
    /// The named image, blob, tag or file is not there.
    NotFound,
    /// Bytes that are not what they claim: wrong digest, size, media type, syntax.
    Invalid,
    /// A layer entry that must not be applied (climbs out, is malformed).
    Hostile,
    /// The other side refused: 401, 403.
    Denied,
    /// No connection, or it broke, or the server failed (5xx), or it asked to wait (429). Trying again may help.
    Unreachable,
    /// Understood, but not to be had here.
    Unsupported,
    /// Something of that name is there already.
    Exists,
    /// The caller's words are wrong: a malformed reference, a missing argument.
    Usage,
    /// Another process holds what is needed; trying again later helps.
    Busy,
    /// The kernel said no: permissions, disk full, …
    Os,
}

/// A kind and a message.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
}

/// What every function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// `message` is a lower-case fragment without a period, naming what and where.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// What to decide by.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// How to mend it, where that is known: a sentence with the command or line to write.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// An error of kind [`ErrorKind::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Adds how to mend it. The innermost hint stays.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Puts context to the left of the message.
    #[must_use]
    pub fn wrap(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<conex_sys::Error> for Error {
    fn from(error: conex_sys::Error) -> Self {
        let kind = match error.errno() {
            conex_sys::Errno::NOENT => ErrorKind::NotFound,
            conex_sys::Errno::EXIST => ErrorKind::Exists,
            _ => ErrorKind::Os,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<conex_spec::distribution::ReferenceError> for Error {
    fn from(error: conex_spec::distribution::ReferenceError) -> Self {
        Self::new(ErrorKind::Usage, error.to_string())
    }
}

impl From<std::io::Error> for Error {
    /// A reader over the network or a layer carries an [`Error`] inside: that one comes out again, kind and all.
    fn from(error: std::io::Error) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(carried) => return carried,
            Err(other) => other,
        };
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            std::io::ErrorKind::AlreadyExists => ErrorKind::Exists,
            std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => ErrorKind::Invalid,
            _ => ErrorKind::Os,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<conex_spec::DigestError> for Error {
    fn from(error: conex_spec::DigestError) -> Self {
        Self::new(ErrorKind::Invalid, error.to_string())
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
