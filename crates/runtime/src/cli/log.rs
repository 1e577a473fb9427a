// SPDX-License-Identifier: Apache-2.0
//! `--log`, `--log-format` and `--log-level`, in the shape of runc's logger, which its callers parse.
//!
//! ```text
//!  text      time="2026-11-21T10:00:00Z" level=error msg="container does not exist"
//!  json      {"level":"error","msg":"container does not exist","time":"2026-11-21T10:00:00Z"}
//!  journald  one datagram of fields, systemd.journal-fields(7)
//!  syslog    one datagram `<priority>identifier[pid]: message`, syslog(3)
//! ```
//!
//! podman reads a log file as *one* JSON object, so unless more is asked for nothing but a single error goes there.
#![expect(clippy::disallowed_methods, reason = "the log is the caller's")]

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::SystemTime;

use conex_spec::{Timestamp, json};
use serde::Serialize;

use super::grammar::usage;
use crate::{Error, Result, Wrap};

/// Where messages go, and which.
#[derive(Debug, Default)]
pub struct Log {
    pub to: Destination,
    pub json: bool,
    /// Without: warnings too at standard error, errors only elsewhere.
    pub level: Option<Level>,
}

/// What `--log` names; crun's prefixes.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Destination {
    #[default]
    StandardError,
    File(PathBuf),
    /// With the identifier under which the messages are found.
    Journald(String),
    Syslog(String),
}

/// How much of a message's weight it takes to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error,
    Warning,
    Debug,
}

impl Level {
    /// crun's words for `--log-level`.
    pub(super) fn parse(word: &str) -> Result<Self> {
        match word {
            "error" => Ok(Self::Error),
            "warning" => Ok(Self::Warning),
            "debug" => Ok(Self::Debug),
            other => Err(usage(format!("unknown log-level {other:?} (error, warning or debug)"))),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Debug => "debug",
        }
    }

    /// syslog(3).
    fn severity(self) -> u8 {
        match self {
            Self::Error => 3,
            Self::Warning => 4,
            Self::Debug => 7,
        }
    }
}

impl Destination {
    /// `[file:]PATH`, `journald:ID`, `syslog:ID`. An empty identifier is the program's name.
    pub(super) fn parse(word: &str, name: &str) -> Self {
        let or_name = |id: &str| if id.is_empty() { name.to_owned() } else { id.to_owned() };
        match word.split_once(':') {
            Some(("file", path)) => Self::File(path.into()),
            Some(("journald", id)) => Self::Journald(or_name(id)),
            Some(("syslog", id)) => Self::Syslog(or_name(id)),
            _ if word.is_empty() => Self::StandardError,
            _ => Self::File(word.into()),
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    level: &'a str,
    msg: &'a str,
    time: String,
}

impl Log {
    /// A log that cannot be written is an error at once, not when it is needed.
    pub fn check(&self) -> Result<()> {
        match &self.to {
            Destination::File(path) => open(path).map(drop).wrap(|| format!("open log {}", path.display())),
            _ => Ok(()),
        }
    }

    /// The one error of a run; it is on standard error as well, for those who read that.
    pub fn error(&self, error: &Error) {
        let message = error.to_string();
        self.write(Level::Error, &message);
        if self.to != Destination::StandardError {
            drop(writeln!(io::stderr(), "{message}"));
        }
    }

    /// Whether a message of this weight is written at all.
    pub fn takes(&self, level: Level) -> bool {
        let silent = if self.to == Destination::StandardError { Level::Warning } else { Level::Error };
        level <= self.level.unwrap_or(silent)
    }

    /// One message. Where even logging fails, there is nobody to tell.
    pub fn write(&self, level: Level, message: &str) {
        if !self.takes(level) {
            return;
        }
        drop(match &self.to {
            Destination::StandardError => io::stderr().write_all(self.line(level, message).as_bytes()),
            Destination::File(path) => {
                open(path).and_then(|mut file| file.write_all(self.line(level, message).as_bytes()))
            }
            Destination::Journald(id) => {
                send("/run/systemd/journal/socket", &journal_fields(id, level, message))
            }
            Destination::Syslog(id) => {
                // Facility 1: a user's program.
                let priority = 8 + level.severity();
                let text = format!("<{priority}>{id}[{}]: {message}", std::process::id());
                send("/dev/log", text.as_bytes())
            }
        });
    }

    fn line(&self, level: Level, message: &str) -> String {
        let level = level.name();
        let time = Timestamp { nanoseconds: 0, ..Timestamp::from(SystemTime::now()) }.to_string();
        if self.json {
            let line = Line { level, msg: message, time };
            json::write(&line).unwrap_or_default() + "\n"
        } else {
            format!("time={time:?} level={level} msg={message:?}\n")
        }
    }
}

/// The message has its length in front, so that it may have several lines.
fn journal_fields(id: &str, level: Level, message: &str) -> Vec<u8> {
    let severity = level.severity();
    let mut fields = format!("PRIORITY={severity}\nSYSLOG_IDENTIFIER={id}\nMESSAGE\n").into_bytes();
    fields.extend((message.len() as u64).to_le_bytes());
    fields.extend(message.as_bytes());
    fields.push(b'\n');
    fields
}

fn send(socket: &str, datagram: &[u8]) -> io::Result<()> {
    UnixDatagram::unbound()?.send_to(datagram, socket).map(drop)
}

fn open(path: &PathBuf) -> io::Result<File> {
    File::options().append(true).create(true).mode(0o644).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_known_by_its_prefix() {
        let parse = |word| Destination::parse(word, "crun");
        assert_eq!(parse("/var/log/a:b"), Destination::File("/var/log/a:b".into()));
        assert_eq!(parse("file:a:b"), Destination::File("a:b".into()));
        assert_eq!(parse("journald:web"), Destination::Journald("web".into()));
        assert_eq!(parse("syslog:"), Destination::Syslog("crun".into()));
        assert_eq!(parse(""), Destination::StandardError);
    }

    #[test]
    fn a_message_of_several_lines_stays_one_field() {
        let fields = journal_fields("web", Level::Error, "a\nMESSAGE=b");
        assert_eq!(fields, b"PRIORITY=3\nSYSLOG_IDENTIFIER=web\nMESSAGE\n\x0b\0\0\0\0\0\0\0a\nMESSAGE=b\n");
    }

    #[test]
    fn warnings_go_to_a_file_only_when_asked_for() {
        let log = |to: &str, level| Log { to: Destination::parse(to, ""), json: false, level };
        assert!(log("", None).takes(Level::Warning) && !log("", None).takes(Level::Debug));
        assert!(!log("a", None).takes(Level::Warning));
        assert!(log("a", Some(Level::Warning)).takes(Level::Warning));
        assert!(!log("", Some(Level::Error)).takes(Level::Warning));
    }
}
