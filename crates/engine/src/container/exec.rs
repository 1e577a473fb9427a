// SPDX-License-Identifier: Apache-2.0
//! Another program in a running container. The runtime does it with our own stdio, from inside the user namespace of
//! the container's monitor.

use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use conex_image::bundle;
use conex_spec::image::Platform;
use conex_spec::runtime::{Config, Process, User};
use conex_sys::signal::{CHLD, SignalFd};
use conex_sys::{process, socket};

use super::{Container, Record, State};
use crate::{Engine, Error, ErrorKind, Result, Wrap as _, json, name, runtime, userns};

/// What to run and how.
#[derive(Clone, Debug, Default)]
pub struct ExecOptions {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// `NAME=value`, over the container's.
    pub env: Vec<String>,
    /// In place of the container's.
    pub user: Option<String>,
    /// In place of the container's.
    pub cwd: Option<String>,
    /// `-t`
    pub terminal: bool,
    /// `-i`
    pub stdin: bool,
    /// `-d`
    pub detach: bool,
    /// All capabilities.
    pub privileged: bool,
}

/// What came of it.
#[derive(Debug)]
pub enum ExecEnd {
    /// The program's exit code, 128 + n after signal n. With `detach`, 0 at once.
    Exited(u8),
    /// The runtime could not start it, and has said so on our standard error.
    Refused(Error),
}

/// Runs a program in a container.
///
/// An ordinary user's process joins the container's user namespace and stays there.
pub fn exec(engine: &Engine, container: &Container, options: &ExecOptions) -> Result<ExecEnd> {
    let record = container.required_record()?;
    match container.state(&record, &engine.settings.run_root)? {
        State::Running => {}
        state => {
            let message = format!("container {} is not running: it is {}", record.name, state.word());
            return Err(Error::new(ErrorKind::State, message)
                .with_hint(format!("`conex start {}` starts it", record.name)));
        }
    }
    join(engine, container, &record)?;
    let process = build(engine, container, &record, options)?;
    let files = Files::new(container)?;
    json::write(&files.process, &process)?;
    let mut child = spawn(engine, container, &record, options, &files)?;
    let status =
        if options.detach { child.wait().wrap(|| "wait for the runtime")? } else { wait(&mut child)? };
    match files.failure().map(|words| runtime::failure(&words)) {
        Some(error) if options.detach => Err(error),
        Some(error) => Ok(ExecEnd::Refused(error)),
        None => {
            let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
            Ok(ExecEnd::Exited(u8::try_from(code).unwrap_or(u8::MAX)))
        }
    }
}

/// The container's own process, with what is asked for otherwise.
fn build(engine: &Engine, container: &Container, record: &Record, options: &ExecOptions) -> Result<Process> {
    let config: Option<Config> = json::read(&container.path.join("config.json"))?;
    let mut process = config.and_then(|config| config.process).unwrap_or_default();
    process.terminal = options.terminal;
    process.args.clone_from(&options.command);
    for pair in &options.env {
        let name = pair.split_once('=').map_or(pair.as_str(), |(name, _)| name);
        process.env.retain(|known| known.split_once('=').is_none_or(|(known, _)| known != name));
        process.env.push(pair.clone());
    }
    if let Some(cwd) = &options.cwd {
        process.cwd.clone_from(cwd);
    }
    if let Some(user) = &options.user {
        set_user(engine, container, record, &mut process, user)?;
    }
    if let (true, Some(sets)) = (options.privileged, &mut process.capabilities) {
        let all = conex_sys::credentials::CAPABILITY_NAMES.map(str::to_owned).to_vec();
        (sets.bounding, sets.effective, sets.permitted) = (all.clone(), all.clone(), all);
    }
    Ok(process)
}

/// Looks the name up in the container's files as they are now: its writable layer over its image's.
fn set_user(
    engine: &Engine,
    container: &Container,
    record: &Record,
    process: &mut Process,
    user: &str,
) -> Result<()> {
    let store = engine.store()?;
    let mut layers = store.snapshot(&store.image(&record.manifest, &Platform::host())?)?;
    layers.lower.insert(0, container.path.join("upper"));
    let found = bundle::lookup_user(user, &layers)?;
    process.user =
        User { uid: found.uid, gid: found.gid, additional_gids: found.additional_gids, ..User::default() };
    if let Some(sets) = &mut process.capabilities {
        let held = if found.uid == 0 { sets.bounding.clone() } else { Vec::new() };
        (sets.effective, sets.permitted) = (held.clone(), held);
    }
    if let Some(home) = found.home {
        process.env.retain(|pair| !pair.starts_with("HOME="));
        process.env.push(format!("HOME={home}"));
    }
    Ok(())
}

/// Into the user namespace of the monitor, or where that was killed, of the process itself.
fn join(engine: &Engine, container: &Container, record: &Record) -> Result<()> {
    // A monitor that is just dying, or that nobody has reaped, has no namespaces any more.
    if container.monitor()?.is_some_and(|(pid, _)| userns::join(pid).is_ok()) {
        return Ok(());
    }
    let process = engine.runtime_of(record).status(&container.id)?;
    process.map_or(Ok(()), |(_, pid)| userns::join(pid))
}

/// What the runtime reads and where it says why it failed; gone at the end.
struct Files {
    process: PathBuf,
    log: PathBuf,
}

impl Files {
    fn new(container: &Container) -> Result<Self> {
        let tag = name::random::<8>()?.map(|byte| format!("{byte:02x}")).concat();
        let path = |end: &str| container.path.join(format!("exec-{tag}.{end}"));
        Ok(Self { process: path("json"), log: path("log") })
    }

    /// The runtime's own words, where it failed rather than the program.
    fn failure(&self) -> Option<String> {
        let words = fs::read_to_string(&self.log).unwrap_or_default();
        let is_error =
            |line: &&str| line.contains("\"level\":\"error\"") || line.contains("\"level\": \"error\"");
        words.lines().rfind(is_error).map(str::to_owned)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for path in [&self.process, &self.log] {
            // What stays goes with the container.
            let _never_made = fs::remove_file(path);
        }
    }
}

fn spawn(
    engine: &Engine,
    container: &Container,
    record: &Record,
    options: &ExecOptions,
    files: &Files,
) -> Result<Child> {
    let runtime = engine.runtime_of(record);
    let mut command = Command::new(&runtime.program);
    command.arg("--root").arg(&runtime.root).arg("--log").arg(&files.log).args([
        "--log-format",
        "json",
        "exec",
    ]);
    command
        .arg("--process")
        .arg(&files.process)
        .args(options.detach.then_some("--detach"))
        .arg(&container.id);
    if !options.stdin {
        command.stdin(Stdio::null());
    }
    if options.detach {
        command.stdout(Stdio::null()).stderr(Stdio::null());
    }
    command.spawn().map_err(|error| runtime::unusable(&runtime.program, &error))
}

const SIGINT: i32 = 2;
const SIGQUIT: i32 = 3;

/// Waits for the runtime. What a terminal sends, it has got itself; the rest is passed on.
fn wait(child: &mut Child) -> Result<std::process::ExitStatus> {
    let signals = SignalFd::all()?;
    let pidfd = process::open(child.id().cast_signed())?;
    loop {
        let ready = socket::wait_readable(&[pidfd.as_fd(), signals.as_fd()], None)?;
        while let Some(signal) = signals.next()? {
            if ![SIGINT, SIGQUIT, CHLD].contains(&signal) {
                // It may have ended just now; its status is taken below.
                let _ended = process::send_signal(pidfd.as_fd(), signal);
            }
        }
        if ready.is_some_and(|ready| ready[0]) {
            return child.wait().wrap(|| "wait for the runtime");
        }
    }
}
