// SPDX-License-Identifier: Apache-2.0
//! config.md, "POSIX-platform Hooks": runs a hook with the container's state on its standard input.
//!
//! The state comes from a file in memory rather than a pipe, so a hook that does not read it blocks nobody.
//! What a hook prints is only shown if it fails.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};

use conex_spec::runtime::{Hook, State};
use conex_sys::{file, process, signal};

use crate::{Error, ErrorKind, Result, Wrap};

/// What a hook without `env` gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Environment {
    /// Nothing: hooks in the runtime's namespaces.
    Empty,
    /// The environment of the container's process: startContainer hooks.
    Inherited,
}

/// Runs the hooks of one moment in order, until one fails.
pub(crate) fn run(moment: &str, hooks: &[Hook], state: &State, environment: Environment) -> Result<()> {
    if hooks.is_empty() {
        return Ok(());
    }
    let state = serde_json::to_vec(state).map_err(|error| Error::new(ErrorKind::Os, error.to_string()))?;
    for (index, hook) in hooks.iter().enumerate() {
        run_one(hook, &state, environment).wrap(|| format!("{moment} hook #{index} ({})", hook.path))?;
    }
    Ok(())
}

fn run_one(hook: &Hook, state: &[u8], environment: Environment) -> Result<()> {
    let input = file::in_memory("state", state)?;
    let mut output = file::in_memory("output", b"")?;
    let mut command = Command::new(&hook.path);
    command.stdin(Stdio::from(input)).stdout(Stdio::from(output.try_clone()?));
    command.stderr(Stdio::from(output.try_clone()?));
    if let Some((name, rest)) = hook.args.split_first() {
        command.arg0(name).args(rest);
    }
    if environment == Environment::Empty || !hook.env.is_empty() {
        command.env_clear().envs(hook.env.iter().filter_map(|word| word.split_once('=')));
    }
    let status = wait(&mut command, hook.timeout)?;
    if status.success() {
        return Ok(());
    }
    let ending = match status.signal() {
        Some(number) => format!("signal: {number}"),
        None => format!("exit status {}", status.code().unwrap_or_default()),
    };
    let words = printed(&mut output);
    Err(Error::new(ErrorKind::Os, format!("{ending}, output: {}", words.trim())))
}

fn wait(command: &mut Command, timeout: Option<i64>) -> Result<ExitStatus> {
    let mut child = command.spawn()?;
    if let Some(seconds) = timeout {
        let pidfd = process::open(child.id().cast_signed())?;
        let limit = u32::try_from(seconds.saturating_mul(1000)).unwrap_or(u32::MAX);
        if !process::wait_for_end(pidfd.as_fd(), Some(limit))? {
            process::send_signal(pidfd.as_fd(), signal::KILL)?;
            child.wait()?;
            return Err(Error::new(ErrorKind::Os, format!("timed out after {seconds} s, killed")));
        }
    }
    Ok(child.wait()?)
}

/// At most 4 KiB of what the hook said.
fn printed(output: &mut File) -> String {
    let mut bytes = Vec::new();
    if output.rewind().is_ok() {
        // Nothing readable is as good as nothing said.
        drop(output.take(4096).read_to_end(&mut bytes));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use conex_spec::runtime::Status;

    fn state() -> State {
        State {
            oci_version: "1.3.0".into(),
            id: "c".into(),
            status: Status::Creating,
            pid: Some(1),
            bundle: "/b".into(),
            annotations: Default::default(),
        }
    }

    fn shell(script: &str) -> Hook {
        Hook {
            path: "/bin/sh".into(),
            args: vec!["sh".into(), "-c".into(), script.into()],
            ..Hook::default()
        }
    }

    #[test]
    fn a_hook_reads_the_state_and_its_own_environment_only() {
        let mut hook = shell("grep -q '\"status\":\"creating\"' && test \"$A\" = 1 && test -z \"$HOME\"");
        hook.env = vec!["A=1".into(), "PATH=/bin:/usr/bin".into()];
        run("prestart", &[hook], &state(), Environment::Empty).unwrap();
    }

    #[test]
    fn a_failing_hook_says_what_it_printed() {
        let error = run("prestart", &[shell("echo no luck >&2; exit 3")], &state(), Environment::Inherited);
        assert_eq!(
            error.unwrap_err().to_string(),
            "prestart hook #0 (/bin/sh): exit status 3, output: no luck"
        );
    }

    #[test]
    fn a_hook_that_does_not_end_is_killed() {
        let hook = Hook { timeout: Some(1), ..shell("exec sleep 60") };
        let error = run("poststop", &[hook], &state(), Environment::Inherited).unwrap_err();
        assert!(error.to_string().ends_with("timed out after 1 s, killed"), "{error}");
    }
}
