// SPDX-License-Identifier: Apache-2.0
//! The start of a program that lives for milliseconds, in place of the standard library's: the C library calls `main`,
//! and nothing is made ready that nobody will use (a stack for the handler of overflows, that handler for two signals:
//! thirteen system calls and some pages). What others rely on is kept: descriptors 0 to 2 are open, so that no file is
//! taken for one of them, and a pipe that nobody reads any more is an error and not the end.
//!
//! `std::env::args` knows nothing here; the words are handed over.

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::fd::IntoRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::error::Call;
use crate::poll::{Events, poll};
use crate::{Result, signal};

/// Makes a function from words to an exit status the program's entry; for a crate with `#![no_main]`.
#[macro_export]
macro_rules! program {
    ($main:expr) => {
        #[unsafe(no_mangle)]
        extern "C" fn main(count: std::ffi::c_int, words: *const *const std::ffi::c_char) -> std::ffi::c_int {
            // SAFETY: these are C's `main`'s own arguments.
            unsafe { $crate::start::run(count, words, $main) }
        }
    };
}

/// What [`program!`]'s `main` does.
///
/// # Safety
///
/// `words` points to `count` pointers to strings that live as long as the process.
#[doc(hidden)]
pub unsafe fn run(count: c_int, words: *const *const c_char, main: fn(Vec<OsString>) -> i32) -> ! {
    let word = |at: usize| {
        // SAFETY: the caller promises `count` of them, and this is one.
        let word = unsafe { words.add(at) };
        // SAFETY: as above.
        let word = unsafe { word.read() };
        // SAFETY: it points to a string that ends with a NUL byte, and stays.
        let word = unsafe { CStr::from_ptr(word) };
        OsStr::from_bytes(word.to_bytes()).to_owned()
    };
    let words = (0..usize::try_from(count).unwrap_or_default()).map(word).collect();
    let status = match hold_standard_streams().and_then(|()| signal::ignore_broken_pipes()) {
        Ok(()) => main(words),
        // There may be nobody to tell.
        Err(_) => 1,
    };
    std::process::exit(status)
}

/// A closed one of them becomes `/dev/null`: the lowest free number is the next file's.
fn hold_standard_streams() -> Result<()> {
    use rustix::stdio::{stderr, stdin, stdout};
    let nothing = Events::empty();
    let streams = [(stdin(), nothing), (stdout(), nothing), (stderr(), nothing)];
    for events in poll(&streams, Some(std::time::Duration::ZERO))? {
        if events.contains(Events::NVAL) {
            let path = Path::new("/dev/null");
            let null =
                rustix::fs::open(path, OFlags::RDWR, Mode::empty()).call(|| format!("open({path:?})"))?;
            let _stays = null.into_raw_fd();
        }
    }
    Ok(())
}
