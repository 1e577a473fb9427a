// SPDX-License-Identifier: Apache-2.0
//! `exec`: another process in a running container.
//!
//! It joins the namespaces of the container's first process through that one's pidfd, all at once, and then walks a
//! plan of its own: the steps of a container's process without those that make a container.
#![expect(clippy::disallowed_methods, reason = "procfs is the host's")]

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use conex_spec::runtime::{Config, NamespaceKind, Process, Status, User};
use conex_sys::namespace;
use conex_sys::{Errno, file, process, signal, socket};

use crate::cgroup::{Cgroup, Entrance, Layout};
use crate::cli::Runtime;
use crate::container::Container;
use crate::foreground::Foreground;
use crate::init::{self, Inherited};
use crate::launch::{self, Birth, Join, Place};
use crate::plan::{AfterClone, BeforeClone, Plan, Question, Request, Step, plan_exec};
use crate::sync::{Channel, Message};
use crate::trace::Trace;
use crate::{Error, ErrorKind, Result, Wrap, agent, bundle, console, create, resctrl};

/// What `exec` is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    /// Instead of `args` and what else describes the process.
    pub process: Option<PathBuf>,
    pub args: Vec<String>,
    pub cwd: Option<String>,
    pub env: Vec<String>,
    pub terminal: bool,
    pub user: Option<(u32, Option<u32>)>,
    pub additional_gids: Vec<u32>,
    pub process_label: Option<String>,
    pub apparmor: Option<String>,
    pub no_new_privileges: bool,
    pub capabilities: Vec<String>,
    pub detach: bool,
    pub console_socket: Option<PathBuf>,
    pub pidfd_socket: Option<PathBuf>,
    pub pid_file: Option<PathBuf>,
    pub preserve_fds: u32,
    pub sockets: u32,
    /// `path`, or `controller,controller:path`.
    pub cgroup: Vec<String>,
    pub ignore_paused: bool,
    pub trace: Trace,
}

/// `uid` or `uid:gid`, whole numbers and nothing else: a partial read must never end as 0.
pub fn parse_user(text: &str) -> Result<(u32, Option<u32>)> {
    match text.split_once(':') {
        Some((uid, gid)) => Ok((parse_id(uid)?, Some(parse_id(gid)?))),
        None => Ok((parse_id(text)?, None)),
    }
}

/// One id.
pub(crate) fn parse_id(text: &str) -> Result<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { text.parse::<u32>().ok().filter(|number| *number != u32::MAX) } else { None };
    number.ok_or_else(|| Error::new(ErrorKind::Usage, format!("{text:?} is not a user or group id")))
}

/// The verb. Returns the status to exit with.
pub(crate) fn exec(runtime: &Runtime, id: &str, entry: &Entry) -> Result<i32> {
    let container = Container::open(&runtime.root, id)?;
    let state = |what: &str| Err(Error::new(ErrorKind::State, what));
    match container.status()? {
        // Its init may still see the host's root: whoever came in now would be there, and not in the container.
        Status::Creating => return state("cannot exec in a container that is still being created"),
        Status::Stopped => return state("cannot exec in a stopped container"),
        Status::Paused if !entry.ignore_paused => {
            return state("cannot exec in a paused container (use --ignore-paused to override)");
        }
        _ => {}
    }
    let config = container.config()?;
    let process = process_of(&config, entry)?;
    check_terminal(&process, entry)?;
    let foreground = if entry.detach { None } else { Some(Foreground::new()?) };
    let request = Request {
        id: id.to_owned(),
        bundle: container.record.bundle().to_owned(),
        preserve_fds: entry.preserve_fds,
        sockets: entry.sockets,
        ..Request::default()
    };
    let host = entry.trace.span("look at the host", || create::find_out(runtime, Layout::default()))?;
    let plan = plan_exec(&config, &process, &request, &host)?;
    runtime.warn(&plan.warnings);
    let (child, console) = enter(&container, &config, &plan, entry).map_err(|error| {
        // It can end at any moment; then that is the reason, whatever call met it.
        if has_ended(&container, &error) { error.wrap("container not running") } else { error }
    })?;
    let Some(foreground) = foreground else { return Ok(0) };
    Ok(entry.trace.span("wait for the end", || foreground.wait(&child, console))?.code())
}

/// Whether the container's end is what the error comes from. While its init is ending, its namespaces are gone (ESRCH)
/// or take in nobody any more (ENOMEM): then it is soon over.
fn has_ended(container: &Container, error: &Error) -> bool {
    const SOON_MS: u32 = 1000;
    let Ok(init) = container.init() else { return false };
    let ending = matches!(error.errno(), Some(Errno::SRCH | Errno::NOMEM));
    init.is_none_or(|init| ending && process::wait_for_end(init.as_fd(), Some(SOON_MS)).unwrap_or(false))
}

/// The process of a file, or the container's own with other words.
fn process_of(config: &Config, entry: &Entry) -> Result<Process> {
    if let Some(path) = &entry.process {
        return bundle::load_process(&path.to_string_lossy());
    }
    if entry.args.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "exec args cannot be empty"));
    }
    let mut process = config.process.clone().unwrap_or_default();
    process.args.clone_from(&entry.args);
    process.terminal = entry.terminal;
    process.console_size = None;
    process.env.extend(entry.env.iter().cloned());
    process.no_new_privileges |= entry.no_new_privileges;
    if let Some(cwd) = &entry.cwd {
        process.cwd.clone_from(cwd);
    }
    if let Some((uid, gid)) = entry.user {
        process.user =
            User { uid, gid: gid.unwrap_or(process.user.gid), umask: process.user.umask, ..process.user };
    }
    process.user.additional_gids.extend(&entry.additional_gids);
    if let Some(label) = &entry.process_label {
        process.selinux_label.clone_from(label);
    }
    if let Some(profile) = &entry.apparmor {
        process.apparmor_profile.clone_from(profile);
    }
    let sets = process.capabilities.get_or_insert_default();
    for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
        set.extend(entry.capabilities.iter().cloned());
    }
    // Without an inheritable set none could be ambient; where there is one, what is in it is meant to go on.
    if !sets.inheritable.is_empty() {
        let inheritable = entry.capabilities.iter().filter(|name| sets.inheritable.contains(name));
        sets.ambient.extend(inheritable.cloned());
    }
    Ok(process)
}

fn check_terminal(process: &Process, entry: &Entry) -> Result<()> {
    let usage = |what: &str| Err(Error::new(ErrorKind::Usage, what));
    match (process.terminal && entry.detach, &entry.console_socket) {
        (true, None) => usage("cannot allocate tty if runc will detach without setting console socket"),
        (false, Some(_)) => usage("cannot use console socket if runc will not detach or allocate tty"),
        _ => Ok(()),
    }
}

fn enter(
    container: &Container,
    config: &Config,
    plan: &Plan,
    entry: &Entry,
) -> Result<(process::Child, Option<OwnedFd>)> {
    let target = container.init()?.ok_or_else(|| Error::new(ErrorKind::State, "container not running"))?;
    let cgroup = sub_cgroup(container, &entry.cgroup)?;
    let flags = namespaces_of(container, config)?;
    let (outside, inside) = console::ends(plan, entry.console_socket.as_deref())?;
    let inherited = Inherited {
        console: inside,
        entrance: match cgroup.directory_to_be_born_in() {
            Some(_) => Entrance::default(),
            None => cgroup.entrance().wrap(|| "cgroup")?,
        },
        clock: entry.trace.clock(),
        ..Inherited::entering(container, config, target.as_fd())?
    };
    let birth = Birth {
        join: Join::Process(target, flags),
        undumpable: true,
        keep: inherited.descriptors(),
        preserve: entry.preserve_fds,
        ..Birth::default()
    };
    for work in &plan.before_clone {
        if let BeforeClone::SetAffinity { cpus } = work {
            init::set_affinity(cpus).wrap(|| work)?;
        }
    }
    let body = |channel: &Channel| init::run(plan, &inherited, channel);
    // Somewhere else only if nobody has said where.
    let elsewhere = entry.cgroup.is_empty().then_some(container.record.init_process_pid);
    let rootless = container.record.rootless;
    let launched = entry
        .trace
        .span("clone in the container", || launch_inside(&birth, &cgroup, elsewhere, rootless, &body));
    let (child, channel) = launched?;
    let wrap = || "unable to start container process";
    if let Err(error) = raise(container, plan, entry, &child, &channel) {
        // It may be gone already, which is why there is an error.
        drop(process::send_signal(child.pidfd.as_fd(), signal::KILL));
        drop(process::wait(child.pidfd.as_fd()));
        return Err(error).wrap(wrap);
    }
    let console = outside.map(|socket| console::receive(socket.as_fd())).transpose()?;
    Ok((child, console))
}

/// Makes the process in the container's cgroup. In v2 that may be refused: where the container has made cgroups with
/// controllers inside of its own (then it goes to where `init` is), and to a user whose own cgroup is not below the same
/// systemd (then that is asked). v1 has no such birth: the process is moved.
fn launch_inside(
    birth: &Birth<'_>,
    cgroup: &Cgroup,
    init: Option<i32>,
    rootless: bool,
    body: &dyn Fn(&Channel) -> i32,
) -> Result<(process::Child, Channel)> {
    let Some(own) = cgroup.directory_to_be_born_in() else {
        return launch::launch(birth, Place::Inherited, body);
    };
    let into = |directory: &str| {
        let target = File::open(directory).wrap(|| format!("open cgroup {directory}"))?;
        launch::launch(birth, Place::Cgroup(target.as_fd()), body)
    };
    let refusal = match into(own) {
        Err(refusal) => refusal,
        born => return born,
    };
    match (refusal.errno(), init) {
        (Some(Errno::ACCESS | Errno::PERM), _) if cgroup.can_adopt() => {
            launch::launch(birth, Place::Adopted(&mut |stage| cgroup.adopt(stage)), body)
        }
        (Some(Errno::ACCESS | Errno::PERM), _) if rootless => launch::launch(birth, Place::Inherited, body),
        (Some(Errno::BUSY | Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP), Some(init)) => {
            match Layout::of_process(init)?.own_directories().get("") {
                Some(directory) if directory != own => into(directory),
                _ => Err(refusal),
            }
        }
        // Callers know the words.
        (Some(Errno::BUSY), None) => Err(refusal).wrap(|| "error adding pid of a new process to cgroups"),
        _ => Err(refusal),
    }
}

/// Cgroups below the container's: `path`, or `controller,controller:path` for some hierarchies of v1. Never one beside
/// it.
fn sub_cgroup(container: &Container, wanted: &[String]) -> Result<Cgroup> {
    let usage = |what: String| Err(Error::new(ErrorKind::Usage, what));
    let own = &container.record.cgroup_paths;
    let mut directories = own.clone();
    for word in wanted {
        let (controllers, path) = match word.split_once(':') {
            Some((names, path)) => (names.split(',').collect(), path),
            None => (own.keys().map(String::as_str).collect::<Vec<_>>(), word.as_str()),
        };
        if Path::new(path).components().any(|part| part == std::path::Component::ParentDir) {
            return usage(format!("--cgroup {word}: bad sub cgroup path: not below the container's cgroup"));
        }
        let below = path.trim_matches('/');
        for name in controllers {
            let Some(directory) = own.get(name) else {
                return usage(format!("--cgroup {word}: unknown controller {name}"));
            };
            let moved = if below.is_empty() { directory.clone() } else { format!("{directory}/{below}") };
            directories.insert(name.to_owned(), moved);
        }
    }
    Ok(Cgroup::open(directories).with(container.record.conex.unit.clone(), Vec::new()))
}

/// Those that the container does not share with the runtime.
pub(crate) fn namespaces_of(container: &Container, config: &Config) -> Result<u64> {
    let pid = container.record.init_process_pid;
    let differs = |kind: NamespaceKind| -> Result<bool> {
        let name = kind.proc_name();
        let theirs = std::fs::read_link(format!("/proc/{pid}/ns/{name}")).wrap(|| "container not running")?;
        Ok(theirs != std::fs::read_link(format!("/proc/self/ns/{name}"))?)
    };
    let mut flags = 0;
    for kind in NamespaceKind::ALL {
        if config.has_namespace(kind) && differs(kind)? {
            flags |= namespace::flags([launch::kind_of(kind)]);
        }
    }
    Ok(flags)
}

fn raise(
    container: &Container,
    plan: &Plan,
    entry: &Entry,
    child: &process::Child,
    channel: &Channel,
) -> Result<()> {
    for action in &plan.after_clone {
        match action {
            AfterClone::EnterResctrl => resctrl::enter(&container.record, child.pid)?,
            AfterClone::AdjustOomScore { value } => create::adjust_oom_score(child.pid, *value)?,
            _ => {}
        }
    }
    if let Some(socket) = &entry.pidfd_socket {
        let socket = socket::connect(socket)?;
        socket::send(socket.as_fd(), b"setns", Some(child.pidfd.as_fd()))?;
    }
    channel.tell(&Message::Go)?;
    loop {
        match channel.receive()? {
            Some(Message::Ready) => break,
            Some(Message::Ask(step)) => {
                if let Some(Step::Ask(Question::Rlimits { limits })) = plan.steps.get(step) {
                    create::raise_limits(child.pid, limits)?;
                }
                channel.tell(&Message::Done)?;
            }
            Some(Message::Listener(step, descriptor)) => {
                let state = container.state(Status::Running);
                agent::hand_over(plan, step, &descriptor, child.pid, state)?;
                channel.tell(&Message::Done)?;
            }
            Some(Message::Traced(step, span)) => entry.trace.told(plan, step, span),
            Some(Message::Failed(error)) => return Err(error),
            other => {
                return Err(Error::new(ErrorKind::Os, format!("unexpected end of the set-up: {other:?}")));
            }
        }
    }
    if let Some(path) = &entry.pid_file {
        file::replace_until_reboot(path, child.pid.to_string().as_bytes(), 0o644)
            .wrap(|| "write the pid file")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_two_whole_numbers_or_an_error() {
        assert_eq!(parse_user("1").unwrap(), (1, None));
        assert_eq!(parse_user("1000:0").unwrap(), (1000, Some(0)));
        for wrong in
            ["", ":", "1:", ":1", "root", "1x", "0x1", "+1", "-1", " 1", "4294967295", "4294967296", "1:2:3"]
        {
            parse_user(wrong).unwrap_err();
        }
    }
}
