// SPDX-License-Identifier: Apache-2.0
//! The hidden `monitor` verb: one small process that stays with a container from `create` to its end, so that nobody
//! else has to: it holds the other ends of its standard streams, writes its log, serves those who attach, and writes
//! down how it ended. It works with any runtime that has runc's command line.
//!
//! ```text
//!  conex ──► monitor ──► <runtime> create ──► container's init (orphaned by its runtime, so the monitor's child)
//!              │ ◄── "created" / what failed: --ready-fd
//!              │           stdin  ◄─┐
//!   clients ◄──┤ relay ◄── stdout ──┤ pipes, or the master of a pty from the console socket
//!   log     ◄──┘           stderr ──┘
//!  init ends ──► drain ──► exit file ──► clients told ──► <runtime> delete ──► gone
//! ```
//!
//! One thread, one poll loop, bounded buffers: who reads too slowly slows the container down, as a pipe would.
//! A container whose monitor is killed runs on; its output has no reader then (SIGPIPE), and no exit file appears.
//! Signals to the monitor are ignored: only the container's end ends it. Files and protocol: docs/formats/monitor.md.
#![expect(clippy::disallowed_methods, reason = "it never enters a container")]

mod arguments;
mod client;
mod log;
mod outcome;
mod relay;
mod runtime;
mod streams;

use std::io::Write;
use std::path::Path;

use conex_sys::process;
use conex_sys::signal::SignalFd;

pub use arguments::{Arguments, parse};

use crate::{Error, ErrorKind, Result, Wrap};
use outcome::MemoryWatch;
use relay::Relay;
use runtime::{Created, Runtime};

/// Runs until the container is gone. An error of `create` is told through `--ready-fd` as well.
pub fn run(arguments: &Arguments) -> Result<()> {
    let ready = ready_pipe(arguments)?;
    match monitor(arguments, ready) {
        Ok(()) => Ok(()),
        Err((error, None)) => Err(error),
        Err((error, Some(mut ready))) => {
            // If nobody listens any more, the exit status still tells.
            writeln!(ready, "{error}").ok();
            Err(error)
        }
    }
}

type Ready = Option<std::fs::File>;

/// The caller's descriptor is inherited and only known by number.
fn ready_pipe(arguments: &Arguments) -> Result<Ready> {
    let Some(number) = arguments.ready_fd else { return Ok(None) };
    let path = format!("/proc/self/fd/{number}");
    let opened = std::fs::OpenOptions::new().write(true).open(&path);
    opened.map(Some).wrap(|| format!("--ready-fd: open {path}"))
}

/// The error comes with the pipe if nothing has been told yet.
fn monitor(arguments: &Arguments, mut ready: Ready) -> std::result::Result<(), (Error, Ready)> {
    let (runtime, mut relay, created) = match prepare(arguments) {
        Ok(prepared) => prepared,
        Err(error) => {
            forget_socket(arguments);
            return Err((error, ready));
        }
    };
    if let Some(ready) = &mut ready {
        // A caller that is gone changes nothing: the container is there.
        ready.write_all(b"created\n").ok();
    }
    drop(ready);
    finish(arguments, &runtime, &mut relay, &created).map_err(|error| (error, None))
}

fn prepare(arguments: &Arguments) -> Result<(Runtime, Relay, Created)> {
    // A session of its own: no terminal of the caller's sends signals here. Who leads one already may not.
    process::new_session().ok();
    process::set_child_subreaper()?;
    process::close_on_exec_from(3)?;
    let signals = SignalFd::all()?;
    let mut relay = Relay::new(arguments, signals)?;
    let runtime = Runtime::new(arguments);
    let created = runtime.create(&mut relay)?;
    Ok((runtime, relay, created))
}

fn finish(arguments: &Arguments, runtime: &Runtime, relay: &mut Relay, created: &Created) -> Result<()> {
    let memory = MemoryWatch::new(created.pid);
    let exit = relay.run(created)?;
    relay.drain();
    outcome::write(Path::new(&arguments.exit_file), exit, memory.kills(exit))?;
    forget_socket(arguments);
    relay.tell(exit);
    let deleted = runtime.delete();
    relay.say_goodbye();
    deleted
}

/// Whoever comes now finds no monitor, rather than one that does not answer.
fn forget_socket(arguments: &Arguments) {
    if let Some(socket) = &arguments.attach_socket {
        std::fs::remove_file(socket).ok();
    }
}

/// A runtime that says nothing is no use.
fn failed(what: &str, words: &str) -> Error {
    let words = words.trim();
    let words = if words.is_empty() { "it gave no reason" } else { words };
    Error::new(ErrorKind::State, format!("{what}: {words}"))
}
