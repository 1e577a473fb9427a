// SPDX-License-Identifier: Apache-2.0
//! Running a program to its end, with a time limit, and saying everything about it when it disappoints.
//!
//! Output goes to files, not pipes: a container that is left running holds its stdout open, and must neither
//! block the test nor die of a broken pipe.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a program may take that a test waits for, unless the test says otherwise.
pub const LIMIT: Duration = Duration::from_secs(120);

/// What a program did.
#[derive(Debug, Clone)]
pub struct Output {
    pub command: String,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// The exit code as a shell shows it: 128 + n after signal n.
    pub fn code(&self) -> i32 {
        self.status.code().or_else(|| self.status.signal().map(|n| 128 + n)).expect("exited or signalled")
    }

    /// Panics unless the program succeeded.
    #[track_caller]
    pub fn success(self) -> Self {
        self.exits(0)
    }

    /// Panics unless the program ended with this code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert!(self.code() == code, "expected exit code {code}\n{self}");
        self
    }

    /// Panics unless the program failed, by itself and with words.
    #[track_caller]
    pub fn fails(self) -> Self {
        assert!(!self.status.success(), "expected a failure\n{self}");
        assert!(self.status.signal().is_none() && !self.stderr.contains("panicked at"), "crashed\n{self}");
        assert!(!self.stderr.trim().is_empty(), "failed without a word\n{self}");
        self
    }

    /// Panics unless stdout has this text.
    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "expected {text:?} on stdout\n{self}");
        self
    }

    /// Panics unless stderr has this text.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "expected {text:?} on stderr\n{self}");
        self
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { command, status, stdout, stderr } = self;
        write!(f, "$ {command}\n{status}\n--- stdout\n{stdout}--- stderr\n{stderr}---")
    }
}

/// Runs a [`Command`] as tests want it.
pub trait Run {
    /// To its end, without input, within [`LIMIT`].
    fn run(&mut self) -> Output;
    /// To its end, with this input, within a limit; killed with its process group and panicking after that.
    fn run_with(&mut self, stdin: &[u8], limit: Duration) -> Output;
    /// In the background, killed when dropped.
    fn background(&mut self) -> Background;
}

impl Run for Command {
    #[track_caller]
    fn run(&mut self) -> Output {
        self.run_with(b"", LIMIT)
    }

    #[track_caller]
    fn run_with(&mut self, stdin: &[u8], limit: Duration) -> Output {
        let command = spelled(self);
        let (stdout, stderr) = (scratch(b""), scratch(b""));
        self.stdin(scratch(stdin));
        self.stdout(stdout.try_clone().expect("dup")).stderr(stderr.try_clone().expect("dup"));
        let mut child =
            self.process_group(0).spawn().unwrap_or_else(|error| panic!("cannot start {command}: {error}"));
        let ended = wait(&mut child, limit);
        let status = ended.unwrap_or_else(|| kill_group(&mut child));
        let output = Output { command, status, stdout: text(&stdout), stderr: text(&stderr) };
        assert!(ended.is_some(), "still running after {limit:?}\n{output}");
        output
    }

    #[track_caller]
    fn background(&mut self) -> Background {
        let command = spelled(self);
        let log = scratch(b"");
        self.stdin(Stdio::null());
        self.stdout(log.try_clone().expect("dup")).stderr(log.try_clone().expect("dup"));
        let child =
            self.process_group(0).spawn().unwrap_or_else(|error| panic!("cannot start {command}: {error}"));
        Background { command, child, log }
    }
}

/// A program that runs beside the test.
#[derive(Debug)]
pub struct Background {
    pub command: String,
    pub child: Child,
    log: File,
}

impl Background {
    /// Everything it has written so far.
    pub fn output(&self) -> String {
        text(&self.log)
    }

    /// Asks it to end, and makes sure that it does.
    pub fn stop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        if wait(&mut self.child, Duration::from_secs(10)).is_none() {
            kill_group(&mut self.child);
        }
    }

    /// Waits for it to end by itself.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        wait(&mut self.child, limit)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if wait(&mut self.child, Duration::ZERO).is_none() {
            self.stop();
        }
    }
}

/// Asks again and again until there is an answer or the limit has passed.
pub fn poll<T>(limit: Duration, mut question: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(answer) = question() {
            return Some(answer);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    poll(limit, || child.try_wait().expect("a child of ours can be waited for"))
}

fn kill_group(child: &mut Child) -> ExitStatus {
    let group = rustix::process::Pid::from_child(child);
    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    child.wait().expect("a child of ours can be waited for")
}

fn scratch(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(content).expect("write to a temporary file");
    file.rewind().expect("rewind");
    file
}

/// Reads through a second open description, so that the writers' offset stays where it is.
fn text(file: &File) -> String {
    use std::os::fd::AsRawFd;
    let mut bytes = Vec::new();
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    File::open(path).and_then(|mut again| again.read_to_end(&mut bytes)).expect("read a temporary file");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn spelled(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
