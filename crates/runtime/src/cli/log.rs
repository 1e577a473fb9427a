// SPDX-License-Identifier: Apache-2.0
//! `--log` and `--log-format`, in the shape of runc's logger, which its callers parse.
//!
//! ```text
//!  text   time="2026-11-21T10:00:00Z" level=error msg="container does not exist"
//!  json   {"level":"error","msg":"container does not exist","time":"2026-11-21T10:00:00Z"}
//! ```
//!
//! podman reads a log file as *one* JSON object, so without `--debug` nothing but a single error goes there.
#![expect(clippy::disallowed_methods, reason = "the log is the caller's")]

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::SystemTime;

use conex_spec::Timestamp;
use serde::Serialize;

use crate::{Error, Result, Wrap};

/// Where messages go.
#[derive(Debug, Default)]
pub struct Log {
    /// Standard error if there is none.
    pub file: Option<PathBuf>,
    pub json: bool,
    pub debug: bool,
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
        self.file
            .as_ref()
            .map_or(Ok(()), |path| open(path).map(drop).wrap(|| format!("open log {}", path.display())))
    }

    /// The one error of a run; it is on standard error as well, for those who read that.
    pub fn error(&self, error: &Error) {
        let message = error.to_string();
        self.write("error", &message);
        if self.file.is_some() {
            drop(writeln!(io::stderr(), "{message}"));
        }
    }

    /// What a person at a terminal wants to know.
    pub fn warning(&self, message: &str) {
        if self.file.is_none() || self.debug {
            self.write("warning", message);
        }
    }

    /// One line. Where even logging fails, there is nobody to tell.
    pub fn write(&self, level: &str, message: &str) {
        let time = Timestamp { nanoseconds: 0, ..SystemTime::now().into() }.to_string();
        let line = if self.json {
            serde_json::to_string(&Line { level, msg: message, time }).unwrap_or_default()
        } else {
            format!("time={time:?} level={level} msg={message:?}")
        };
        let line = line + "\n";
        drop(match &self.file {
            Some(path) => open(path).and_then(|mut file| file.write_all(line.as_bytes())),
            None => io::stderr().write_all(line.as_bytes()),
        });
    }
}

fn open(path: &PathBuf) -> io::Result<File> {
    File::options().append(true).create(true).mode(0o644).open(path)
}
