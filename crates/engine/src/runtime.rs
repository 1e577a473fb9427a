// SPDX-License-Identifier: Apache-2.0
//! The border to an OCI runtime. It is known by its argument vector, its bundle, its state JSON and its exit status,
//! and by nothing else, so that runc and crun can be put in its place.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use conex_spec::runtime::{State, Status};
use conex_sys::process;

use crate::{Error, ErrorKind, Result, Wrap as _};

/// A runtime program and the directory where it keeps its state.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// The program.
    pub program: PathBuf,
    /// `--root`
    pub root: PathBuf,
}

impl Runtime {
    /// What the runtime knows of a container; `None` where it knows none of that id, or one without a process.
    pub fn status(&self, id: &str) -> Result<Option<(Status, i32)>> {
        let output = self.output(&mut self.command(&["state", id]))?;
        if !output.status.success() {
            return Ok(None);
        }
        let state: State = serde_json::from_slice(&output.stdout)
            .wrap(|| format!("{} state {id}", self.program.display()))?;
        Ok(match (state.status, state.pid) {
            (Status::Stopped, _) | (_, None | Some(0)) => None,
            (status, Some(pid)) => Some((status, pid)),
        })
    }

    /// Whether the runtime keeps a state for a container, with or without a process.
    pub fn knows(&self, id: &str) -> Result<bool> {
        Ok(self.output(&mut self.command(&["state", id]))?.status.success())
    }

    /// Waits until a container's process has ended; `false` after `timeout`.
    pub fn wait_for_end(&self, id: &str, timeout: Duration) -> Result<bool> {
        let Some((_, pid)) = self.status(id)? else { return Ok(true) };
        let Ok(pidfd) = process::open(pid) else { return Ok(true) };
        // Looked at again after the pidfd was opened: the pid is not another's.
        if self.status(id)?.is_none_or(|(_, now)| now != pid) {
            return Ok(true);
        }
        let timeout = u32::try_from(timeout.as_millis()).ok();
        Ok(process::wait_for_end(pidfd.as_fd(), timeout)?)
    }

    /// A command line: global arguments, then these.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(&self.root).args(arguments);
        command
    }

    /// Runs a command to its end, without input.
    pub fn output(&self, command: &mut Command) -> Result<Output> {
        let output = command.stdin(Stdio::null()).output();
        output.map_err(|error| unusable(&self.program, &error))
    }

    /// Runs a command that says nothing when it succeeds.
    pub fn check(&self, command: &mut Command) -> Result<()> {
        let output = self.output(command)?;
        if output.status.success() {
            return Ok(());
        }
        Err(failure(&String::from_utf8_lossy(&output.stderr)))
    }
}

/// The runtime program could not be executed.
pub fn unusable(program: &Path, error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Os, format!("execute {}: {error}", program.display())).with_hint(
        "conex-runtime belongs beside the conex program or on PATH; --runtime PATH names another one",
    )
}

/// What a runtime's words on stderr mean. The strings are runc's; docker and podman match the same ones.
pub fn failure(words: &str) -> Error {
    let message = last_message(words);
    let lower = message.to_lowercase();
    let has = |needles: &[&str]| needles.iter().any(|needle| lower.contains(needle));
    let in_command = has(&["exec", "execve", "start"]);
    let kind = if has(&["executable file not found"]) || (in_command && has(&["no such file or directory"])) {
        ErrorKind::CommandNotFound
    } else if in_command
        && has(&["permission denied", "is a directory", "exec format error", "not a directory"])
    {
        ErrorKind::CommandNotExecutable
    } else if has(&["does not exist"]) {
        ErrorKind::NotFound
    } else if has(&["not running", "no such process", "already finished"]) {
        ErrorKind::State
    } else {
        ErrorKind::Runtime
    };
    Error::new(kind, message)
}

/// The message of the last line: JSON (`--log-format json`), logrus text (`… level=error msg="…"`), or plain words.
fn last_message(words: &str) -> String {
    let line = words.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("no word about why");
    if let Ok(entry) = serde_json::from_str::<serde_json::Value>(line)
        && let Some(message) = entry["msg"].as_str()
    {
        return message.to_owned();
    }
    let quoted = line.split_once(" msg=\"").and_then(|(_, rest)| rest.strip_suffix('"'));
    quoted.map(|text| text.replace("\\\"", "\"")).unwrap_or_else(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_every_runtime_are_understood() {
        for (words, kind, message) in [
            (
                "time=\"2026-11-21T11:00:00Z\" level=error msg=\"exec: \\\"frob\\\": executable file not found in $PATH\"",
                ErrorKind::CommandNotFound,
                "exec: \"frob\": executable file not found in $PATH",
            ),
            (
                r#"{"level":"error","msg":"exec /etc/passwd: permission denied","time":"2026-11-21T11:00:00Z"}"#,
                ErrorKind::CommandNotExecutable,
                "exec /etc/passwd: permission denied",
            ),
            ("ERRO container does not exist\n\n", ErrorKind::NotFound, "ERRO container does not exist"),
            ("container not running", ErrorKind::State, "container not running"),
            ("", ErrorKind::Runtime, "no word about why"),
        ] {
            let error = failure(words);
            assert_eq!((error.kind(), error.to_string().as_str()), (kind, message));
        }
    }
}
