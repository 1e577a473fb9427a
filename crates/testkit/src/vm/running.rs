// SPDX-License-Identifier: Apache-2.0
//! A machine that runs: what its command says, how it ends, and what happens when the power goes.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Machine, share};
use crate::require::Requirement;
use crate::run::Output;

/// What stands between a stream and the exit status behind it.
const MARK: &[u8] = b"\0exit ";
/// How long between two looks at the streams.
const PAUSE: Duration = Duration::from_millis(30);

/// One of the command's two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// A machine that was booted. Dropped, it is off.
#[derive(Debug)]
pub struct Running {
    qemu: Child,
    files: tempfile::TempDir,
    streams: [Tail; 2],
    share: Option<PathBuf>,
    command: String,
    end: Instant,
    _turn: File,
}

/// What a command in a machine did.
#[derive(Debug, Clone)]
pub struct Ended {
    pub output: Output,
    /// What the kernel and process 1 said.
    pub console: String,
}

impl Running {
    pub(super) fn start(
        mut qemu: Command,
        files: tempfile::TempDir,
        machine: &Machine,
        command: String,
        turn: File,
    ) -> Requirement<Self> {
        let streams = [Tail::of(&files.path().join("stdout"))?, Tail::of(&files.path().join("stderr"))?];
        let qemu = qemu.spawn().map_err(|error| format!("cannot start QEMU: {error}"))?;
        let end = Instant::now() + machine.limit;
        Ok(Self { qemu, files, streams, share: machine.share.clone(), command, end, _turn: turn })
    }

    /// Waits for the command's end, showing what it says as it comes; an error when it does not end in time, or the
    /// machine ends first.
    pub fn end(mut self, mut see: impl FnMut(Stream, &[u8])) -> Result<Ended, String> {
        let status = loop {
            self.look(&mut see)?;
            match &self.streams {
                [Tail { status: Some(status), .. }, Tail { status: Some(_), .. }] => break *status,
                _ => sleep(PAUSE),
            }
        };
        self.turn_off();
        if let Some(share) = &self.share {
            share::bring_back(&self.files.path().join("result.tar"), share)?;
        }
        Ok(Ended { output: self.output(status), console: self.console() })
    }

    /// Waits until the command has said this on its stdout.
    pub fn until(&mut self, text: &str) -> Result<(), String> {
        while !self.streams[0].text().contains(text) {
            if self.streams[0].status.is_some() {
                return Err(self.disappointment(&format!("the command ended without {text:?}")));
            }
            self.look(|_, _| {})?;
            sleep(PAUSE);
        }
        Ok(())
    }

    /// Cuts the power: what the machine has not written to its disk is gone.
    pub fn power_cut(mut self) {
        self.turn_off();
    }

    /// Reads what is new; an error when nothing more can come.
    fn look(&mut self, mut see: impl FnMut(Stream, &[u8])) -> Result<(), String> {
        // Asked before the streams are read: what a dead machine said last is not missed.
        let dead = self.qemu.try_wait().map_err(|error| error.to_string())?;
        for (stream, tail) in [Stream::Stdout, Stream::Stderr].into_iter().zip(&mut self.streams) {
            see(stream, tail.more());
        }
        match dead {
            _ if self.streams.iter().all(|tail| tail.status.is_some()) => Ok(()),
            Some(status) => Err(self.disappointment(&format!("the machine ended ({status})"))),
            None if Instant::now() > self.end => Err(self.disappointment("out of time")),
            None => Ok(()),
        }
    }

    fn turn_off(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }

    fn output(&self, status: i32) -> Output {
        let [stdout, stderr] = self.streams.each_ref().map(Tail::text);
        Output { command: self.command.clone(), status: ExitStatus::from_raw(status << 8), stdout, stderr }
    }

    /// Control characters are the firmware's, which talks to a terminal.
    fn console(&self) -> String {
        let console = fs::read(self.files.path().join("console")).unwrap_or_default();
        String::from_utf8_lossy(&console).chars().filter(|c| *c == '\n' || !c.is_control()).collect()
    }

    fn disappointment(&self, what: &str) -> String {
        let [stdout, stderr] = self.streams.each_ref().map(Tail::text);
        let qemu = fs::read_to_string(self.files.path().join("qemu")).unwrap_or_default();
        format!(
            "{what}: {}\n--- stdout\n{stdout}--- stderr\n{stderr}--- console\n{}--- QEMU\n{qemu}---",
            self.command,
            self.console()
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.turn_off();
    }
}

/// A stream's file, read as it grows.
#[derive(Debug)]
struct Tail {
    file: File,
    /// Without the mark and what follows it.
    said: Vec<u8>,
    status: Option<i32>,
    /// A mark of which the rest has not come yet.
    rest: Vec<u8>,
}

impl Tail {
    fn of(path: &Path) -> Requirement<Self> {
        let made = File::create(path).and_then(|_| File::open(path)).map_err(|error| error.to_string())?;
        Ok(Self { file: made, said: Vec::new(), status: None, rest: Vec::new() })
    }

    /// What came since the last time, up to the mark.
    fn more(&mut self) -> &[u8] {
        let before = self.said.len();
        let mut new = std::mem::take(&mut self.rest);
        self.file.read_to_end(&mut new).expect("read a file of our own");
        if self.status.is_none() {
            let mark = (0..new.len()).find(|at| is_mark(&new[*at..]));
            self.rest = new.split_off(mark.unwrap_or(new.len()));
            self.status = status(&self.rest);
            self.said.extend_from_slice(&new);
        }
        &self.said[before..]
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.said).into_owned()
    }
}

/// Whether this is a mark, or the beginning of one.
fn is_mark(bytes: &[u8]) -> bool {
    MARK.iter().zip(bytes).all(|(expected, had)| expected == had)
}

/// The status behind a whole mark.
fn status(bytes: &[u8]) -> Option<i32> {
    let digits = bytes.strip_prefix(MARK)?;
    let line = &digits[..digits.iter().position(|byte| *byte == b'\n')?];
    std::str::from_utf8(line).ok()?.parse().ok()
}
