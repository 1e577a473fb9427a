// SPDX-License-Identifier: Apache-2.0
//! poll(2): waiting for several descriptors at once, and never for one of them alone.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, Timespec};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::Result;
use crate::error::Call;
use crate::raw::show;

/// `IN`, `OUT`, `PRI`, and in answers `HUP`, `ERR`.
pub use rustix::event::PollFlags as Events;

/// Waits until something that was asked for is there. The answer has one entry for each descriptor; all are empty
/// after `timeout`.
pub fn poll(asked: &[(BorrowedFd<'_>, Events)], timeout: Option<Duration>) -> Result<Vec<Events>> {
    let mut polled: Vec<_> =
        asked.iter().map(|(fd, events)| PollFd::from_borrowed_fd(*fd, *events)).collect();
    let limit = timeout.map(|timeout| Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    loop {
        match rustix::event::poll(&mut polled, limit.as_ref()) {
            Err(Errno::INTR) => {}
            outcome => {
                outcome.call(|| format!("poll({asked:?})"))?;
                return Ok(polled.iter().map(PollFd::revents).collect());
            }
        }
    }
}

/// Reads and writes that would wait answer EAGAIN instead.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> Result<()> {
    let describe = || format!("fcntl({}, F_SETFL, O_NONBLOCK)", show(&fd));
    let flags = rustix::fs::fcntl_getfl(fd).call(describe)?;
    rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK).call(describe)
}
