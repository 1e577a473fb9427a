// SPDX-License-Identifier: Apache-2.0
//! Reading a container's log: `RFC3339Nano stdout|stderr F|P text`, one line each (docs/formats/monitor.md). `P` is a
//! piece of a line that goes on in the next entry of the same stream.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write};
use std::time::Duration;

use conex_spec::Timestamp;

use super::Container;
use crate::{Error, ErrorKind, Result, Wrap as _};

/// Which part of the log, and how.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogOptions {
    /// Go on until the container has ended.
    pub follow: bool,
    /// How much of the end.
    pub tail: Tail,
    /// Put the time before each line.
    pub timestamps: bool,
    /// Nothing older.
    pub since: Option<Timestamp>,
}

/// How many lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tail {
    /// All.
    #[default]
    All,
    /// The last so many.
    Lines(usize),
}

/// How long `follow` sleeps when there is nothing new.
const PAUSE: Duration = Duration::from_millis(100);

/// Writes the container's output to where it would have gone.
pub fn logs(
    container: &Container,
    options: LogOptions,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> Result<()> {
    container.required_record()?;
    let path = container.path.join("log");
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).wrap(|| format!("open {}", path.display())),
    };
    let mut skip = skipped(&path, options)?;
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    loop {
        // Looked at before reading: what is written after the end was seen is not missed.
        let ended = !options.follow || !container.is_monitored()?;
        while reader.read_until(b'\n', &mut line).wrap(|| format!("read {}", path.display()))? > 0 {
            if line.last() != Some(&b'\n') && !ended {
                break;
            }
            let entry = Entry::parse(&line).ok_or_else(|| broken(&path, &line))?;
            if options.since.is_none_or(|since| entry.time >= since) {
                if skip == 0 {
                    entry.write(options.timestamps, stdout, stderr)?;
                }
                skip = skip.saturating_sub(usize::from(entry.whole));
            }
            line.clear();
        }
        if ended {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
}

/// How many lines stand before the wanted tail.
fn skipped(path: &std::path::Path, options: LogOptions) -> Result<usize> {
    let Tail::Lines(wanted) = options.tail else { return Ok(0) };
    let file = File::open(path).wrap(|| format!("open {}", path.display()))?;
    let mut total: usize = 0;
    for line in BufReader::new(file).split(b'\n') {
        let line = line.wrap(|| format!("read {}", path.display()))?;
        let counts = Entry::parse(&line)
            .is_some_and(|entry| entry.whole && options.since.is_none_or(|since| entry.time >= since));
        total += usize::from(counts);
    }
    Ok(total.saturating_sub(wanted))
}

/// One entry of the log.
struct Entry<'a> {
    time: Timestamp,
    stderr: bool,
    /// Whether the line ends with it.
    whole: bool,
    text: &'a [u8],
}

impl<'a> Entry<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut fields = line.splitn(4, |&byte| byte == b' ');
        let time = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        let stderr = match fields.next()? {
            b"stdout" => false,
            b"stderr" => true,
            _ => return None,
        };
        let whole = match fields.next()? {
            b"F" => true,
            b"P" => false,
            _ => return None,
        };
        Some(Self { time, stderr, whole, text: fields.next().unwrap_or_default() })
    }

    fn write(&self, timestamps: bool, stdout: &mut dyn Write, stderr: &mut dyn Write) -> Result<()> {
        let out: &mut dyn Write = if self.stderr { stderr } else { stdout };
        let mut bytes = Vec::with_capacity(self.text.len() + 40);
        if timestamps {
            bytes.extend_from_slice(format!("{} ", self.time).as_bytes());
        }
        bytes.extend_from_slice(self.text);
        bytes.extend_from_slice(if self.whole { b"\n" } else { b"" });
        out.write_all(&bytes).and_then(|()| out.flush()).wrap(|| "write")
    }
}

fn broken(path: &std::path::Path, line: &[u8]) -> Error {
    let start = String::from_utf8_lossy(&line[..line.len().min(60)]).into_owned();
    Error::new(ErrorKind::Invalid, format!("{}: {start:?} is not an entry of a log", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_the_monitor_writes_them() {
        let entry = Entry::parse(b"2026-11-21T11:00:00.5Z stderr F a b\n").unwrap();
        assert!(entry.stderr && entry.whole && entry.text == b"a b");
        let piece = Entry::parse(b"2026-11-21T11:00:00.5Z stdout P \n").unwrap();
        assert!(!piece.stderr && !piece.whole && piece.text.is_empty());
        for bad in
            [&b""[..], b"x stdout F y", b"2026-11-21T11:00:00Z stdin F y", b"2026-11-21T11:00:00Z stdout"]
        {
            assert!(Entry::parse(bad).is_none());
        }
    }
}
