// SPDX-License-Identifier: Apache-2.0
//! What the container's first process does between clone3 and execve: it walks the plan.
//!
//! It is a copy of the runtime, with one thread. Everything it needs was parsed, opened and allocated before the
//! clone; here are only system calls. *Who am I* at each moment:
//!
//! ```text
//!  begin            the namespaces are new, the ids not mapped yet; nothing that could outlive it is done until "go"
//!  … EnterRoot      the host's files are still reachable: sources are opened by path, targets through `Root` only
//!  … SetUser        root of the container, in its root filesystem
//!  … Execute        the container's user, with its capabilities and its seccomp filter
//! ```
//!
//! An error is sent to the parent as data, with the step's number and name. After "ready" nobody listens any more,
//! so it goes to standard error.

mod bare_mounts;
mod copy_up;
mod device;
mod hide;
mod identity;
mod mount;
mod program;
mod root;

use std::cell::Cell;
use std::ffi::CString;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use conex_spec::runtime::{Config, NamespaceKind, State, Status};
use conex_sys::namespace::{self, Kind};
use conex_sys::path::{Dir, Root};
use conex_sys::procfs::Procfs;
use conex_sys::{credentials, network, process, sched, seccomp, signal, socket};

use crate::cgroup::Entrance;
use crate::container::Container;
use crate::plan::{AfterClone, HookMoment, Plan, Question, SeccompStep, Step};
use crate::sync::{Channel, Message};
use crate::trace::{Clock, Span};
use crate::{Error, ErrorKind, Result, Wrap, console, hooks, host_root};

pub(crate) use identity::{kernel_limit, set_affinity};
pub(crate) use mount::since;

/// How a new process comes to the container's root.
#[derive(Debug)]
pub(crate) enum Way {
    /// By the steps that make it.
    Makes,
    /// The mount namespace that was joined has brought it.
    Joins,
    /// The container has no mount namespace: this is its root directory.
    Chroots(OwnedFd),
}

/// What the new process gets from the runtime: opened and parsed before the clone.
#[derive(Debug)]
pub(crate) struct Inherited {
    /// A byte comes out of it when the container is started. `exec` has none, nor has a `run` that stays: they start at once.
    pub(crate) start: Option<OwnedFd>,
    /// For an error after "ready", if `start` waits for one. Of others the standard error is the only place.
    pub(crate) last_words: Option<File>,
    /// Takes the master of the console.
    pub(crate) console: Option<OwnedFd>,
    /// To the cgroups that the process was not born in.
    pub(crate) entrance: Entrance,
    /// Results of `Plan::before_clone`, by position.
    pub(crate) sources: Vec<OwnedFd>,
    /// The host's procfs.
    pub(crate) proc: Procfs,
    /// For hooks that run in here.
    pub(crate) state: State,
    /// Whether the parent must be able to write this process's id maps and read its /proc files until "go".
    pub(crate) stays_dumpable: bool,
    /// What the runtime's caller has it ignore, and the program shall not.
    pub(crate) ignored: signal::Set,
    /// In a user namespace of the container: this process is nobody there until it becomes its root.
    pub(crate) becomes_root: bool,
    /// How it comes to the container's root.
    pub(crate) way: Way,
    /// With `--trace`: the parent is told what each step took.
    pub(crate) clock: Option<Clock>,
}

impl Inherited {
    /// For a process that enters a container which is there, in its cgroup or none, and does not wait for a start.
    pub(crate) fn entering(container: &Container, config: &Config, init: BorrowedFd<'_>) -> Result<Self> {
        Ok(Self {
            start: None,
            last_words: None,
            console: None,
            entrance: Entrance::default(),
            sources: Vec::new(),
            proc: Procfs::of_host()?,
            state: container.state(Status::Running),
            stays_dumpable: false,
            ignored: signal::ignored(),
            becomes_root: config.has_namespace(NamespaceKind::User),
            way: host_root::of(container, config, init)?.map_or(Way::Joins, Way::Chroots),
            clock: None,
        })
    }

    /// All that stays open in the new process.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let owned = self.sources.iter().chain(&self.start).chain(&self.console);
        owned
            .map(AsFd::as_fd)
            .chain(self.last_words.as_ref().map(AsFd::as_fd))
            .chain(self.entrance.descriptors())
            .chain([self.proc.as_fd()])
            .chain(match &self.way {
                Way::Chroots(root) => Some(root.as_fd()),
                _ => None,
            })
            .collect()
    }
}

/// What is found out while walking.
struct World<'a> {
    plan: &'a Plan,
    inherited: &'a Inherited,
    /// To the parent, until everything is ready.
    channel: Option<&'a Channel>,
    /// It was heard that the runtime is ready, too.
    may_go: Cell<bool>,
    /// The container's root filesystem, from `BindRoot` on.
    root: Option<Root>,
    /// What the parent has opened for the next mount.
    answered: Option<OwnedFd>,
    /// Where the last device node was made, or the last directory to mount on: the next one most often lies there too.
    directory: Option<(PathBuf, Dir)>,
    /// Of earlier steps, and of no more use: a row of them is closed at once.
    spent: Vec<OwnedFd>,
    program: Option<CString>,
    home: Option<String>,
    working_directory_refused: bool,
}

/// More is not kept open, for a process may be allowed few.
const MOST_SPENT: usize = 32;

/// Runs in the new process. Returns the exit status, if it returns at all.
pub(crate) fn run(plan: &Plan, inherited: &Inherited, channel: &Channel) -> i32 {
    let mut world = World {
        plan,
        inherited,
        channel: Some(channel),
        may_go: Cell::new(false),
        root: None,
        answered: None,
        directory: None,
        spent: Vec::new(),
        program: None,
        home: None,
        working_directory_refused: false,
    };
    let Err(error) = begin(&mut world).and_then(|()| walk(&mut world)) else { return 0 };
    // A socket that is closed with a word unheard resets its peer, which would not hear this one either.
    let told = world.channel.map(|channel| {
        drop(parent(&world));
        channel.send(&Message::Failed(copy_of(&error)))
    });
    if !matches!(told, Some(Ok(()))) {
        // Standard error is the container's own. Where even writing fails, nobody is left to tell.
        drop(match &inherited.last_words {
            Some(file) => write!(&*file, "{error}"),
            None => writeln!(std::io::stderr(), "{error}"),
        });
    }
    255
}

fn copy_of(error: &Error) -> Error {
    Error::received(error.kind(), error.to_string(), error.errno().map_or(0, conex_sys::Errno::raw_os_error))
}

/// Waits for the parent's word, and becomes a process that nobody in the container can look into.
fn begin(world: &mut World<'_>) -> Result<()> {
    process::set_parent_death_signal(Some(signal::KILL))?;
    if !world.inherited.stays_dumpable {
        process::set_undumpable()?;
    }
    process::new_session()?;
    enter_cgroups(world)?;
    if !world.plan.begins_alone() {
        parent(world)?;
    }
    if world.inherited.becomes_root {
        credentials::set_group(0)?;
        credentials::set_user(0)?;
        // The kernel forgets it when ids change.
        process::set_parent_death_signal(Some(signal::KILL))?;
    }
    if world.inherited.stays_dumpable || world.inherited.becomes_root {
        process::set_undumpable()?;
    }
    process::set_umask(0);
    if world.plan.create.contains(&NamespaceKind::Cgroup) {
        // Only now: the root of a cgroup namespace is the cgroup that its first process is in.
        namespace::unshare(Kind::Cgroup.flag())?;
    }
    if let Way::Chroots(root) = &world.inherited.way {
        conex_sys::mount::stand_in(root)?;
        conex_sys::mount::chroot_here()?;
        conex_sys::mount::stand_at_root()?;
    }
    if !matches!(world.inherited.way, Way::Makes) {
        world.root = Some(Root::open_host(Path::new("/"))?);
    }
    Ok(())
}

/// The runtime, as soon as it has done and recorded all about this process that is its own to do, and listens.
fn parent<'a>(world: &World<'a>) -> Result<&'a Channel> {
    let channel = world.channel.ok_or_else(|| missing("parent"))?;
    if !world.may_go.replace(true) {
        channel.expect(|message| matches!(message, Message::Go)).wrap(|| "wait for the runtime")?;
    }
    Ok(channel)
}

/// Then the processors: coming into a cpuset changes them.
fn enter_cgroups(world: &World<'_>) -> Result<()> {
    let entrance = &world.inherited.entrance;
    entrance.walk_in().wrap(|| AfterClone::EnterCgroup)?;
    process::close_inherited(entrance.descriptors());
    world.plan.after_clone.iter().try_for_each(|action| match action {
        AfterClone::SetAffinity { cpus } => set_affinity(cpus).wrap(|| action),
        AfterClone::FreeAffinity => {
            // A sandbox around the runtime may refuse it. Then the container has what its caller has, and no more.
            drop(sched::free_affinity());
            Ok(())
        }
        _ => Ok(()),
    })
}

fn walk(world: &mut World<'_>) -> Result<()> {
    let steps = &world.plan.steps;
    let count = steps.len();
    for (index, step) in steps.iter().enumerate() {
        let begin = world.inherited.clock.map(Clock::now);
        let done = do_step(world, index, step);
        tell_time(world, index, begin);
        done.map_err(|error| match error.kind() {
            // What the user wrote is wrong, not the set-up: the message is the one that callers look for.
            ErrorKind::Program => error,
            // Callers know the two words.
            _ if matches!(step, Step::Mount(_)) => {
                error.wrap(format_args!("error mounting: step {} of {count}: {step}", index + 1))
            }
            _ => error.wrap(format_args!("step {} of {count}: {step}", index + 1)),
        })?;
    }
    Ok(())
}

/// With the same system call that "ready" needs, so that no filter is in the way.
fn tell_time(world: &World<'_>, step: usize, begin: Option<u64>) {
    if let (Some(begin), Some(clock), Some(channel)) = (begin, world.inherited.clock, &world.channel) {
        // A parent that is gone is met at the next question.
        drop(channel.send(&Message::Traced(step, Span { begin, end: clock.now() })));
    }
}

fn do_step(world: &mut World<'_>, index: usize, step: &Step) -> Result<()> {
    if !matches!(step, Step::Device(_) | Step::Symlink { .. } | Step::LinkPtmx | Step::Mount(_)) {
        // Whatever this is may put something else in its place.
        world.directory = None;
    }
    let keeps_spent = matches!(step, Step::Mount(_) | Step::ReadonlyPath { .. } | Step::MaskPaths { .. });
    if !keeps_spent || world.spent.len() > MOST_SPENT {
        process::close_all(std::mem::take(&mut world.spent));
    }
    match step {
        Step::JoinKeyring { name, label } => identity::join_keyring(world, name, label),
        Step::RaiseLoopback => Ok(network::bring_loopback_up()?),
        Step::IsolateMounts { propagation } => root::set_propagation("/", *propagation),
        Step::BindRoot { rootfs, parent } => root::bind(world, Path::new(rootfs), *parent),
        Step::AttachRoot { rootfs, index } => root::attach(world, Path::new(rootfs), *index),
        Step::Mount(mount) => mount::mount(world, mount),
        Step::Unmount { path } => mount::unmount(world, path),
        Step::Device(node) => device::make(world, node),
        Step::Symlink { path, target } => device::symlink(world, path, target),
        Step::LinkPtmx => device::link_ptmx(world),
        // Lowering a limit needs no privilege of the host: often there is nothing to ask.
        Step::Ask(Question::Rlimits { limits }) if identity::set_limits(limits).is_ok() => Ok(()),
        Step::Ask(Question::OpenSource(_)) => ask_for_source(world, index),
        Step::Ask(_) => ask(world, index),
        Step::Hooks { moment, hooks } => run_hooks(world, *moment, hooks),
        Step::EnterRoot { method } => root::enter(world, *method),
        Step::PropagateRoot { propagation } => root::set_propagation("/", *propagation),
        Step::ReopenDevNull => program::reopen_dev_null(),
        Step::MakeWorkingDirectory { path } => program::make_working_directory(world, path),
        Step::Console { width, height, mount } => open_console(world, (*width, *height), *mount),
        Step::RemountReadonly { path, attr } => mount::change(world, path, *attr),
        Step::RemountRootReadonly => root::make_readonly(world),
        Step::SetUmask { mask } => {
            process::set_umask(*mask);
            Ok(())
        }
        Step::SetHostname { name } => Ok(identity::set_hostname(name)?),
        Step::SetDomainname { name } => Ok(identity::set_domainname(name)?),
        Step::ApparmorProfile { profile } => identity::set_apparmor_profile(world, profile),
        Step::Sysctl { key, value } => identity::set_sysctl(world, key, value),
        Step::ReadonlyPath { path } => hide::make_readonly(world, path),
        Step::LabelMount { path, label } => mount::label(world, path, label),
        Step::MaskPaths { paths, label } => hide::mask(world, paths, label),
        Step::NoNewPrivileges => Ok(process::set_no_new_privileges()?),
        Step::Scheduler(scheduler) => identity::set_scheduler(world, scheduler),
        Step::IoPriority(priority) => identity::set_io_priority(priority),
        Step::Personality { domain } => identity::set_personality(*domain),
        Step::MemoryPolicy(policy) => identity::set_memory_policy(policy),
        Step::Rlimits { limits } => identity::set_limits(limits),
        Step::SelinuxLabel { label } => identity::set_selinux_label(world, label),
        Step::Seccomp(seccomp) => load_filter(world, index, seccomp),
        Step::CloseDescriptorsFrom { first } => Ok(process::close_on_exec_from(*first)?),
        Step::EnterWorkingDirectory { path } => program::enter_working_directory(world, path),
        Step::DropBoundingSet { keep } => Ok(credentials::limit_bounding_set(keep.0)?),
        Step::SetUser { uid, gid, groups } => identity::set_user(*uid, *gid, groups),
        Step::RetryWorkingDirectory { path } => program::retry_working_directory(world, path),
        Step::SetCapabilities(sets) => identity::set_capabilities(sets),
        Step::DefaultHome { uid } => program::find_home(world, *uid),
        Step::FindProgram { name } => program::find(world, name),
        Step::AwaitStart => await_start(world),
        Step::Execute { args, sockets, .. } => Err(program::execute(world, args, *sockets)),
    }
}

fn in_root<'a>(world: &'a World<'_>) -> Result<&'a Root> {
    world.root.as_ref().ok_or_else(|| missing("root filesystem"))
}

fn missing(what: &str) -> Error {
    Error::new(ErrorKind::Os, format!("the plan has no {what} at this point"))
}

fn open_console(world: &World<'_>, size: (u16, u16), mount: bool) -> Result<()> {
    let receiver = world.inherited.console.as_ref().ok_or_else(|| missing("console socket"))?;
    let owner = world.plan.steps.iter().find_map(|step| match step {
        Step::SetUser { uid, .. } => Some(*uid),
        _ => None,
    });
    console::open_inside(in_root(world)?, owner.unwrap_or_default(), receiver.as_fd(), size, mount)
}

fn ask(world: &World<'_>, index: usize) -> Result<()> {
    let channel = parent(world)?;
    channel.send(&Message::Ask(index))?;
    channel.expect(|message| matches!(message, Message::Done))
}

fn ask_for_source(world: &mut World<'_>, index: usize) -> Result<()> {
    let channel = parent(world)?;
    channel.send(&Message::Ask(index))?;
    world.answered = match channel.receive()? {
        Some(Message::Opened(source)) => Some(source),
        _ => return Err(missing("opened source")),
    };
    Ok(())
}

/// From here on the filter may hold this process up at any system call, until the agent has the descriptor.
fn load_filter(world: &World<'_>, index: usize, step: &SeccompStep) -> Result<()> {
    // Before: the filter may refuse to receive.
    let channel = parent(world)?;
    let Some(listener) = seccomp::load(&step.filter.program, step.filter.flags)? else { return Ok(()) };
    channel.send(&Message::Listener(index, listener))?;
    channel.expect(|message| matches!(message, Message::Done))
}

fn run_hooks(world: &World<'_>, moment: HookMoment, list: &[conex_spec::runtime::Hook]) -> Result<()> {
    // The process as the hook sees it: it runs in the container's pid namespace.
    let mut state = State { pid: Some(process::own_id()), ..world.inherited.state.clone() };
    let mut list = list.to_vec();
    match moment {
        // Hooks of the host that set up what is in there: its root is where relative paths lead.
        HookMoment::CreateContainer => conex_sys::mount::stand_in(in_root(world)?)?,
        HookMoment::StartContainer => {
            state.status = Status::Created;
            // One without variables has those of the process.
            for hook in list.iter_mut().filter(|hook| hook.env.is_empty()) {
                hook.env = program::environment(world);
            }
        }
    }
    hooks::run(moment.into(), &list, &state)
}

/// An ordinary user has no other right to `exec` in a container that is created. Whoever looks in from inside sees what
/// its program will be: its ids, its filter, its file that nobody can write. What is the host's is closed before.
fn open_to_the_user(inherited: &Inherited, channel: &Channel) -> Result<()> {
    let sources = inherited.sources.iter().chain(&inherited.console).map(AsFd::as_fd);
    process::close_inherited(sources.chain([inherited.proc.as_fd(), channel.as_fd()]));
    Ok(process::set_dumpable()?)
}

/// The runtime may go away from now on; this process stays until somebody starts or kills it.
fn await_start(world: &mut World<'_>) -> Result<()> {
    parent(world)?;
    process::set_parent_death_signal(None)?;
    let channel = world.channel.take().ok_or_else(|| missing("parent"))?;
    channel.send(&Message::Ready)?;
    if let Some(start) = &world.inherited.start {
        if world.inherited.stays_dumpable {
            open_to_the_user(world.inherited, channel)?;
        }
        // The first process of a pid namespace is deaf to what would end others. Who gives up on a created container
        // need not be violent.
        for number in [signal::HUP, signal::INT, signal::TERM] {
            signal::end_on(number)?;
        }
        socket::wait_readable(&[start.as_fd()], None)?;
    }
    Ok(())
}
