// SPDX-License-Identifier: Apache-2.0
//! runtime.md, "Create": everything is made, the program is not started.
//!
//! In order: the id is taken (directory, lock) → the plan → `state.json` says what will be made → the cgroup → the
//! process (`launch`) → `state.json` with its pid → id maps and the rest of `Plan::after_clone` → "go" → questions are
//! answered → "ready" → the fifo gets its public name, the pid file is written. If the runtime is killed on the way, its
//! init dies with it, and `delete --force` finds in `state.json` all there is to clean.
#![expect(clippy::disallowed_methods, reason = "procfs, sysfs and the state root are the host's")]

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use conex_spec::runtime::{Config, Hooks, NamespaceKind, Rlimit, Status};
use conex_sys::file::Access;
use conex_sys::idmap;
use conex_sys::process::{self, Child};
use conex_sys::procfs::Procfs;
use conex_sys::{Errno, credentials, file, sched, signal, socket};

use crate::cgroup::{self, Cgroup, Layout, Unit};
use crate::cli::{self, Runtime};
use crate::container::Container;
use crate::hooks::{self, Moment};
use crate::init::{self, Inherited, Way};
use crate::launch::{self, Birth, Join, Place};
use crate::plan::{AfterClone, Host, IdMaps, MapWriter, Plan, Question, Request, Step, plan};
use crate::resctrl::Resctrl;
use crate::sync::{Channel, Message};
use crate::trace::Trace;
use crate::{
    Error, ErrorKind, Result, Wrap, agent, bundle, console, delete, host_root, resctrl, sources, sysctl,
};

/// What `create` and `run` are asked for. All paths are absolute.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub id: String,
    pub bundle: PathBuf,
    /// A file in it.
    pub config: PathBuf,
    pub console_socket: Option<PathBuf>,
    pub pidfd_socket: Option<PathBuf>,
    pub pid_file: Option<PathBuf>,
    pub no_pivot: bool,
    pub no_new_keyring: bool,
    /// How many descriptors the container gets besides the standard three.
    pub preserve_fds: u32,
    /// How many of those are sockets to accept on, by the caller's LISTEN_FDS.
    pub sockets: u32,
    /// Nobody will be there to relay a terminal.
    pub detach: bool,
    pub begin: Begin,
    pub trace: Trace,
}

/// When the program begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Begin {
    /// With a byte through the fifo.
    #[default]
    WhenTold,
    /// As soon as all is made and recorded, if nobody has to do anything in between.
    AtOnce,
}

/// A container that waits for its start, or does not.
#[derive(Debug)]
pub(crate) struct Created {
    pub container: Container,
    pub child: Child,
    /// Of a terminal in the foreground.
    pub console: Option<OwnedFd>,
    pub hooks: Hooks,
    /// Without one it cannot be started.
    pub has_process: bool,
    /// There is nothing to start any more.
    pub has_begun: bool,
}

/// The verb.
pub(crate) fn create(runtime: &Runtime, options: &Options) -> Result<()> {
    create_container(runtime, &Options { detach: true, ..options.clone() }).map(drop)
}

/// Creates the container; if that fails, nothing of it is left.
pub(crate) fn create_container(runtime: &Runtime, options: &Options) -> Result<Created> {
    let bundle = options.bundle.to_string_lossy();
    // Hooks run with the bundle as their working directory.
    std::env::set_current_dir(&options.bundle).wrap(|| format!("bundle {bundle}"))?;
    let trace = &options.trace;
    let config = trace.span("read the configuration", || bundle::load(&bundle, &options.config))?;
    check_terminal(&config, options)?;
    let host = trace.span("look at the host", || find_out(runtime, hierarchies(runtime, &config)?))?;
    let plan = trace
        .span("plan", || plan(&config, &request(runtime, options), &host))
        .map_err(|error| bundle::not_to_be_had(error, &bundle, &options.config))?;
    runtime.warn(&plan.warnings);

    let mut container = Container::new(&runtime.root, &options.id)?;
    describe(&mut container, runtime, options, &config, &plan, &host);
    let made = container.save_config(&config).and_then(|()| container.save());
    let made = made.and_then(|()| trace.span("create", || make(runtime, options, &mut container, &plan)));
    match made {
        Ok((child, console)) => Ok(Created {
            has_begun: container.record.conex.begins_at_once,
            container,
            child,
            console,
            hooks: plan.hooks,
            has_process: config.process.is_some(),
        }),
        Err(error) => Err(undo(runtime, container, &plan.hooks, error)),
    }
}

/// A terminal needs somebody to hold its other end.
fn check_terminal(config: &Config, options: &Options) -> Result<()> {
    let terminal = config.process.as_ref().is_some_and(|process| process.terminal);
    let usage = |what: &str| Err(Error::new(ErrorKind::Usage, what));
    match (terminal && options.detach, &options.console_socket) {
        (true, None) => usage("cannot allocate tty if runc will detach without setting console socket"),
        (false, Some(_)) => usage("cannot use console socket if runc will not detach or allocate tty"),
        _ => Ok(()),
    }
}

pub(crate) fn request(runtime: &Runtime, options: &Options) -> Request {
    Request {
        id: options.id.clone(),
        bundle: options.bundle.to_string_lossy().into_owned(),
        no_pivot: options.no_pivot,
        no_new_keyring: options.no_new_keyring,
        preserve_fds: options.preserve_fds,
        cgroup_driver: runtime.cgroup_driver,
        sockets: options.sockets,
    }
}

/// Where cgroups are, if the container has to do with any.
fn hierarchies(runtime: &Runtime, config: &Config) -> Result<Layout> {
    let sees = config.mounts.iter().any(|mount| mount.kind == "cgroup");
    let is_in = runtime.cgroup_driver != cgroup::Driver::Disabled;
    if is_in || sees { Layout::detect() } else { Ok(Layout::default()) }
}

/// The facts of this host that a plan depends on.
pub(crate) fn find_out(runtime: &Runtime, cgroup: Layout) -> Result<Host> {
    let in_user_namespace = credentials::in_user_namespace();
    let euid = credentials::effective_user();
    let rootless = runtime.rootless.unwrap_or(euid != 0 || in_user_namespace);
    Ok(Host {
        rootless,
        euid,
        egid: credentials::effective_group(),
        in_user_namespace,
        cgroup,
        selinux: Path::new("/sys/fs/selinux/enforce").exists(),
        systemd: Path::new("/run/systemd/system").exists(),
        managers: if runtime.cgroup_driver == cgroup::Driver::Systemd {
            cli::managers(rootless)
        } else {
            Vec::new()
        },
        kcore: Path::new("/proc/kcore").exists(),
        last_capability: credentials::last_capability(),
        capabilities: credentials::permitted_capabilities()?,
    })
}

/// Everything that will be made, before the first of it is.
fn describe(
    container: &mut Container,
    runtime: &Runtime,
    options: &Options,
    config: &Config,
    plan: &Plan,
    host: &Host,
) {
    let record = &mut container.record;
    let annotations = config.annotations.iter().map(|(key, value)| format!("{key}={value}"));
    record.config.labels = annotations.collect();
    record.config.labels.insert(0, format!("bundle={}", options.bundle.display()));
    record.config.rootfs.clone_from(&plan.rootfs);
    record.config.rootless_euid = credentials::effective_user() != 0;
    record.rootless = runtime.rootless.unwrap_or(record.config.rootless_euid);
    record.cgroup_paths.clone_from(&plan.cgroup.directories);
    record.conex.unit = plan.cgroup.unit.as_ref().map(Unit::record);
    record.conex.begins_at_once = begins_at_once(options, config, plan);
    record.conex.cgroup_parents = cgroup::missing_parents(&plan.cgroup, &host.cgroup);
}

/// Nobody waits for the id of a process that must not run before it is known, and nobody watches the start (`start::watch`).
fn begins_at_once(options: &Options, config: &Config, plan: &Plan) -> bool {
    let is_watched = plan.start_is_watched() || credentials::effective_user() != 0;
    options.begin == Begin::AtOnce && options.pid_file.is_none() && config.process.is_some() && !is_watched
}

/// Callers know the words.
const DURING_INIT: &str = "error during container init";
const UNAPPLIED: &str = "unable to apply cgroup configuration";

fn make(
    runtime: &Runtime,
    options: &Options,
    container: &mut Container,
    plan: &Plan,
) -> Result<(Child, Option<OwnedFd>)> {
    if let Some(wanted) = &plan.resctrl {
        make_resctrl(container, wanted)?;
    }
    let trace = &options.trace;
    let cgroup = trace.span("cgroup", || Cgroup::create(&plan.cgroup)).wrap(|| UNAPPLIED)?;
    if plan.cgroup.unit.is_none() {
        own(container, &cgroup)?;
        warn_of_strays(runtime, plan, &cgroup);
    }
    let start = (!container.record.conex.begins_at_once).then(|| make_fifo(container)).transpose()?;
    let (console, inside) = console::ends(plan, options.console_socket.as_deref())?;
    let joins_user_namespace = plan.join.iter().any(|one| one.kind == NamespaceKind::User);
    let last_words = plan.start_is_watched().then(|| container.make_last_words()).transpose()?;
    let sources = sources::open_all(plan, trace)?;
    host_root::record(container, plan, &sources)?;
    let inherited = Inherited {
        start,
        last_words,
        console: inside,
        entrance: cgroup.entrance().wrap(|| UNAPPLIED)?,
        sources,
        proc: Procfs::of_host()?,
        state: container.state(Status::Creating),
        stays_dumpable: plan.id_maps.is_some() && credentials::effective_user() != 0,
        ignored: signal::ignored(),
        becomes_root: plan.id_maps.is_some() || joins_user_namespace,
        way: Way::Makes,
        clock: trace.clock(),
    };
    let join = plan.join.iter().map(|one| launch::open_namespace(&one.path, one.kind));
    let join = join.collect::<Result<Vec<_>>>()?;
    sysctl::check(plan, &join)?;
    let birth = Birth {
        create: plan.create.iter().copied().map(launch::kind_of).collect(),
        join: Join::Files(join),
        time_offsets: plan.time_offsets.clone(),
        undumpable: !inherited.stays_dumpable,
        keep: inherited.descriptors(),
        preserve: options.preserve_fds,
    };
    let mut scope = None;
    let mut start_unit = |stage: i32| {
        let made = Cgroup::start_unit(&plan.cgroup, stage).wrap(|| UNAPPLIED)?;
        own(container, scope.insert(made))
    };
    let place = match cgroup.clone_target() {
        Some(directory) => Place::Cgroup(directory),
        None if plan.cgroup.unit.is_some() => Place::Adopted(&mut start_unit),
        None => Place::Inherited,
    };
    let body = |channel: &Channel| init::run(plan, &inherited, channel);
    let (child, channel) = trace.span(plan.birth(), || launch::launch(&birth, place, body))?;
    let cgroup = scope.unwrap_or(cgroup);
    let wrap = || "unable to start container process";
    let raised =
        cgroup.close(&plan.cgroup).and_then(|()| raise(runtime, options, container, plan, &child, &channel));
    if let Err(error) = raised {
        return Err(explain(error, &cgroup, &child)).wrap(wrap);
    }
    let console = console.map(|socket| console::receive(socket.as_fd())).transpose()?;
    Ok((child, console))
}

/// With neither, only the first process is known.
fn warn_of_strays(runtime: &Runtime, plan: &Plan, cgroup: &Cgroup) {
    let has_pids = plan.create.contains(&NamespaceKind::Pid);
    if !has_pids && plan.cgroup.best_effort && cgroup.directories().is_empty() {
        runtime.warn(&[
            "a container without a cgroup and without a pid namespace of its own: Such configuration is \
                        strongly discouraged (as it is impossible to properly kill all container's processes)"
                .to_owned(),
        ]);
    }
}

/// From now on, whoever is in the cgroup is the container's.
fn own(container: &mut Container, cgroup: &Cgroup) -> Result<()> {
    container.record.cgroup_paths.clone_from(cgroup.directories());
    container.record.conex.owns_cgroup = true;
    container.save()
}

/// Recorded before it is made.
fn make_resctrl(container: &mut Container, wanted: &Resctrl) -> Result<()> {
    let root = resctrl::mount_point()?;
    wanted.locate(&root, &mut container.record)?;
    container.save()?;
    wanted.make(&root, &container.record)
}

/// From the birth of the process until it is ready.
fn raise(
    runtime: &Runtime,
    options: &Options,
    container: &mut Container,
    plan: &Plan,
    child: &Child,
    channel: &Channel,
) -> Result<()> {
    container.set_init(child.pid)?;
    for action in &plan.after_clone {
        let done = options.trace.span(action, || after_clone(action, plan, container, child.pid));
        done.wrap(|| action)?;
    }
    if let Some(socket) = &options.pidfd_socket {
        let socket = socket::connect(socket)?;
        socket::send(socket.as_fd(), b"standard", Some(child.pidfd.as_fd()))?;
    }
    channel.tell(&Message::Go).wrap(|| DURING_INIT)?;
    answer_until_ready(container, plan, child, channel, &options.trace)?;
    if !container.record.conex.begins_at_once {
        container.reveal_fifo()?;
    }
    if let Some(path) = &options.pid_file {
        file::replace_until_reboot(path, child.pid.to_string().as_bytes(), 0o644)
            .wrap(|| "write the pid file")?;
    }
    runtime.debug(|| format!("created {} as process {}", container.record.id, child.pid));
    Ok(())
}

fn answer_until_ready(
    container: &Container,
    plan: &Plan,
    child: &Child,
    channel: &Channel,
    trace: &Trace,
) -> Result<()> {
    loop {
        match channel.receive()? {
            Some(Message::Ready) => return Ok(()),
            Some(Message::Ask(step)) => {
                let question = match plan.steps.get(step) {
                    Some(Step::Ask(question)) => question,
                    _ => return Err(Error::new(ErrorKind::Os, format!("step {step} asks nothing"))),
                };
                let answer = trace.span(question, || answer(question, container, child))?;
                channel.tell(&answer)?;
            }
            Some(Message::Listener(step, descriptor)) => {
                let state = container.state(Status::Creating);
                agent::hand_over(plan, step, &descriptor, child.pid, state)?;
                channel.tell(&Message::Done)?;
            }
            Some(Message::Traced(step, span)) => trace.told(plan, step, span),
            Some(Message::Failed(error)) => return Err(error.wrap(DURING_INIT)),
            Some(other) => return Err(Error::new(ErrorKind::Os, format!("unexpected message {other:?}"))),
            None => return Err(Error::new(ErrorKind::Os, "container init died without a word")),
        }
    }
}

fn answer(question: &Question, container: &Container, child: &Child) -> Result<Message> {
    match question {
        Question::RuntimeHooks { prestart, create_runtime } => {
            let state = container.state(Status::Creating);
            hooks::run(Moment::Prestart, prestart, &state)?;
            hooks::run(Moment::CreateRuntime, create_runtime, &state)?;
        }
        Question::Rlimits { limits } => raise_limits(child.pid, limits)?,
        Question::OpenSource(wanted) => return sources::open_inside(child.pid, wanted).map(Message::Opened),
    }
    Ok(Message::Done)
}

/// Hard limits above the caller's own need the host's CAP_SYS_RESOURCE.
pub(crate) fn raise_limits(pid: i32, limits: &[Rlimit]) -> Result<()> {
    limits.iter().try_for_each(|limit| Ok(sched::set_limit_of(pid, &init::kernel_limit(limit))?))
}

/// How ready the kernel shall be to kill a process when memory runs out.
pub(crate) fn adjust_oom_score(pid: i32, value: i32) -> Result<()> {
    let path = format!("/proc/{pid}/oom_score_adj");
    std::fs::write(&path, value.to_string()).wrap(|| format!("write {path}"))
}

/// The fifo that `start` writes to. The new process gets it open, so that nobody but the container's owner needs any
/// right to the name; and both ends of it, so that nothing but a byte ends its waiting: it would also end with the
/// last writer, that is with a `start` that is killed, or a `state` that looks whether somebody waits.
fn make_fifo(container: &Container) -> Result<OwnedFd> {
    let path = container.hidden_fifo();
    file::make_fifo(&path, 0o600)?;
    let fifo = file::open(&path, Access::Both).wrap(|| "open the fifo")?;
    Ok(OwnedFd::from(fifo))
}

fn after_clone(action: &AfterClone, plan: &Plan, container: &Container, pid: i32) -> Result<()> {
    match action {
        AfterClone::EnterResctrl => resctrl::enter(&container.record, pid),
        AfterClone::WriteIdMaps => plan.id_maps.as_ref().map_or(Ok(()), |maps| write_id_maps(maps, pid)),
        AfterClone::AdjustOomScore { value } => adjust_oom_score(pid, *value),
        // It walks in by itself, if it was not born there, and then sees to its processors.
        AfterClone::EnterCgroup | AfterClone::SetAffinity { .. } | AfterClone::FreeAffinity => Ok(()),
        AfterClone::MoveNetDevice { host_name, name } => {
            // One that is joined may not be joined yet.
            let joined = plan.join.iter().find(|one| one.kind == NamespaceKind::Network);
            let path = joined.map_or_else(|| format!("/proc/{pid}/ns/net"), |one| one.path.clone());
            let (target, _) = launch::open_namespace(&path, NamespaceKind::Network)?;
            Ok(conex_sys::network::move_device(host_name, name, target.as_fd())?)
        }
    }
}

fn write_id_maps(maps: &IdMaps, pid: i32) -> Result<()> {
    let (users, groups) = (sources::ranges(&maps.uid), sources::ranges(&maps.gid));
    match maps.writer {
        MapWriter::Direct => idmap::write(pid, &users, &groups)?,
        MapWriter::Helpers => {
            idmap::write_by_helper(pid, idmap::Ids::Users, &users)?;
            idmap::write_by_helper(pid, idmap::Ids::Groups, &groups)?;
        }
    }
    Ok(())
}

/// Kills a process that did not become a container, and says so if the kernel was faster.
fn explain(error: Error, cgroup: &Cgroup, child: &Child) -> Error {
    // It may be gone already, which is why there is an error.
    drop(process::send_signal(child.pidfd.as_fd(), signal::KILL));
    drop(process::wait(child.pidfd.as_fd()));
    if cgroup.oom_kills() > 0 {
        return error.wrap("container init was OOM-killed (memory limit too low?)");
    }
    error
}

/// Takes back what was made. Should that fail as well, both errors are told.
fn undo(runtime: &Runtime, container: Container, hooks: &Hooks, error: Error) -> Error {
    match delete::destroy(runtime, container, hooks) {
        Ok(()) => error,
        Err(second) if second.errno() == Some(Errno::NOENT) => error,
        Err(second) => {
            let message = format!("{error} (and cleaning up: {second})");
            Error::received(error.kind(), message, error.errno().map_or(0, Errno::raw_os_error))
        }
    }
}
