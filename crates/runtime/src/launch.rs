// SPDX-License-Identifier: Apache-2.0
//! Makes the process that becomes the container's: one clone3 with all its new namespaces, in its cgroup.
//!
//! Namespaces that exist are joined by the new process itself. Some must be joined *before* the clone: a pid or
//! time namespace only takes effect in children, a user namespace owns what is made after it, and once a new user
//! namespace is entered nothing of the host can be joined any more. Then a short-lived process stands in between:
//!
//! ```text
//!  runtime ──clone3──► stage: setns, setns, unshare(time) ──clone3(CLONE_PARENT | namespaces)──► init
//!                        └─ Born(pid), exit                                    (a child of the runtime)
//! ```
//!
//! A time namespace with offsets is made by the stage as well, for nobody may have been in it before they are set; then
//! it is also the stage that makes the user namespace which owns it.
//!
//! The same process stands in where only somebody else can put one into the container's cgroup (systemd): the runtime
//! has it adopted and tells it to go on, and init is born where it is.
//!
//! The cgroup namespace is never part of the clone: its root would be the cgroup of the parent.

use std::fmt::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use conex_spec::runtime::{NamespaceKind, TimeOffset};
use conex_sys::namespace::{self, Kind};
use conex_sys::process::{self, Child, Spawn};
use conex_sys::procfs::Procfs;
use conex_sys::{Errno, socket};

use crate::sync::{Channel, Message};
use crate::{Error, ErrorKind, Result, Wrap};

/// What the new process is born into.
#[derive(Debug, Default)]
pub(crate) struct Birth<'a> {
    pub create: Vec<Kind>,
    pub join: Join,
    /// By clock, for a time namespace in `create`.
    pub time_offsets: Vec<(String, TimeOffset)>,
    /// Hide from the processes of the namespaces that are joined.
    pub undumpable: bool,
    /// What `body` uses; the new process has nothing else of the runtime's open.
    pub keep: Vec<BorrowedFd<'a>>,
    /// But so many descriptors of the caller's, behind the standard three.
    pub preserve: u32,
}

/// Namespaces that exist.
#[derive(Debug, Default)]
pub(crate) enum Join {
    #[default]
    Nothing,
    /// One by one.
    Files(Vec<(OwnedFd, Kind)>),
    /// All these of one process at once.
    Process(OwnedFd, u64),
}

impl Join {
    fn does_nothing(&self) -> bool {
        matches!(self, Self::Nothing) || matches!(self, Self::Files(files) if files.is_empty())
    }

    fn run(&self) -> Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::Files(files) => join_files(files),
            Self::Process(pidfd, flags) => {
                namespace::join_process(pidfd.as_fd(), *flags).wrap(|| "join the container's namespaces")
            }
        }
    }
}

/// A user namespace is joined as early as nothing is refused for it: what is owned outside of it can only be joined
/// before, what it owns, by a caller without privilege outside, only after.
fn join_files(files: &[(OwnedFd, Kind)]) -> Result<()> {
    let join = |(file, kind): &(OwnedFd, Kind)| {
        namespace::join(file.as_fd(), *kind).wrap(|| format!("join the {} namespace", kind.file_name()))
    };
    let (user, others): (Vec<_>, Vec<_>) = files.iter().partition(|(_, kind)| *kind == Kind::User);
    let mut later = Vec::new();
    for other in others {
        match join(other) {
            Err(error) if !user.is_empty() && error.errno() == Some(Errno::PERM) => later.push(other),
            outcome => outcome?,
        }
    }
    user.into_iter().chain(later).try_for_each(join)
}

/// The kernel's kind of the specification's.
pub(crate) fn kind_of(kind: NamespaceKind) -> Kind {
    match kind {
        NamespaceKind::User => Kind::User,
        NamespaceKind::Ipc => Kind::Ipc,
        NamespaceKind::Uts => Kind::Uts,
        NamespaceKind::Network => Kind::Network,
        NamespaceKind::Pid => Kind::Pid,
        NamespaceKind::Mount => Kind::Mount,
        NamespaceKind::Cgroup => Kind::Cgroup,
        NamespaceKind::Time => Kind::Time,
    }
}

/// Opens a namespace file and checks that it is one of this kind.
pub(crate) fn open_namespace(path: &str, kind: NamespaceKind) -> Result<(OwnedFd, Kind)> {
    let wrap = || format!("{kind} namespace {path}");
    let file = namespace::open(path.as_ref()).wrap(wrap)?;
    let found = namespace::kind_of(file.as_fd()).wrap(wrap)?;
    if found != kind_of(kind) {
        let what = format!("{path} is a {} namespace, not a {kind} one", found.file_name());
        return Err(Error::new(ErrorKind::Config, what));
    }
    Ok((file, found))
}

impl Birth<'_> {
    fn clone_flags(&self, stage: bool) -> u64 {
        let cloned = self.create.iter().copied().filter(|kind| match kind {
            Kind::Cgroup => false,
            Kind::Time => !stage,
            Kind::User => !(stage && self.stage_makes_users()),
            _ => true,
        });
        namespace::flags(cloned)
    }

    /// A time namespace is for its own user namespace to make, unless something is joined before that is.
    fn stage_makes_users(&self) -> bool {
        self.create.contains(&Kind::User) && !self.time_offsets.is_empty() && self.join.does_nothing()
    }

    /// See the drawing above.
    fn needs_stage(&self) -> bool {
        let before_clone = match &self.join {
            Join::Nothing => false,
            Join::Files(files) => {
                files.iter().any(|(_, kind)| matches!(kind, Kind::User | Kind::Pid | Kind::Time))
            }
            Join::Process(..) => true,
        };
        let owned_by_host = self.create.contains(&Kind::User) && !self.join.does_nothing();
        before_clone || owned_by_host || !self.time_offsets.is_empty()
    }
}

/// How the new process gets into its cgroup.
pub(crate) enum Place<'a> {
    /// It begins in the caller's. In cgroup v1 the caller moves it.
    Inherited,
    /// It is born in this directory of cgroup v2.
    Cgroup(BorrowedFd<'a>),
    /// Somebody else can put the stage there, by its id, and init is born where that is.
    Adopted(&'a mut dyn FnMut(i32) -> Result<()>),
}

/// Makes the process. `body` runs in it with its end of the channel.
pub(crate) fn launch(
    birth: &Birth<'_>,
    place: Place<'_>,
    body: impl FnOnce(&Channel) -> i32,
) -> Result<(Child, Channel)> {
    let (ours, theirs) = Channel::pair()?;
    let mut keep = birth.keep.clone();
    keep.push(theirs.as_fd());
    if let Join::Files(files) = &birth.join {
        keep.extend(files.iter().map(|(file, _)| file.as_fd()));
    }
    if let Join::Process(pidfd, _) = &birth.join {
        keep.push(pidfd.as_fd());
    }
    let (cgroup, adopt) = match place {
        Place::Inherited => (None, None),
        Place::Cgroup(directory) => (Some(directory), None),
        Place::Adopted(adopt) => (None, Some(adopt)),
    };
    let request = Spawn { cgroup, keep: Some(&keep), preserve: birth.preserve, ..Spawn::default() };
    if adopt.is_some() || birth.needs_stage() {
        let waits = adopt.is_some();
        let namespaces = if birth.stage_makes_users() { Kind::User.flag() } else { 0 };
        let stage = process::spawn(&Spawn { namespaces, ..request }, || stage(birth, waits, &theirs, body))?;
        drop(theirs);
        let adopted = adopt.map_or(Ok(()), |adopt| adopt(stage.pid).and_then(|()| ours.tell(&Message::Go)));
        if let Err(error) = adopted {
            // Its end of the channel is closed with ours.
            drop(ours);
            process::wait(stage.pidfd.as_fd())?;
            return Err(error);
        }
        let child = wait_for_birth(&ours, &stage);
        // The stage's own status says nothing that its message did not.
        process::wait(stage.pidfd.as_fd())?;
        return Ok((child?, ours));
    }
    let child = process::spawn(&Spawn { namespaces: birth.clone_flags(false), ..request }, || {
        match birth.join.run() {
            Ok(()) => body(&theirs),
            Err(error) => give_up(&theirs, error),
        }
    })?;
    Ok((child, ours))
}

/// A stage that is killed may have made a process before, which waits for a word and so holds the channel open: only
/// its own end tells.
fn wait_for_birth(channel: &Channel, stage: &Child) -> Result<Child> {
    socket::wait_readable(&[channel.as_fd(), stage.pidfd.as_fd()], None)?;
    let said = socket::wait_readable(&[channel.as_fd()], Some(0))?.is_some();
    match if said { channel.receive()? } else { None } {
        Some(Message::Born(pid)) => Ok(Child { pid, pidfd: process::open(pid)? }),
        Some(Message::Failed(error)) => Err(error),
        Some(other) => Err(Error::new(ErrorKind::Os, format!("unexpected message {other:?}"))),
        None => Err(Error::new(ErrorKind::Os, "the process that joins namespaces was killed")),
    }
}

/// The short-lived process: joins, makes init, reports its pid.
fn stage(birth: &Birth<'_>, waits: bool, channel: &Channel, body: impl FnOnce(&Channel) -> i32) -> i32 {
    if waits && channel.expect(|word| matches!(word, Message::Go)).is_err() {
        // The runtime is gone, or has given up.
        return 1;
    }
    let prepared = prepare_stage(birth);
    if let Err(error) = prepared {
        return give_up(channel, error);
    }
    let request = Spawn { namespaces: birth.clone_flags(true), sibling: true, ..Spawn::default() };
    match process::spawn(&request, || body(channel)) {
        Ok(child) => i32::from(channel.send(&Message::Born(child.pid)).is_err()),
        Err(error) => give_up(channel, error.into()),
    }
}

fn prepare_stage(birth: &Birth<'_>) -> Result<()> {
    if birth.undumpable {
        process::set_undumpable()?;
    }
    // Opened where it still is the host's.
    let makes_time = birth.create.contains(&Kind::Time);
    let proc = makes_time.then(Procfs::of_host).transpose()?;
    birth.join.run()?;
    if let Some(proc) = proc {
        namespace::unshare(Kind::Time.flag())?;
        let mut text = String::new();
        for (clock, offset) in &birth.time_offsets {
            writeln!(text, "{clock} {} {}", offset.secs, offset.nanosecs).expect("a String takes everything");
        }
        if !text.is_empty() {
            proc.write("self/timens_offsets", text.as_bytes())?;
        }
    }
    Ok(())
}

fn give_up(channel: &Channel, error: Error) -> i32 {
    // If the runtime is gone, nobody is interested any more.
    drop(channel.send(&Message::Failed(error)));
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_only_there_where_the_order_needs_it() {
        let net = || open_namespace("/proc/self/ns/net", NamespaceKind::Network).unwrap();
        let pid = || open_namespace("/proc/self/ns/pid", NamespaceKind::Pid).unwrap();
        let birth = |create: &[Kind], files| Birth {
            create: create.to_vec(),
            join: Join::Files(files),
            ..Birth::default()
        };
        assert!(!birth(&[Kind::User, Kind::Pid], vec![]).needs_stage());
        assert!(!birth(&[Kind::Pid], vec![net()]).needs_stage());
        assert!(birth(&[Kind::User], vec![net()]).needs_stage());
        assert!(birth(&[Kind::Mount], vec![pid()]).needs_stage());
    }

    #[test]
    fn a_namespace_file_of_another_kind_is_refused() {
        let error = open_namespace("/proc/self/ns/net", NamespaceKind::Pid).unwrap_err();
        assert_eq!(error.to_string(), "/proc/self/ns/net is a net namespace, not a pid one");
        open_namespace("/proc/self/status", NamespaceKind::Pid).unwrap_err();
    }
}
