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

use conex_spec::json;
use conex_spec::runtime::{Hook, State};
use conex_sys::{file, process, signal};

use crate::plan::HookMoment;
use crate::{Error, ErrorKind, Result, Wrap};

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Prestart,
    CreateRuntime,
    CreateContainer,
    StartContainer,
    Poststart,
    Poststop,
}

impl Moment {
    fn name(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::CreateContainer => "createContainer",
            Self::StartContainer => "startContainer",
            Self::Poststart => "poststart",
            Self::Poststop => "poststop",
        }
    }
}

impl From<HookMoment> for Moment {
    fn from(moment: HookMoment) -> Self {
        match moment {
            HookMoment::CreateContainer => Self::CreateContainer,
            HookMoment::StartContainer => Self::StartContainer,
        }
    }
}

/// Runs the hooks of one moment in order, until one fails.
pub(crate) fn run(moment: Moment, hooks: &[Hook], state: &State) -> Result<()> {
    outcomes(moment, hooks, state).collect()
}

/// Runs every poststop hook, whether or not one before has failed. The warnings.
pub(crate) fn run_poststop(hooks: &[Hook], state: &State) -> Vec<String> {
    let outcomes = outcomes(Moment::Poststop, hooks, state);
    outcomes.filter_map(std::result::Result::err).map(|error| error.to_string()).collect()
}

fn outcomes(moment: Moment, hooks: &[Hook], state: &State) -> impl Iterator<Item = Result<()>> {
    hooks.iter().enumerate().map(move |(index, hook)| {
        run_one(moment, hook, state)
            .wrap(|| format!("error running {} hook #{index}: {}", moment.name(), hook.path))
    })
}

fn run_one(moment: Moment, hook: &Hook, state: &State) -> Result<()> {
    let state = json::write(state).map_err(|error| Error::new(ErrorKind::Os, error.to_string()))?;
    let input = file::in_memory("state", state.as_bytes())?;
    let mut output = file::in_memory("output", b"")?;
    let mut command = Command::new(&hook.path);
    command.stdin(Stdio::from(input)).stdout(Stdio::from(output.try_clone()?));
    command.stderr(Stdio::from(output.try_clone()?));
    if let Some((name, rest)) = hook.args.split_first() {
        command.arg0(name).args(rest);
    }
    command.env_clear().envs(hook.env.iter().filter_map(|word| word.split_once('=')));
    // A group of its own: what a hook has started is killed with it when its time is over.
    command.process_group(0);
    if moment != Moment::Poststop {
        // With the runtime, whoever cares for the container's making is gone. Cleaning up is worth going on with.
        process::end_with_parent(&mut command);
    }
    let status = wait(&mut command, hook.timeout)?;
    if status.success() {
        return Ok(());
    }
    let ending = match status.signal() {
        Some(number) => format!("signal: {}", signal::description(number)),
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
            process::kill_group(child.id().cast_signed())?;
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
#[expect(clippy::disallowed_methods, reason = "files of the test's own")]
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
        run(Moment::Prestart, &[hook], &state()).unwrap();
    }

    #[test]
    fn a_failing_hook_says_what_it_printed() {
        let error = run(Moment::Prestart, &[shell("echo no luck >&2; exit 3")], &state());
        assert_eq!(
            error.unwrap_err().to_string(),
            "error running prestart hook #0: /bin/sh: exit status 3, output: no luck"
        );
        let error = run(Moment::Prestart, &[shell("kill -KILL $$")], &state()).unwrap_err();
        assert!(error.to_string().ends_with(": signal: killed, output: "), "{error}");
    }

    #[test]
    fn a_hook_that_does_not_end_is_killed() {
        let mut hook = shell("sleep 60 & echo $! > \"$PIDFILE\"; wait");
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        hook.timeout = Some(1);
        hook.env = vec![format!("PIDFILE={}", file.display()), "PATH=/bin:/usr/bin".into()];
        let error = run(Moment::Poststart, &[hook], &state()).unwrap_err();
        assert!(error.to_string().ends_with("timed out after 1 s, killed"), "{error}");
        let pid: i32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        // Whoever adopts it reaps it in his own time.
        if let Ok(sleeping) = process::open(pid) {
            assert!(
                process::wait_for_end(sleeping.as_fd(), Some(60_000)).unwrap(),
                "what it started lives on"
            );
        }
    }

    #[test]
    fn poststop_hooks_go_on_after_a_failure() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ran");
        let warnings = run_poststop(&[shell("exit 1"), shell(&format!(": > {}", file.display()))], &state());
        assert_eq!(warnings, ["error running poststop hook #0: /bin/sh: exit status 1, output: "]);
        assert!(file.exists());
    }
}
