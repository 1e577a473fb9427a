// SPDX-License-Identifier: Apache-2.0
//! Sources of bind mounts that the container's own user could not open, or not with mapped ids (config.md, "Mounts"):
//! opened with the host's rights, as detached copies that `init` attaches.
//!
//! ```text
//!  before the clone       open_tree(CLONE) ──────────────────────────► inherited, by position
//!  inside of the root     setns(init's mounts), open_tree(CLONE) ────► told on the channel when its turn comes
//! ```

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use conex_spec::runtime::{IdMapping, NamespaceKind};
use conex_sys::idmap::{self, Range};
use conex_sys::mount::{self, Change, Extent};
use conex_sys::process;

use crate::init;
use crate::launch::{self, Birth, Join, Place};
use crate::plan::{BeforeClone, IdMap, IdMapSource, OpenSource, Plan, PropagationKind, Step};
use crate::sync::Message;
use crate::trace::Trace;
use crate::{Error, ErrorKind, Result, Wrap};

/// Before the clone, by position.
pub(crate) fn open_all(plan: &Plan, trace: &Trace) -> Result<Vec<OwnedFd>> {
    plan.before_clone
        .iter()
        .filter_map(|work| match work {
            BeforeClone::OpenSource(wanted) => {
                Some(trace.span(work, || open(wanted).and_then(|source| isolate(plan, source))))
            }
            BeforeClone::SetAffinity { .. } => None,
        })
        .collect()
}

/// A copy from the host's mount namespace is still a peer of its original: what the container mounts on it would be
/// mounted on the host as well. It becomes what it would be in the container's namespace, where one with users of its
/// own has no peers outside (mount_namespaces(7)).
fn isolate(plan: &Plan, source: OwnedFd) -> Result<OwnedFd> {
    let asked = plan.steps.iter().find_map(|step| match step {
        Step::IsolateMounts { propagation } => Some(propagation.kind),
        _ => None,
    });
    let has_users = plan.id_maps.is_some() || plan.join.iter().any(|one| one.kind == NamespaceKind::User);
    let propagation = match asked {
        Some(PropagationKind::Private | PropagationKind::Unbindable) => mount::Propagation::Private,
        Some(PropagationKind::Shared) if !has_users => return Ok(source),
        _ => mount::Propagation::Slave,
    };
    let change = Change { propagation: Some(propagation), extent: Extent::Tree, ..Change::NONE };
    mount::change(source.as_fd(), &change)?;
    Ok(source)
}

/// In the mount namespace of a container that is being made, by a process with the host's rights.
pub(crate) fn open_inside(init: i32, wanted: &OpenSource) -> Result<OwnedFd> {
    let namespace = launch::open_namespace(&format!("/proc/{init}/ns/mnt"), NamespaceKind::Mount)?;
    let birth = Birth { join: Join::Files(vec![namespace]), ..Birth::default() };
    let (child, ours) = launch::launch(&birth, Place::Inherited, |theirs| {
        let answer = open(wanted).map_or_else(Message::Failed, Message::Opened);
        i32::from(theirs.send(&answer).is_err())
    })?;
    let answer = ours.receive();
    process::wait(child.pidfd.as_fd())?;
    match answer? {
        Some(Message::Opened(source)) => Ok(source),
        Some(Message::Failed(error)) => Err(error),
        other => Err(Error::new(ErrorKind::Os, format!("unexpected answer {other:?}"))),
    }
}

fn open(wanted: &OpenSource) -> Result<OwnedFd> {
    let extent = if wanted.recursive { Extent::Tree } else { Extent::One };
    let opened = mount::clone_host(Path::new(&wanted.source), extent)?;
    if let Some(idmap) = &wanted.idmap {
        map_ids(&opened, idmap).wrap(|| format!("map the ids of {}", wanted.source))?;
    }
    Ok(opened)
}

fn map_ids(opened: &OwnedFd, idmap: &IdMap) -> Result<()> {
    let namespace = match &idmap.mapping {
        IdMapSource::Namespace { path } => launch::open_namespace(path, NamespaceKind::User)?.0,
        IdMapSource::Maps { uid, gid } => user_namespace_with(uid, gid)?,
    };
    let extent = if idmap.recursive { Extent::Tree } else { Extent::One };
    let change = Change { idmap: Some(namespace.as_fd()), extent, ..Change::NONE };
    mount::change_detached(opened.as_fd(), &change).map_err(|error| init::since(error, "id-mapped mounts"))
}

/// A user namespace only exists with a process in it, so one is made for as long as it takes to open it.
fn user_namespace_with(uid: &[IdMapping], gid: &[IdMapping]) -> Result<OwnedFd> {
    let birth = Birth { create: vec![conex_sys::namespace::Kind::User], ..Birth::default() };
    let (child, ours) = launch::launch(&birth, Place::Inherited, |theirs| {
        // Ends when the other side is closed.
        drop(theirs.receive());
        0
    })?;
    let opened = idmap::write(child.pid, &ranges(uid), &ranges(gid))
        .and_then(|()| conex_sys::namespace::open(Path::new(&format!("/proc/{}/ns/user", child.pid))));
    drop(ours);
    process::wait(child.pidfd.as_fd())?;
    Ok(opened?)
}

/// The kernel's form.
pub(crate) fn ranges(map: &[IdMapping]) -> Vec<Range> {
    map.iter().map(|one| Range { inside: one.container_id, outside: one.host_id, count: one.size }).collect()
}
