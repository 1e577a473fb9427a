// SPDX-License-Identifier: Apache-2.0
//! The console: a pseudo terminal from the container's own devpts.
//!
//! ```text
//!  init, inside                                       runtime, outside
//!  /dev/pts/ptmx ─► master ── SCM_RIGHTS ──────────►  --console-socket (its listener is the terminal emulator), or
//!  TIOCGPTPEER   ─► peer: 0, 1, 2, /dev/console       the runtime itself, for a container in the foreground
//! ```
//!
//! The message's bytes are the terminal's name, `/dev/pts/<n>`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use conex_sys::mount::{self, Extent};
use conex_sys::path::{self, FileType};
use conex_sys::tty::{self, Pty};
use conex_sys::{Errno, process, socket};

use crate::plan::{Plan, Step};
use crate::{Error, ErrorKind, Result, Wrap};

/// Where the master goes: `(stays here, given to init)`. With a console socket init sends it straight there.
pub(crate) fn ends(plan: &Plan, console_socket: Option<&Path>) -> Result<(Option<OwnedFd>, Option<OwnedFd>)> {
    if !plan.steps.iter().any(|step| matches!(step, Step::Console { .. })) {
        return Ok((None, None));
    }
    if let Some(path) = console_socket {
        return Ok((None, Some(socket::connect(path).wrap(|| "console socket")?)));
    }
    let (outside, inside) = socket::message_pair()?;
    Ok((Some(outside), Some(inside)))
}

/// In the container: opens the terminal, hands its master out, and makes it this session's.
pub(crate) fn open_inside(
    root: &path::Root,
    owner: u32,
    receiver: BorrowedFd<'_>,
    (columns, rows): (u16, u16),
    mount_console: bool,
) -> Result<()> {
    let pts = root.open_dir("/dev/pts")?;
    let pty = Pty::open_in(pts.as_fd())?;
    if (columns, rows) != (0, 0) {
        tty::set_size(pty.peer.as_fd(), tty::Size { rows, columns })?;
    }
    path::chown_user(&pty.peer, owner)?;
    if mount_console {
        cover_dev_console(root, &pty)?;
    }
    socket::send(receiver, format!("/dev/pts/{}", pty.number).as_bytes(), Some(pty.master.as_fd()))?;
    tty::set_controlling(pty.peer.as_fd())?;
    (0..3).try_for_each(|number| Ok(process::set_standard(number, pty.peer.as_fd())?))
}

/// A new file, or one that is there already; a symbolic link of the image is not followed.
fn cover_dev_console(root: &path::Root, pty: &Pty) -> Result<()> {
    let dev = root.open_dir("/dev")?;
    match dev.create_file("console", 0o620) {
        Err(error) if error.errno() != Errno::EXIST => return Err(error.into()),
        _ => {}
    }
    let target = dev.open_path("console")?;
    if FileType::from_raw_mode(path::stat(&target)?.st_mode) == FileType::Symlink {
        return Err(Error::new(ErrorKind::Os, "/dev/console of the container is a symbolic link"));
    }
    let peer = mount::clone(pty.peer.as_fd(), Path::new(""), Extent::One)?;
    Ok(mount::attach(peer.as_fd(), target.as_fd())?)
}

/// Outside: the master of the console, as the container has sent it.
pub(crate) fn receive(from: BorrowedFd<'_>) -> Result<OwnedFd> {
    let mut name = [0; 64];
    let (_, master) = socket::receive(from, &mut name)?;
    let master = master.ok_or_else(|| Error::new(ErrorKind::Os, "the container sent no console"))?;
    tty::clear_newline_translation(master.as_fd())?;
    Ok(master)
}
