// SPDX-License-Identifier: Apache-2.0
//! The container's log, in the format that Kubernetes reads: one line of the file for each line of output.
//!
//! ```text
//!  2026-11-21T12:00:00.123456789Z stdout F a whole line
//!  2026-11-21T12:00:01.000000001Z stderr P the beginning of one, which a later line of the same stream goes on
//! ```

use std::fmt::Display;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::time::SystemTime;

use conex_spec::Timestamp;

use super::streams::Stream;
use crate::{Result, Wrap};

/// An open log.
pub(super) struct Log(File);

impl Log {
    pub(super) fn open(path: &str) -> Result<Self> {
        let file = File::options().append(true).create(true).mode(0o600).open(path);
        file.map(Self).wrap(|| format!("open log {path}"))
    }

    /// A full disk must not stop the container: what cannot be written is lost.
    pub(super) fn write(&mut self, stream: Stream, bytes: &[u8]) {
        self.0.write_all(&lines(&Timestamp::from(SystemTime::now()), stream, bytes)).ok();
    }
}

fn lines(time: &impl Display, stream: Stream, bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len() + 64);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let (tag, line) = match line.split_last() {
            Some((b'\n', line)) => ('F', line),
            _ => ('P', line),
        };
        text.extend_from_slice(format!("{time} {} {tag} ", stream.name()).as_bytes());
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_its_end_is_partial() {
        let text = lines(&"T", Stream::Stdout, b"one\n\ntw");
        assert_eq!(text, b"T stdout F one\nT stdout F \nT stdout P tw\n");
        assert_eq!(lines(&"T", Stream::Stderr, b"o\n"), b"T stderr F o\n");
        assert_eq!(lines(&"T", Stream::Stderr, b""), b"");
    }
}
