// SPDX-License-Identifier: Apache-2.0
//! What goes wrong between an image and a running container, as one opaque error: a kind to decide by, a message
//! that grows to the left, and where it is known the command that mends it.

use std::fmt;

/// What a caller may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// No such container, image, volume, file.
    NotFound,
    /// The name is taken.
    Exists,
    /// Something else still needs it: a running container, an image that containers were made from.
    InUse,
    /// The container is not in the state that the operation needs.
    State,
    /// The caller's words are wrong.
    Usage,
    /// The program to run in the container is not there.
    CommandNotFound,
    /// The program to run in the container cannot be executed.
    CommandNotExecutable,
    /// The runtime failed for another reason.
    Runtime,
    /// Bytes that are not what they claim.
    Invalid,
    /// The registry refused: 401, 403.
    Denied,
    /// No connection to the registry, or it broke.
    Unreachable,
    /// Understood, but not to be had here.
    Unsupported,
    /// The kernel said no.
    Os,
}

/// A kind, a message, and perhaps how to mend it.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
}

/// What every function of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// `message` is a lower-case fragment without a period, naming what and where.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// What to decide by.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// How to mend it, where that is known.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
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

impl From<conex_image::Error> for Error {
    fn from(error: conex_image::Error) -> Self {
        use conex_image::ErrorKind as Image;
        let kind = match error.kind() {
            Image::NotFound => ErrorKind::NotFound,
            Image::Invalid | Image::Hostile => ErrorKind::Invalid,
            Image::Denied => ErrorKind::Denied,
            Image::Unreachable => ErrorKind::Unreachable,
            Image::Unsupported => ErrorKind::Unsupported,
            Image::Exists => ErrorKind::Exists,
            Image::Busy => ErrorKind::InUse,
            Image::Usage => ErrorKind::Usage,
            Image::Os => ErrorKind::Os,
        };
        Self { kind, message: error.to_string(), hint: error.hint().map(str::to_owned) }
    }
}

impl From<conex_sys::Error> for Error {
    fn from(error: conex_sys::Error) -> Self {
        conex_image::Error::from(error).into()
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        conex_image::Error::from(error).into()
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::new(ErrorKind::Invalid, error.to_string())
    }
}

impl From<conex_spec::distribution::ReferenceError> for Error {
    fn from(error: conex_spec::distribution::ReferenceError) -> Self {
        Self::new(ErrorKind::Usage, error.to_string())
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
