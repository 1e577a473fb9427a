// SPDX-License-Identifier: Apache-2.0
//! Signals: names and numbers, waiting for them as a descriptor (signalfd), and a clean slate before execve(2).

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;

use crate::Result;
use crate::error::Call;
use crate::raw::{check, owned};

/// The classic signals by name, without `SIG`.
const NAMES: [(&str, i32); 34] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];
const MAX: i32 = 64;

/// SIGHUP.
pub const HUP: i32 = 1;
/// SIGINT.
pub const INT: i32 = 2;
/// SIGKILL.
pub const KILL: i32 = 9;
/// SIGTERM.
pub const TERM: i32 = 15;
/// SIGCHLD.
pub const CHLD: i32 = 17;
/// SIGWINCH.
pub const WINCH: i32 = 28;

/// The number of `TERM`, `SIGTERM`, `sigterm`, `15`, `RTMIN+3`, `SIGRTMAX-1`.
pub fn number(name: &str) -> Option<i32> {
    if let Ok(number) = name.parse::<i32>() {
        return (1..=MAX).contains(&number).then_some(number);
    }
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(offset) = bare.strip_prefix("RTMIN") {
        return real_time(34, offset);
    }
    if let Some(offset) = bare.strip_prefix("RTMAX") {
        return real_time(MAX, offset);
    }
    NAMES.iter().find(|(known, _)| *known == bare).map(|(_, number)| *number)
}

/// In words, such as "killed" or "bad system call".
pub fn description(number: i32) -> String {
    // SAFETY: any number has a text, which stays until the next call of a process with one thread.
    let text = unsafe { libc::strsignal(number) };
    // SAFETY: strsignal(3) returns a string with its end.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().to_ascii_lowercase()
}

fn real_time(base: i32, offset: &str) -> Option<i32> {
    let offset = if offset.is_empty() { 0 } else { offset.parse::<i32>().ok()? };
    Some(base.checked_add(offset)?).filter(|number| (34..=MAX).contains(number))
}

/// All signals, blocked in this process and readable from a descriptor.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// Blocks every signal from now on.
    pub fn all() -> Result<Self> {
        let everything = u64::MAX;
        set_mask(everything)?;
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: the kernel reads the 8 bytes of the mask, which live through the call.
        let returned = unsafe {
            libc::syscall(libc::SYS_signalfd4, -1, &raw const everything, size_of_val(&everything), flags)
        };
        check(returned).map(|fd| Self(owned(fd))).call(|| "signalfd4(all)".to_owned())
    }

    /// The next pending signal, if there is one.
    pub fn next(&self) -> Result<Option<i32>> {
        let mut record = [0_u8; 128];
        match rustix::io::read(&self.0, &mut record) {
            Ok(_) => {
                let number = record[..4].try_into().expect("the first field has four bytes");
                Ok(Some(i32::from_ne_bytes(number)))
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(errno) => Err(errno).call(|| format!("read(signalfd {})", self.0.as_raw_fd())),
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn set_mask(blocked: u64) -> Result<()> {
    let nothing: *const u64 = std::ptr::null();
    // SAFETY: the kernel reads 8 bytes of the mask; the old one is not asked for.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const blocked,
            nothing,
            size_of_val(&blocked),
        )
    };
    check(returned).map(drop).call(|| format!("rt_sigprocmask(SIG_SETMASK, {blocked:#x})"))
}

/// The signal ends this process even where its default would be ignored: in the first process of a pid namespace.
/// An execve(2) undoes it.
pub fn end_on(number: i32) -> Result<()> {
    extern "C" fn end(number: libc::c_int) {
        // SAFETY: _exit(2) is safe in a signal handler: it runs nothing of this process any more.
        unsafe { libc::_exit(128 + number) }
    }
    let handler = end as extern "C" fn(libc::c_int);
    // SAFETY: the handler is a function of the right signature that lives as long as the program.
    let before = unsafe { libc::signal(number, handler as libc::sighandler_t) };
    check(if before == libc::SIG_ERR { -1 } else { 0 }).map(drop).call(|| format!("signal({number})"))
}

/// A write to a pipe or socket that nobody reads is EPIPE, and not the end of the process.
pub fn ignore_broken_pipes() -> Result<()> {
    // SAFETY: SIG_IGN installs no handler.
    let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    check(if before == libc::SIG_ERR { -1 } else { 0 }).map(drop).call(|| "signal(SIGPIPE)".to_owned())
}

/// Signals by number: bit n-1 is signal n, as the kernel has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Set(u64);

/// Those that this process ignores, from `/proc/self/status`; all that can be ignored where that is not to be had.
pub fn ignored() -> Set {
    let status = crate::file::read_record(Path::new("/proc/self/status")).unwrap_or_default();
    let line = String::from_utf8_lossy(&status).lines().find_map(|line| {
        let digits = line.strip_prefix("SigIgn:")?;
        u64::from_str_radix(digits.trim(), 16).ok()
    });
    Set(line.unwrap_or(u64::MAX))
}

/// Default dispositions and nothing blocked: what a program expects to be started with. Handlers end with execve(2) by
/// themselves; what is ignored stays so. ([`ignore_broken_pipes`] ignores SIGPIPE, and a caller may have ignored more.)
pub fn reset(ignored: Set) -> Result<()> {
    let refused = [libc::SIGKILL, libc::SIGSTOP, 32, 33];
    for number in (1..=MAX).filter(|number| ignored.0 & (1 << (number - 1)) != 0 && !refused.contains(number))
    {
        // SAFETY: SIG_DFL installs no handler, so no code of this process can be run by it.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    set_mask(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_numbers() {
        for word in ["TERM", "SIGTERM", "sigterm", "15"] {
            assert_eq!(number(word), Some(15), "{word}");
        }
        assert_eq!(number("SIGRTMIN+3"), Some(37));
        assert_eq!(number("RTMAX-1"), Some(63));
        for word in ["0", "65", "SIG", "", "RTMIN-1", "RTMAX+1", "-9", "HUPP"] {
            assert_eq!(number(word), None, "{word}");
        }
    }
}
