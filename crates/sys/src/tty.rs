// SPDX-License-Identifier: Apache-2.0
//! Pseudo terminals: made in a given devpts, the peer taken from the master and never by name.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, OutputModes, Termios, Winsize};

use crate::error::Call;
use crate::raw::{check, show};
use crate::{Error, Result};

/// A master and its peer.
#[derive(Debug)]
pub struct Pty {
    /// The terminal emulator's side.
    pub master: OwnedFd,
    /// The program's side.
    pub peer: OwnedFd,
    /// The number in its devpts: `/dev/pts/<number>`.
    pub number: u32,
}

/// `f_type` of devpts.
const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;
/// Character device 5:2.
const PTMX_DEVICE: u64 = 0x502;

impl Pty {
    /// Makes a pair in the devpts whose `pts` directory is given. That it is a devpts and its `ptmx` the real
    /// one is checked: an image may have put something else there.
    pub fn open_in(pts: BorrowedFd<'_>) -> Result<Self> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let master = rustix::fs::openat(pts, "ptmx", flags, Mode::empty())
            .call(|| format!("openat({}, \"ptmx\")", show(&pts)))?;
        let filesystem = rustix::fs::fstatfs(&master).call(|| format!("fstatfs({})", show(&master)))?;
        let stat = rustix::fs::fstat(&master).call(|| format!("fstat({})", show(&master)))?;
        if filesystem.f_type != DEVPTS_SUPER_MAGIC || stat.st_rdev != PTMX_DEVICE {
            return Err(Error::new(format!("{} is not the ptmx of a devpts", show(&master)), Errno::NODEV));
        }
        rustix::pty::unlockpt(&master).call(|| format!("ioctl({}, TIOCSPTLCK)", show(&master)))?;
        let peer_flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let peer = rustix::pty::ioctl_tiocgptpeer(&master, peer_flags)
            .call(|| format!("ioctl({}, TIOCGPTPEER)", show(&master)))?;
        let number = number_of(&master)?;
        Ok(Self { master, peer, number })
    }
}

fn number_of(master: &OwnedFd) -> Result<u32> {
    let mut number: libc::c_uint = 0;
    // SAFETY: TIOCGPTN stores one unsigned int, which lives through the call.
    let returned =
        unsafe { libc::syscall(libc::SYS_ioctl, master.as_raw_fd(), libc::TIOCGPTN, &raw mut number) };
    check(returned).map(|_| number).call(|| format!("ioctl({}, TIOCGPTN)", show(master)))
}

/// Rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// The size of a terminal.
pub fn size(terminal: BorrowedFd<'_>) -> Result<Size> {
    let size =
        rustix::termios::tcgetwinsize(terminal).call(|| format!("ioctl({}, TIOCGWINSZ)", show(&terminal)))?;
    Ok(Size { rows: size.ws_row, columns: size.ws_col })
}

/// Resizes a terminal; its foreground programs get SIGWINCH.
pub fn set_size(terminal: BorrowedFd<'_>, size: Size) -> Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size).call(|| format!("ioctl({}, TIOCSWINSZ)", show(&terminal)))
}

/// Whether a descriptor is a terminal.
pub fn is_terminal(fd: BorrowedFd<'_>) -> bool {
    rustix::termios::isatty(fd)
}

/// Makes the terminal the controlling one of this session.
pub fn set_controlling(terminal: BorrowedFd<'_>) -> Result<()> {
    rustix::process::ioctl_tiocsctty(terminal).call(|| format!("ioctl({}, TIOCSCTTY)", show(&terminal)))
}

/// Line feeds leave as they are: what a program writes is what the other end reads.
pub fn clear_newline_translation(terminal: BorrowedFd<'_>) -> Result<()> {
    let mut modes = modes(terminal)?;
    modes.output_modes.remove(OutputModes::ONLCR);
    set_modes(terminal, &modes)
}

/// A terminal in raw mode, put back when dropped.
#[derive(Debug)]
pub struct Raw {
    terminal: OwnedFd,
    before: Saved,
}

/// Termios has no `Debug`.
struct Saved(Termios);

impl std::fmt::Debug for Saved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Termios")
    }
}

impl Raw {
    /// Switches a terminal to raw mode.
    pub fn new(terminal: BorrowedFd<'_>) -> Result<Self> {
        let before = modes(terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        set_modes(terminal, &raw)?;
        let terminal = terminal.try_clone_to_owned().call(|| "fcntl(F_DUPFD_CLOEXEC)".to_owned())?;
        Ok(Self { terminal, before: Saved(before) })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // The terminal may be gone by now; then there is nothing to put back.
        drop(set_modes(self.terminal.as_fd(), &self.before.0));
    }
}

fn modes(terminal: BorrowedFd<'_>) -> Result<Termios> {
    rustix::termios::tcgetattr(terminal).call(|| format!("tcgetattr({})", show(&terminal)))
}

fn set_modes(terminal: BorrowedFd<'_>, modes: &Termios) -> Result<()> {
    rustix::termios::tcsetattr(terminal, OptionalActions::Now, modes)
        .call(|| format!("tcsetattr({})", show(&terminal)))
}
