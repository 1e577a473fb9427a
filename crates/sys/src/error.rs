// SPDX-License-Identifier: Apache-2.0
//! A failed system call, told as strace would: `fsmount([9], MOUNT_ATTR_RDONLY): EPERM: operation not permitted`.

use std::fmt;

use rustix::io::Errno;

/// The call with its arguments, and the kernel's answer. In a box: every function on the way up hands it on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Box<Failure>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Failure {
    call: String,
    errno: Errno,
}

/// What every function of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// `call` is the system call with its arguments, file descriptors as `[n]</path>`.
    pub fn new(call: impl Into<String>, errno: Errno) -> Self {
        Self(Box::new(Failure { call: call.into(), errno }))
    }

    /// The kernel's answer.
    pub fn errno(&self) -> Errno {
        self.0.errno
    }

    /// The call that failed.
    pub fn call(&self) -> &str {
        &self.0.call
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(words) = words(self.errno()) {
            return write!(f, "{}: {words}", self.call());
        }
        let words = std::io::Error::from_raw_os_error(self.errno().raw_os_error()).to_string();
        let words = words.split(" (os error").next().unwrap_or_default();
        write!(f, "{}: {}", self.call(), words.to_ascii_lowercase())
    }
}

/// errno(3)'s words where musl has others: callers look for them, however this was linked.
fn words(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::BUSY => "device or resource busy",
        Errno::LOOP => "too many levels of symbolic links",
        Errno::MFILE => "too many open files",
        Errno::NAMETOOLONG => "file name too long",
        Errno::NOMEM => "cannot allocate memory",
        Errno::OPNOTSUPP => "operation not supported",
        Errno::XDEV => "invalid cross-device link",
        _ => return None,
    })
}

impl std::error::Error for Error {}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        Self::new(Self::from_raw_os_error(error.errno().raw_os_error()).kind(), error)
    }
}

/// Adds the call to the errno of rustix or of the standard library.
pub(crate) trait Call<T> {
    /// `describe` is only run on failure.
    fn call(self, describe: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Call<T> for rustix::io::Result<T> {
    fn call(self, describe: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| Error::new(describe(), errno))
    }
}

impl<T> Call<T> for std::io::Result<T> {
    fn call(self, describe: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::new(describe(), errno_of(&error)))
    }
}

/// `EIO` where the standard library found the fault itself.
pub(crate) fn errno_of(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_the_same_with_every_libc() {
        let said = |errno| Error::new("open(x)", errno).to_string();
        assert_eq!(said(Errno::BUSY), "open(x): device or resource busy");
        assert_eq!(said(Errno::MFILE), "open(x): too many open files");
        assert_eq!(said(Errno::NOENT), "open(x): no such file or directory");
    }
}
