// SPDX-License-Identifier: Apache-2.0
//! config-linux.md, "Masked Paths" and "Readonly Paths".
//!
//! Masks are an empty file and an empty directory of one read-only tmpfs of our own, made before anything of the
//! container is looked at. The container's /dev/null is never used: the image could have replaced it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use conex_sys::Errno;
use conex_sys::mount::{self, Attributes, Change, Extent};
use conex_sys::path::{Dir, FileType};

use super::mount::file_type;
use super::{World, in_root};
use crate::Result;

/// Covers each path that exists.
pub(super) fn mask(world: &mut World<'_>, paths: &[String], label: &str) -> Result<()> {
    let root = in_root(world)?;
    let targets = paths.iter().filter_map(|path| root.find(path).transpose());
    let targets = targets.collect::<conex_sys::Result<Vec<_>>>()?;
    if targets.is_empty() {
        return Ok(());
    }
    let masks = empty_things(label)?;
    // A mount can only be copied from where it is attached (detached ones from Linux 6.15 on). So the tmpfs lies
    // over the root for a moment, where nobody can walk into it: `root` and the targets are open already.
    mount::attach(masks.as_fd(), root.as_fd())?;
    mount::change(masks.as_fd(), &READONLY)?;
    let covered = targets.iter().try_fold(Vec::new(), |mut attached, target| -> Result<_> {
        let name = if file_type(target)? == FileType::Directory { "directory" } else { "file" };
        let mask = mount::clone(masks.as_fd(), Path::new(name), Extent::One)?;
        mount::attach(mask.as_fd(), target.as_fd())?;
        attached.push(mask);
        Ok(attached)
    });
    mount::stand_in(&masks)?;
    mount::detach(Path::new("."))?;
    mount::stand_in(root)?;
    world.spent.extend(covered?.into_iter().chain(targets).chain([masks]));
    Ok(())
}

const READONLY: Change<'_> = Change { set: Attributes::MOUNT_ATTR_RDONLY, ..Change::NONE };

/// A tmpfs with an empty file and an empty directory.
fn empty_things(label: &str) -> Result<OwnedFd> {
    let context = format!("context={label}");
    let mut options = vec!["mode=0755", "size=4k", "nr_inodes=4"];
    if !label.is_empty() {
        options.push(&context);
    }
    let flags = Attributes::MOUNT_ATTR_NOSUID | Attributes::MOUNT_ATTR_NODEV | Attributes::MOUNT_ATTR_NOEXEC;
    let masks = Dir::from(mount::tmpfs(&options, flags)?);
    masks.create_file("file", 0o444)?;
    masks.make_dir("directory", 0o555)?;
    Ok(OwnedFd::from(masks))
}

/// A path that exists gets a read-only mount of itself on top, and keeps its other flags.
pub(super) fn make_readonly(world: &mut World<'_>, path: &str) -> Result<()> {
    let Some(target) = in_root(world)?.find(path)? else { return Ok(()) };
    let copy = mount::clone(target.as_fd(), Path::new(""), Extent::Tree)?;
    let late = match mount::change_detached(copy.as_fd(), &READONLY) {
        Err(error) if error.errno() == Errno::NOSYS => true,
        outcome => outcome.map(|()| false)?,
    };
    mount::attach(copy.as_fd(), target.as_fd())?;
    if late {
        mount::change(copy.as_fd(), &READONLY)?;
    }
    world.spent.extend([copy, target]);
    Ok(())
}
