// SPDX-License-Identifier: Apache-2.0
//! What a process that handles hostile bytes gives up for good, before it has read any: everything but one directory.
//!
//! ```text
//!  /            tmpfs, read-only                      own mount namespace (with an own user namespace for those
//!  ├── tree     the directory: nodev, nosuid, noexec   who are not root there)
//!  └── proc/self                                       Landlock: nothing outside of tree
//!                                                      seccomp: files, memory, threads; no socket, no execve
//! ```
//! Each layer holds by itself; what the kernel or the host's policy refuses is made up for by the others. seccomp is
//! the one that is always there.

mod filter;
mod landlock;

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, mkdirat};
use rustix::io::Errno;

use crate::credentials::{self, Capabilities, capability_number};
use crate::error::Call;
use crate::idmap::{self, Ids, Range};
use crate::mount::{self, Attributes, Change, Extent, Propagation};
use crate::namespace::{self, Kind};
use crate::path::Dir;
use crate::{Error, Result, process};

/// What making files of every kind and owner takes; `trusted.*` attributes need the last.
const CAPABILITIES: [&str; 7] =
    ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "MKNOD", "SETFCAP", "SYS_ADMIN"];
const HARMLESS: Attributes =
    Attributes::MOUNT_ATTR_NOSUID.union(Attributes::MOUNT_ATTR_NODEV).union(Attributes::MOUNT_ATTR_NOEXEC);

/// Leaves this process, which must have a single thread, nothing but what is below `directory`; the same directory,
/// as it is to be used from now on. The caller closes every other descriptor: they are not covered.
pub fn to_directory(directory: &Dir) -> Result<Dir> {
    let admin = 1 << capability_number("SYS_ADMIN").expect("a known name");
    let privileged = credentials::effective_capabilities()? & admin != 0;
    mount::stand_in(directory)?;
    let entered =
        if privileged { namespace::unshare(namespace::flags([Kind::Mount])) } else { enter_user_namespace() };
    let inside = match entered {
        Ok(()) => make_root().or_else(refused)?,
        Err(error) => refused(error)?,
    };
    let tree = match inside {
        Some(tree) => tree,
        None => directory.try_clone()?,
    };
    limit_capabilities(privileged)?;
    process::set_no_new_privileges()?;
    landlock::allow_below(tree.as_fd())?;
    filter::allow_files_only()?;
    Ok(tree)
}

/// A host's policy may forbid namespaces and mounts to some: the other layers must do.
fn refused<T>(error: Error) -> Result<Option<T>> {
    match error.errno() {
        Errno::PERM | Errno::ACCESS | Errno::NOSYS | Errno::NOSPC | Errno::INVAL => Ok(None),
        _ => Err(error),
    }
}

/// One in which the caller is the only user, by the same number.
fn enter_user_namespace() -> Result<()> {
    let (user, group) = (credentials::effective_user(), credentials::effective_group());
    namespace::unshare(namespace::flags([Kind::User, Kind::Mount]))?;
    let own = |id| [Range { inside: id, outside: id, count: 1 }];
    let pid = process::own_id();
    idmap::deny_setgroups(pid)?;
    idmap::write_directly(pid, Ids::Users, &own(user))?;
    idmap::write_directly(pid, Ids::Groups, &own(group))
}

/// Makes the place in the drawing and enters it; its `tree`. The process stands in the directory, which the new mount
/// namespace has a copy of.
fn make_root() -> Result<Option<Dir>> {
    mount::set_propagation(Path::new("/"), Propagation::Private, Extent::Tree)?;
    let tree = mount::clone(CWD, Path::new("."), Extent::One)?;
    let own = mount::clone_host(Path::new("/proc/self"), Extent::One)?;
    let root = mount::tmpfs(&["mode=0755", "size=64k", "nr_inodes=16"], HARMLESS)?;
    mount::attach(root.as_fd(), Dir::open_host(Path::new("."))?.as_fd())?;
    mount::stand_in(&root)?;
    for name in ["tree", "proc", "proc/self"] {
        mkdirat(&root, name, Mode::from_raw_mode(0o755)).call(|| format!("mkdirat({name:?})"))?;
    }
    mount::attach(tree.as_fd(), mount::open_dir(Path::new("tree"))?.as_fd())?;
    mount::attach(own.as_fd(), mount::open_dir(Path::new("proc/self"))?.as_fd())?;
    mount::change(tree.as_fd(), &Change { set: HARMLESS, ..Change::NONE })?;
    mount::change(root.as_fd(), &Change { set: Attributes::MOUNT_ATTR_RDONLY, ..Change::NONE })?;
    match mount::pivot_root_here() {
        Ok(()) => mount::detach(Path::new("."))?,
        // The root of an initramfs cannot be exchanged.
        Err(_) => {
            mount::move_here_to_root()?;
            mount::chroot_here()?;
        }
    }
    mount::stand_at_root()?;
    Dir::open_host(Path::new("/tree")).map(Some)
}

/// Who was not privileged before keeps nothing of what the user namespace gave.
fn limit_capabilities(privileged: bool) -> Result<()> {
    let wanted =
        CAPABILITIES.iter().filter_map(|name| capability_number(name)).fold(0, |set, bit| set | 1 << bit);
    let kept = if privileged { wanted & credentials::permitted_capabilities()? } else { 0 };
    credentials::set_capabilities(&Capabilities {
        effective: kept,
        permitted: kept,
        ..Capabilities::default()
    })
}
