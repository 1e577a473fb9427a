// SPDX-License-Identifier: Apache-2.0
//! KERNEL(5.12): what mount(2) can do where mount_setattr(2) is missing: `MS_REMOUNT | MS_BIND` for the flags of one
//! mount that is attached, `MS_SHARED` and the like for its propagation. The mount is named by its descriptor, through
//! a procfs that nobody can mount over.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use rustix::mount::MountFlags;

use super::{ATIME, Attributes, Change, Extent, open_dir, set_propagation, stand_in};
use crate::error::Call;
use crate::procfs::Procfs;
use crate::raw::show;
use crate::{Error, Result};

/// `missing` is what mount_setattr(2) said; it stays the answer to what mount(2) cannot do.
pub(super) fn remount(mount: BorrowedFd<'_>, change: &Change<'_>, missing: Error) -> Result<()> {
    let touched = change.set | change.clear;
    if change.idmap.is_some() || (change.extent == Extent::Tree && !touched.is_empty()) {
        return Err(missing);
    }
    let flags = if touched.is_empty() { None } else { Some(wanted(mount, change)?) };
    let (stood, procfs) = (open_dir(Path::new("."))?, Procfs::open()?);
    stand_in(procfs.as_fd())?;
    let path = format!("self/fd/{}", mount.as_raw_fd());
    let flagged = flags.map_or(Ok(()), |flags| {
        rustix::mount::mount_remount(&path, MountFlags::BIND | flags, c"")
            .call(|| format!("mount({path:?}, MS_REMOUNT|MS_BIND|{flags:?})"))
    });
    let propagate = |propagation| set_propagation(path.as_ref(), propagation, change.extent);
    let done = flagged.and_then(|()| change.propagation.map_or(Ok(()), propagate));
    stand_in(stood).and(done)
}

/// All flags of the mount as they shall be: mount(2) keeps none by itself.
fn wanted(mount: BorrowedFd<'_>, change: &Change<'_>) -> Result<MountFlags> {
    use rustix::fs::StatVfsMountFlags as Have;
    let have = rustix::fs::fstatvfs(mount).call(|| format!("fstatvfs({})", show(&mount)))?.f_flag;
    let pairs = [
        (Have::RDONLY, Attributes::MOUNT_ATTR_RDONLY, MountFlags::RDONLY),
        (Have::NOSUID, Attributes::MOUNT_ATTR_NOSUID, MountFlags::NOSUID),
        (Have::NODEV, Attributes::MOUNT_ATTR_NODEV, MountFlags::NODEV),
        (Have::NOEXEC, Attributes::MOUNT_ATTR_NOEXEC, MountFlags::NOEXEC),
        (Have::NODIRATIME, Attributes::MOUNT_ATTR_NODIRATIME, MountFlags::NODIRATIME),
    ];
    let mut flags = MountFlags::empty();
    for (now, attribute, flag) in pairs {
        let keeps = have.contains(now) && !change.clear.contains(attribute);
        flags.set(flag, keeps || change.set.contains(attribute));
    }
    let times = change.set & ATIME;
    flags |= match (change.set | change.clear).intersects(ATIME) {
        true if times.contains(Attributes::MOUNT_ATTR_NOATIME) => MountFlags::NOATIME,
        true if times.contains(Attributes::MOUNT_ATTR_STRICTATIME) => MountFlags::STRICTATIME,
        true => MountFlags::RELATIME,
        false if have.contains(Have::NOATIME) => MountFlags::NOATIME,
        false if have.contains(Have::RELATIME) => MountFlags::RELATIME,
        false => MountFlags::STRICTATIME,
    };
    Ok(flags)
}
