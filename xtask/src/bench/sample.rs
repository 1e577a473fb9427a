// SPDX-License-Identifier: Apache-2.0
//! One measurement: a program's wall and processor time and its peak resident set, by `conex-bill`.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::shell;

/// Who takes longer than this for what takes seconds at most, hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one run cost.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub wall: Duration,
    pub user: Duration,
    pub system: Duration,
    pub peak_rss_kib: u64,
    pub faults: u64,
}

/// Starts programs through `conex-bill`.
pub struct Bill {
    program: PathBuf,
}

/// A contestant: a name, and what it does in each round.
pub struct Contestant<'a> {
    pub name: &'static str,
    /// Who runs it, if not root.
    pub user: Option<u32>,
    /// Makes the command of a round; what it does beforehand is not measured.
    pub command: Box<dyn Fn(usize) -> Command + 'a>,
    /// Cleans up after a round, unmeasured.
    pub after: Box<dyn Fn(usize) + 'a>,
}

impl Bill {
    pub fn new(program: &Path) -> Self {
        Self { program: program.to_owned() }
    }

    /// Runs a command to its end; an error when it fails.
    pub fn measure(&self, command: &Command, user: Option<u32>) -> Result<Sample> {
        let scratch = tempfile::tempdir()?;
        let bill = scratch.path().join("bill");
        let mut measured = Command::new(&self.program);
        measured.arg(&bill).arg(command.get_program()).args(command.get_args()).env_clear();
        for (key, value) in command.get_envs() {
            measured.envs(value.map(|value| (key, value)));
        }
        if let Some(directory) = command.get_current_dir() {
            measured.current_dir(directory);
        }
        if let Some(user) = user {
            chown(scratch.path(), Some(user), Some(user))?;
            measured.uid(user).gid(user);
        }
        let output = output_in_time(measured)?;
        let line = std::fs::read_to_string(&bill).with_context(|| format!("{command:?}: {output:?}"))?;
        let figures: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [code, wall, user, system, peak_rss_kib, faults] = figures[..] else {
            anyhow::bail!("a bill of {line:?}")
        };
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(code == 0, "exit code {code}: {}", stderr.lines().last().unwrap_or_default());
        let us = Duration::from_micros;
        Ok(Sample {
            wall: Duration::from_nanos(wall),
            user: us(user),
            system: us(system),
            peak_rss_kib,
            faults,
        })
    }
}

/// As `Command::output`, but what hangs is killed, with all it has started.
fn output_in_time(mut command: Command) -> Result<Output> {
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn()?;
    let group = format!("-{}", child.id());
    let (done, watched) = mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        let hangs = watched.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout);
        if hangs {
            drop(shell::run(shell::program("kill").args(["-KILL", "--", &group])));
        }
        hangs
    });
    let output = child.wait_with_output();
    drop(done);
    ensure!(!watchdog.join().unwrap_or(false), "killed, for it took more than {PATIENCE:?}");
    Ok(output?)
}
