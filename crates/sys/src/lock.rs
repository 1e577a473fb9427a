// SPDX-License-Identifier: Apache-2.0
//! Locks on whole files by fcntl(2), for files that other programs lock with `F_SETLK`. (`File::lock`, flock(2), is another
//! kind, which those do not see.)
//!
//! Of the two kinds of record locks these are the ones of an *open file description*: threads keep each other out, and
//! closing another descriptor of the same file does not drop them. They end when the file is closed.

use std::fs::File;
use std::os::fd::AsRawFd;

use rustix::io::Errno;

use crate::Result;
use crate::error::{Call, errno_of};
use crate::raw::show;

/// Who else may hold one at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Other readers. The file must be open for reading.
    Readers,
    /// Nobody. The file must be open for writing.
    Nobody,
}

/// Locks a file; waits until it can be had.
pub fn lock(file: &File, share: Share) -> Result<()> {
    let kind = match share {
        Share::Readers => libc::F_RDLCK,
        Share::Nobody => libc::F_WRLCK,
    };
    // No offset and no length: the whole file.
    let wanted = libc::flock {
        l_type: libc::c_short::try_from(kind).expect("the kinds of locks are small numbers"),
        l_whence: 0,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    let attempt = || {
        // SAFETY: the descriptor is open while `file` is borrowed, and `wanted` is a struct flock that outlives the call.
        let returned = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLKW, &raw const wanted) };
        match returned {
            -1 => Err(errno_of(&std::io::Error::last_os_error())),
            _ => Ok(()),
        }
    };
    let mut outcome = attempt();
    while outcome == Err(Errno::INTR) {
        outcome = attempt();
    }
    outcome.call(|| format!("fcntl({}, F_OFD_SETLKW, {share:?})", show(file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_writer_or_many_readers() {
        let path = std::env::temp_dir().join(format!("conex-sys-lock-{}", std::process::id()));
        let open =
            || File::options().create(true).truncate(false).read(true).write(true).open(&path).unwrap();
        let (first, second) = (open(), open());
        lock(&first, Share::Readers).unwrap();
        lock(&second, Share::Readers).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let third = open();
        let writer = std::thread::spawn(move || {
            lock(&third, Share::Nobody).unwrap();
            sender.send(()).unwrap();
        });
        drop(first);
        // A second descriptor of the same file that is closed takes no lock away.
        drop(open());
        assert!(receiver.try_recv().is_err());
        drop(second);
        receiver.recv().unwrap();
        writer.join().unwrap();
        std::fs::remove_file(&path).unwrap();
    }
}
