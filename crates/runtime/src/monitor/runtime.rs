// SPDX-License-Identifier: Apache-2.0
//! The runtime as a program: `create` and `delete`, by runc's command line.

use std::process::{Child, Command, Stdio};

use conex_sys::process::Exit;

use super::relay::Relay;
use super::{Arguments, failed};
use crate::{Error, ErrorKind, Result, Wrap};

/// How to call it.
pub(super) struct Runtime {
    program: String,
    global: Vec<String>,
    id: String,
    bundle: String,
    pid_file: String,
}

/// A container that waits for `start`.
pub(super) struct Created {
    /// Of its first process.
    pub pid: i32,
    /// If it has ended already.
    pub exit: Option<Exit>,
}

impl Runtime {
    pub(super) fn new(arguments: &Arguments) -> Self {
        let root = arguments.runtime_root.iter().flat_map(|root| ["--root".into(), root.clone()]);
        Self {
            program: arguments.runtime.clone(),
            global: root.chain(arguments.runtime_arguments.iter().cloned()).collect(),
            id: arguments.id.clone(),
            bundle: arguments.bundle.clone(),
            pid_file: arguments.pid_file.clone(),
        }
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.global).arg(verb);
        command
    }

    fn spawn(&self, command: &mut Command) -> Result<Child> {
        command.spawn().wrap(|| format!("run {}", self.program))
    }

    /// Waits until the container is created. The relay runs meanwhile: hooks may write more than a pipe holds.
    pub(super) fn create(&self, relay: &mut Relay) -> Result<Created> {
        let mut command = self.command("create");
        command.args(["--bundle", &self.bundle, "--pid-file", &self.pid_file]);
        if let Some(console) = relay.console_socket() {
            command.arg("--console-socket").arg(console);
        }
        let [stdin, stdout, stderr] = relay.ends_for_runtime();
        command.arg(&self.id).stdin(stdin).stdout(stdout).stderr(stderr);
        let child = self.spawn(&mut command)?;
        // Our copies of the ends go with the command.
        drop(command);
        let status = relay.run_until(child.id().cast_signed())?;
        if status != Exit::Code(0) {
            return Err(failed("create container", &relay.last_words()));
        }
        let pid = self.read_pid()?;
        Ok(Created { pid, exit: relay.ended(pid) })
    }

    fn read_pid(&self) -> Result<i32> {
        let text = std::fs::read_to_string(&self.pid_file).wrap(|| format!("read {}", self.pid_file))?;
        let pid = text.trim().parse().ok().filter(|pid| *pid > 1);
        pid.ok_or_else(|| Error::new(ErrorKind::State, format!("{}: {text:?} is no pid", self.pid_file)))
    }

    pub(super) fn delete(&self) -> Result<()> {
        let mut command = self.command("delete");
        command.arg(&self.id).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let output =
            self.spawn(&mut command)?.wait_with_output().wrap(|| format!("wait for {}", self.program))?;
        let words = String::from_utf8_lossy(&output.stderr);
        // Somebody else may have been faster.
        if output.status.success() || words.contains("does not exist") {
            return Ok(());
        }
        Err(failed("delete container", &words))
    }
}
