// SPDX-License-Identifier: Apache-2.0
//! This process's own terminal and signals, for a front end that must not talk to the kernel itself.

use std::io::Read as _;
use std::os::fd::AsFd as _;

use conex_sys::signal::{SignalFd, TERM};
use conex_sys::socket;

use crate::{Error, ErrorKind, Result, Wrap as _};

pub use conex_sys::tty::{Raw, Size, size};

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;

/// Calls `end` once when this process is asked to end. Blocks signals in this thread and those it starts later.
pub fn on_end_signal(end: impl FnOnce() + Send + 'static) -> Result<()> {
    let signals = SignalFd::all()?;
    std::thread::spawn(move || {
        while let Ok(Some(_)) = socket::wait_readable(&[signals.as_fd()], None) {
            while let Ok(Some(signal)) = signals.next() {
                if [SIGHUP, SIGINT, TERM].contains(&signal) {
                    return end();
                }
            }
        }
    });
    Ok(())
}

/// A line typed on the terminal at stdin, without showing it.
pub fn read_secret() -> Result<String> {
    const END_OF_TEXT: u8 = 3;
    const END_OF_TRANSMISSION: u8 = 4;
    let mut stdin = std::io::stdin().lock();
    let raw = Raw::new(stdin.as_fd())?;
    let mut line = Vec::new();
    let mut byte = [0];
    let complete = loop {
        if stdin.read(&mut byte).wrap(|| "read from the terminal")? == 0 {
            break false;
        }
        match byte[0] {
            b'\r' | b'\n' => break true,
            END_OF_TEXT | END_OF_TRANSMISSION => break false,
            8 | 127 => drop(line.pop()),
            other => line.push(other),
        }
    };
    drop(raw);
    // The line's end was not shown either. A terminal that is gone needs none.
    let _gone = std::io::Write::write_all(&mut std::io::stderr(), b"\n");
    let interrupted = || Error::new(ErrorKind::Usage, "interrupted");
    if complete { String::from_utf8(line).map_err(|_| interrupted()) } else { Err(interrupted()) }
}
