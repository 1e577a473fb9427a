// SPDX-License-Identifier: Apache-2.0
//! eventfd(2): a counter that the kernel raises and that can be polled.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::EventfdFlags;
use rustix::io::Errno;

use crate::Result;
use crate::error::Call;
use crate::raw::show;

/// A counter at zero.
pub fn new() -> Result<OwnedFd> {
    rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).call(|| "eventfd(0)".into())
}

/// What it had counted; from then on it counts from zero again. It never waits.
pub fn take(counter: BorrowedFd<'_>) -> Result<u64> {
    let mut count = [0; 8];
    match rustix::io::read(counter, &mut count) {
        Err(Errno::AGAIN) => Ok(0),
        outcome => outcome.call(|| format!("read({})", show(&counter))).map(|_| u64::from_ne_bytes(count)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn what_was_counted_is_taken_once() {
        let counter = new().unwrap();
        assert_eq!(take(counter.as_fd()).unwrap(), 0);
        for one in [3_u64, 4] {
            rustix::io::write(&counter, &one.to_ne_bytes()).unwrap();
        }
        assert_eq!(take(counter.as_fd()).unwrap(), 7);
        assert_eq!(take(counter.as_fd()).unwrap(), 0);
    }
}
