// SPDX-License-Identifier: Apache-2.0
//! The container's root filesystem becomes a mount, and then `/`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use conex_sys::mount::{self, Attributes, Change, Extent};
use conex_sys::path::{Dir, Root};
use conex_sys::{Errno, path};

use super::{World, bare_mounts, in_root, missing};
use crate::plan::{EnterRoot, Plan, Propagation, PropagationKind, Step};
use crate::{Error, ErrorKind, Result, Wrap};

/// The kernel's words for the plan's.
pub(super) fn propagation(wanted: Propagation) -> (mount::Propagation, Extent) {
    let kind = match wanted.kind {
        PropagationKind::Private => mount::Propagation::Private,
        PropagationKind::Slave => mount::Propagation::Slave,
        PropagationKind::Shared => mount::Propagation::Shared,
        PropagationKind::Unbindable => mount::Propagation::Unbindable,
    };
    (kind, if wanted.recursive { Extent::Tree } else { Extent::One })
}

pub(super) fn set_propagation(path: &str, wanted: Propagation) -> Result<()> {
    let (kind, extent) = propagation(wanted);
    Ok(mount::set_propagation(Path::new(path), kind, extent)?)
}

/// Makes the root filesystem a mount of its own, and opens it. From here on it is only reached through that handle.
pub(super) fn bind(world: &mut World<'_>, rootfs: &Path, parent: PropagationKind) -> Result<()> {
    let target = mount::open_dir(rootfs)?;
    let (parent, _) = propagation(Propagation { kind: parent, recursive: false });
    let tree = if nothing_is_shared(world) {
        // Nothing of the tree is seen elsewhere, so only the copy needs it, whose mount need not be looked for.
        let tree = mount::clone(target.as_fd(), Path::new(""), Extent::Tree)?;
        mount::change(tree.as_fd(), &Change { propagation: Some(parent), ..Change::NONE })?;
        tree
    } else {
        propagate_mount_of(&target, parent)?;
        mount::clone(target.as_fd(), Path::new(""), Extent::Tree)?
    };
    mount::attach(tree.as_fd(), target.as_fd())?;
    world.root = Some(Root::new(Dir::from(tree)));
    Ok(())
}

/// The same without a mount namespace. Attached to a mount that is shared the tree is so too, for that one moment.
pub(super) fn attach(world: &mut World<'_>, rootfs: &Path, index: usize) -> Result<()> {
    let tree = world.inherited.sources.get(index).ok_or_else(|| missing("opened root"))?.try_clone()?;
    mount::attach(tree.as_fd(), mount::open_dir(rootfs)?.as_fd())?;
    let private =
        Change { propagation: Some(mount::Propagation::Private), extent: Extent::Tree, ..Change::NONE };
    mount::change(tree.as_fd(), &private)?;
    world.root = Some(Root::new(Dir::from(tree)));
    Ok(())
}

/// A mount that comes from the host's mount namespace into a tree which is there as well: what is mounted on it later
/// must not be mounted on its original.
pub(super) fn leave_peers(plan: &Plan, source: &OwnedFd) -> Result<()> {
    if !plan.steps.iter().any(|step| matches!(step, Step::AttachRoot { .. })) {
        return Ok(());
    }
    let slave = Change { propagation: Some(mount::Propagation::Slave), extent: Extent::Tree, ..Change::NONE };
    Ok(mount::change(source.as_fd(), &slave)?)
}

fn nothing_is_shared(world: &World<'_>) -> bool {
    world.plan.steps.iter().any(|step| match step {
        Step::IsolateMounts { propagation } => {
            // What is unbindable could not even be copied.
            propagation.recursive
                && matches!(propagation.kind, PropagationKind::Private | PropagationKind::Slave)
        }
        _ => false,
    })
}

/// The mount that a directory lies on is found upwards: only at a mount's root can its propagation be changed.
fn propagate_mount_of(start: &OwnedFd, kind: mount::Propagation) -> Result<()> {
    let change = Change { propagation: Some(kind), ..Change::NONE };
    let mut here = start.try_clone().wrap(|| "look for the mount of the root filesystem")?;
    loop {
        match mount::change(here.as_fd(), &change) {
            Err(error) if error.errno() == Errno::INVAL => {}
            outcome => return Ok(outcome?),
        }
        let identity = |at: &OwnedFd| path::stat(at).map(|stat| (stat.st_dev, stat.st_ino));
        let above = mount::open_parent(here.as_fd())?;
        if identity(&above)? == identity(&here)? {
            return Err(Error::new(ErrorKind::Os, "the root filesystem lies on no mount"));
        }
        here = above;
    }
}

/// The container's root becomes `/`, and the host's disappears.
pub(super) fn enter(world: &World<'_>, method: EnterRoot) -> Result<()> {
    let root = in_root(world)?;
    mount::stand_in(root)?;
    match method {
        EnterRoot::Pivot => {
            let old = mount::open_dir(Path::new("/"))?;
            mount::pivot_root_here()?;
            // Both roots lie on the same spot now, the old one on top; "." would still be the new one, which keeps its
            // propagation. The old one's going away is not the host's business.
            mount::stand_in(&old)?;
            mount::set_propagation(Path::new("."), mount::Propagation::Slave, Extent::Tree)?;
            mount::detach(Path::new("."))?;
        }
        EnterRoot::Move => {
            bare_mounts::hide(world)?;
            mount::move_here_to_root()?;
            mount::chroot_here()?;
        }
        EnterRoot::Chroot => mount::chroot_here()?,
    }
    Ok(mount::stand_at_root()?)
}

pub(super) fn make_readonly(world: &World<'_>) -> Result<()> {
    let readonly = Change { set: Attributes::MOUNT_ATTR_RDONLY, ..Change::NONE };
    Ok(mount::change(in_root(world)?.as_fd(), &readonly)?)
}
