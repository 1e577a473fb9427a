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
        let words = std::io::Error::from_raw_os_error(self.errno().raw_os_error()).to_string();
        let words = words.split(" (os error").next().unwrap_or_default();
        write!(f, "{}: {}", self.call(), words.to_ascii_lowercase())
    }
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
