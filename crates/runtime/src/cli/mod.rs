// SPDX-License-Identifier: Apache-2.0
//! The command line: runc's grammar and words, with crun's extra flags. The only room that prints.
//!
//! What a verb does is in the file of its name; here are only arguments, output and exit statuses. Called by the name
//! `runc` or `crun`, the program has that tool's state directory and version line.

mod call;
mod flags;
mod grammar;
mod log;
mod pattern;
mod verbs;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub use log::{Level, Log};

use crate::cgroup::Driver;
use crate::dbus::Address;
use crate::{Error, ErrorKind, Result, Wrap};

/// What every verb knows of the call.
#[derive(Debug)]
pub struct Runtime {
    /// The name this program was called by: `runc`, `crun`, or its own.
    pub name: &'static str,
    /// Where containers are recorded.
    pub root: PathBuf,
    /// `--root` was given: it must exist for `list`.
    pub root_is_explicit: bool,
    /// `--rootless`; `None` is `auto`.
    pub rootless: Option<bool>,
    pub cgroup_driver: Driver,
    log: Log,
}

/// How `list` and `ps` answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Table,
    Json,
}

impl Runtime {
    /// Tells what is not an error.
    pub fn warn(&self, messages: &[String]) {
        messages.iter().for_each(|message| self.log.write(Level::Warning, message));
    }

    /// Tells what happens, with `--debug`.
    pub fn debug<S: AsRef<str>>(&self, message: impl FnOnce() -> S) {
        if self.log.takes(Level::Debug) {
            self.log.write(Level::Debug, message().as_ref());
        }
    }
}

/// The whole program: arguments in, exit status out.
pub fn main(arguments: Vec<OsString>) -> i32 {
    let name = called_as(arguments.first());
    match call::Call::parse(name, &arguments) {
        Ok(call) => {
            let failure_status = call.failure_status();
            call.run(&arguments).unwrap_or_else(|(log, error)| {
                log.error(&error);
                failure_status
            })
        }
        Err(error) => {
            // Wrong usage: the log's place may be what could not be read.
            Log::default().error(&error);
            // An unknown verb has a status of its own, but not crun's.
            if error.kind() == ErrorKind::NotFound && name != "crun" { 3 } else { 1 }
        }
    }
}

fn called_as(word: Option<&OsString>) -> &'static str {
    let file = word.and_then(|word| Path::new(word).file_name()).and_then(|name| name.to_str());
    match file {
        Some("runc") => "runc",
        Some("crun") => "crun",
        _ => "conex-runtime",
    }
}

/// `/run/<name>`, or in the user's own runtime directory for somebody without privilege on the host.
fn default_root(name: &str, rootless: Option<bool>) -> Result<PathBuf> {
    if !rootless.unwrap_or_else(is_ordinary_user) {
        return Ok(Path::new("/run").join(name));
    }
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty()) {
        Some(directory) => Ok(Path::new(&directory).join(name)),
        // runc's own way out where there is no session: better than a place that others own.
        None if conex_sys::credentials::effective_user() == 0 => Ok(Path::new("/run").join(name)),
        None => {
            let what = "XDG_RUNTIME_DIR is not set: set it to a directory of yours, or give --root DIR";
            Err(Error::new(ErrorKind::Usage, what))
        }
    }
}

/// Also as root of a user namespace, which is how rootless podman calls; `USER` tells that from the root of a system
/// container, as runc has it.
fn is_ordinary_user() -> bool {
    use conex_sys::credentials::{effective_user, in_user_namespace};
    let is = |name, value: &str| std::env::var_os(name).is_some_and(|word| word == value);
    effective_user() != 0
        || (std::env::var_os("XDG_RUNTIME_DIR").is_some() && !is("USER", "root") && in_user_namespace())
}

/// Where systemd may be reached, its own socket first: on that nobody stands in between. An address in the environment
/// that is not the usual one is meant.
pub(crate) fn managers(of_user: bool) -> Vec<Address> {
    let given = |name: &str| std::env::var(name).ok().filter(|list| !list.is_empty());
    let (run, usual, asked) = if of_user {
        let run = given("XDG_RUNTIME_DIR").unwrap_or_default();
        let bus = Address::Bus(format!("{run}/bus"));
        (run, bus, given("DBUS_SESSION_BUS_ADDRESS"))
    } else {
        let bus = Address::Bus("/run/dbus/system_bus_socket".into());
        ("/run".into(), bus, given("DBUS_SYSTEM_BUS_ADDRESS"))
    };
    match asked.map(|list| Address::parse(&list)) {
        Some(address) if address.as_ref() != Some(&usual) => address.into_iter().collect(),
        _ if run.is_empty() => Vec::new(),
        _ => vec![Address::Peer(format!("{run}/systemd/private")), usual],
    }
}

/// Prints to standard output; false if its reader has gone away, which is no error worth a word.
fn print(text: &str) -> Result<bool> {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        outcome => outcome.map(|()| true).wrap(|| "write to standard output"),
    }
}
