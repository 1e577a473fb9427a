// SPDX-License-Identifier: Apache-2.0
//! A runtime that stays with its container: signals are passed on, a terminal is relayed, the end is waited for.
//!
//! Without a terminal the container has this process's standard descriptors themselves, so there is nothing to copy.
//! One loop over descriptors: signals, the process, the terminal's two directions.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use conex_sys::process::{self, Child, Exit};
use conex_sys::signal::{self, SignalFd};
use conex_sys::tty::{self, Raw};
use conex_sys::{Errno, socket};

use crate::Result;

/// Made before the container, so that no signal is lost.
#[derive(Debug)]
pub(crate) struct Foreground {
    signals: SignalFd,
}

/// A relayed terminal.
struct Relay {
    master: std::fs::File,
    /// Puts the own terminal's mode back at the end.
    _raw: Option<Raw>,
    /// Standard input is at its end.
    input_ended: bool,
}

impl Foreground {
    /// From here on signals wait in a descriptor.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { signals: SignalFd::all()? })
    }

    /// Returns when the process has ended, with how.
    pub(crate) fn wait(&self, child: &Child, console: Option<OwnedFd>) -> Result<Exit> {
        let mut relay = console.map(Relay::new).transpose()?;
        loop {
            let stdin = io::stdin();
            let mut fds = vec![child.pidfd.as_fd(), self.signals.as_fd()];
            if let Some(relay) = &relay {
                fds.push(relay.master.as_fd());
                if !relay.input_ended {
                    fds.push(stdin.as_fd());
                }
            }
            let ready = socket::wait_readable(&fds, None)?.unwrap_or_default();
            let is_ready = |index: usize| ready.get(index).copied().unwrap_or(false);
            if is_ready(1) {
                self.forward(child, relay.as_ref())?;
            }
            if let Some(relay) = &mut relay {
                if is_ready(3) {
                    relay.input()?;
                }
                if is_ready(2) && !relay.output()? {
                    // The last program has closed the terminal; only the process's end is left to wait for.
                    relay.input_ended = true;
                    process::wait_for_end(child.pidfd.as_fd(), None)?;
                    return Ok(process::wait(child.pidfd.as_fd())?);
                }
            }
            if is_ready(0) {
                if let Some(relay) = &mut relay {
                    relay.drain()?;
                }
                return Ok(process::wait(child.pidfd.as_fd())?);
            }
        }
    }

    fn forward(&self, child: &Child, relay: Option<&Relay>) -> Result<()> {
        while let Some(number) = self.signals.next()? {
            match (number, relay) {
                (signal::CHLD, _) => reap_orphans(child)?,
                (signal::WINCH, Some(relay)) => relay.resize(),
                _ => match process::send_signal(child.pidfd.as_fd(), number) {
                    Err(gone) if gone.errno() == Errno::SRCH => {}
                    outcome => outcome?,
                },
            }
        }
        Ok(())
    }
}

/// Orphans of the container end up here. The container's own process is left for the loop.
fn reap_orphans(child: &Child) -> Result<()> {
    while let Some(pid) = process::ended_child()? {
        if pid == child.pid {
            break;
        }
        process::reap(pid)?;
    }
    Ok(())
}

impl Relay {
    fn new(master: OwnedFd) -> Result<Self> {
        let stdin = io::stdin();
        let raw = if tty::is_terminal(stdin.as_fd()) { Some(Raw::new(stdin.as_fd())?) } else { None };
        let relay = Self { master: std::fs::File::from(master), _raw: raw, input_ended: false };
        relay.resize();
        Ok(relay)
    }

    /// A standard input that is no terminal has no size to pass on.
    fn resize(&self) {
        if let Ok(size) = tty::size(io::stdin().as_fd()) {
            // The container may have closed its end by now.
            drop(tty::set_size(self.master.as_fd(), size));
        }
    }

    fn input(&mut self) -> Result<()> {
        let mut buffer = [0; 4096];
        let length = io::stdin().read(&mut buffer)?;
        if length == 0 {
            self.input_ended = true;
            return Ok(());
        }
        Ok(self.master.write_all(&buffer[..length])?)
    }

    /// Copies what is there; `false` once all programs have closed the terminal (EIO on a master).
    fn output(&mut self) -> Result<bool> {
        let mut buffer = [0; 8192];
        let length = match self.master.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => return Ok(false),
            outcome => outcome?,
        };
        let mut stdout = io::stdout();
        stdout.write_all(&buffer[..length])?;
        stdout.flush()?;
        Ok(true)
    }

    /// What was written before the end.
    fn drain(&mut self) -> Result<()> {
        while socket::wait_readable(&[self.master.as_fd()], Some(0))?.is_some() {
            if !self.output()? {
                break;
            }
        }
        Ok(())
    }
}
