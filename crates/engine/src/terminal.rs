// SPDX-License-Identifier: Apache-2.0
//! This process's own terminal and signals, for a front end that must not talk to the kernel itself.

use std::os::fd::AsFd as _;

use conex_sys::signal::{SignalFd, TERM};
use conex_sys::socket;

use crate::Result;

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
