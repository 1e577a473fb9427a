// SPDX-License-Identifier: Apache-2.0
//! config-linux.md, "Namespaces": without a mount namespace a container has that of the runtime. Its root filesystem
//! and all that is mounted in there are the host's mounts then; only chroot(2) lies between.
//!
//! ```text
//!  create   open_tree(rootfs, CLONE) ── its number into state.json ──► init: move_mount onto rootfs, mounts below, chroot
//!  exec     /proc/<init>/root, open ──────────────────────────────────► chroot
//!  delete   the mount of that number ── umount2(MNT_DETACH), with all below
//! ```
//!
//! The number is known before the mount is to be seen, so whoever is killed at whatever moment: `delete` takes away
//! just this tree, and never what lay at the same place before.
#![expect(clippy::disallowed_methods, reason = "the root filesystem's own path is the host's")]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use conex_spec::runtime::{Config, NamespaceKind};
use conex_sys::mount::{self, Identity};
use conex_sys::procfs::Procfs;
use conex_sys::{mountinfo, process};
use serde::{Deserialize, Serialize};

use crate::container::Container;
use crate::plan::{Plan, Step};
use crate::{Error, ErrorKind, Result, Wrap};

/// A mount of the host, in `state.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecordedMount {
    pub point: String,
    /// The inode of the mount namespace that it is in; 0 where it was not written down.
    pub namespace: u64,
    pub id: u64,
    /// 0 before Linux 6.8.
    pub unique_id: u64,
}

/// Records the mount that init will attach.
pub(crate) fn record(container: &mut Container, plan: &Plan, sources: &[OwnedFd]) -> Result<()> {
    let attached = plan.steps.iter().find_map(|step| match step {
        Step::AttachRoot { rootfs, index } => Some((rootfs, sources.get(*index)?)),
        _ => None,
    });
    let Some((rootfs, source)) = attached else { return Ok(()) };
    let point = std::fs::canonicalize(rootfs).wrap(|| "root filesystem")?.to_string_lossy().into_owned();
    let Identity { id, unique_id } = mount::identity(source.as_fd())?;
    container.record.conex.root_mount =
        Some(RecordedMount { point, namespace: own_namespace()?, id, unique_id });
    container.save()
}

fn own_namespace() -> Result<u64> {
    Ok(std::fs::metadata("/proc/self/ns/mnt").wrap(|| "own mount namespace")?.ino())
}

/// What to tell somebody who deletes a container from where its mounts cannot be seen.
pub(crate) fn out_of_sight(recorded: &RecordedMount) -> Option<String> {
    let RecordedMount { point, namespace, .. } = recorded;
    let is_elsewhere = *namespace != 0 && own_namespace().is_ok_and(|own| own != *namespace);
    is_elsewhere.then(|| {
        format!(
            "root filesystem {point} was mounted in another mount namespace, mnt:[{namespace}], and is not \
             unmounted there: if that still lives, umount --lazy {point} in it"
        )
    })
}

/// Takes the tree away, if it is there.
pub(crate) fn unmount(recorded: &RecordedMount) -> Result<()> {
    let (proc, stood) = (Procfs::of_host()?, mount::open_dir(Path::new("."))?);
    loop {
        let table = proc.read("self/mountinfo")?;
        let Some(line) = mountinfo::parse(&table).find(|mount| mount.id == recorded.id) else {
            return Ok(());
        };
        let top = mount::open_path(Path::new(&line.point))?;
        let found = mount::identity(top.as_fd())?;
        let is_known = match recorded.unique_id {
            unique if unique != 0 && found.id == recorded.id => found.unique_id == unique,
            // Or somebody has mounted something over it, which goes with it.
            _ => line.point == recorded.point,
        };
        if !is_known {
            // The kernel gives a free number to the next mount.
            return Ok(());
        }
        let done = mount::detach_open(top.as_fd(), proc.as_fd());
        mount::stand_in(&stood)?;
        done?;
    }
}

/// Where somebody who enters must chroot to; `None` where a mount namespace takes him there.
pub(crate) fn of(container: &Container, config: &Config, init: BorrowedFd<'_>) -> Result<Option<OwnedFd>> {
    if config.has_namespace(NamespaceKind::Mount) {
        return Ok(None);
    }
    let path = format!("/proc/{}/root", container.record.init_process_pid);
    let root = mount::open_dir(Path::new(&path)).wrap(|| "container not running")?;
    // Who is there even now was there when the path was walked: nobody else had its number.
    if process::wait_for_end(init, Some(0))? {
        return Err(Error::new(ErrorKind::State, "container not running"));
    }
    Ok(Some(root))
}
