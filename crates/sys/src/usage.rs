// SPDX-License-Identifier: Apache-2.0
//! What a process and its descendants have used: wait4(2). For measuring, not for running containers.

use std::time::Duration;

use crate::error::Call;
use crate::process::Exit;
use crate::raw::check;
use crate::{Errno, Result};

/// What getrusage(2) counts of an ended process and of those that it waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Processor time outside the kernel.
    pub user: Duration,
    /// Processor time inside the kernel.
    pub system: Duration,
    /// The largest resident set of any of them, in KiB. Not below the resident set of whoever started it.
    pub peak_rss: u64,
    /// Page faults that needed no disk: each costs about as much as ten system calls.
    pub faults: u64,
}

/// Waits for a child and takes its status and its bill.
pub fn wait(pid: u32) -> Result<(Exit, Usage)> {
    let describe = || format!("wait4({pid}, rusage)");
    let child = libc::pid_t::try_from(pid).map_err(|_| crate::Error::new(describe(), Errno::CHILD))?;
    let mut status: libc::c_int = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: `status` and `usage` are writable, have the types that wait4 fills in, and live through the call.
        let returned = unsafe { libc::wait4(child, &raw mut status, 0, usage.as_mut_ptr()) };
        match check(libc::c_long::from(returned)) {
            Err(Errno::INTR) => {}
            returned => break returned.map(drop).call(describe)?,
        }
    }
    // SAFETY: an rusage is integers all through, so the zeroes it began with were valid, and so is what wait4 wrote.
    let usage = unsafe { usage.assume_init() };
    let exit = if libc::WIFSIGNALED(status) {
        Exit::Signal(libc::WTERMSIG(status))
    } else {
        Exit::Code(u8::try_from(libc::WEXITSTATUS(status)).unwrap_or_default())
    };
    let peak_rss = u64::try_from(usage.ru_maxrss).unwrap_or_default();
    let faults = u64::try_from(usage.ru_minflt).unwrap_or_default();
    let (user, system) = (duration(usage.ru_utime), duration(usage.ru_stime));
    Ok((exit, Usage { user, system, peak_rss, faults }))
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_usec).unwrap_or_default() * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bills_the_child_that_worked() {
        let script = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; exit 3";
        let mut child = std::process::Command::new("sh").args(["-c", script]).spawn().unwrap();
        let (exit, usage) = wait(child.id()).unwrap();
        assert_eq!(exit, Exit::Code(3));
        assert!(usage.user + usage.system > Duration::ZERO && usage.peak_rss > 100, "{usage:?}");
        assert!(child.wait().is_err(), "its status can be taken only once");
    }
}
