// SPDX-License-Identifier: Apache-2.0
//! `--no-pivot`: the host's mounts stay in the container's mount namespace, out of reach by path. But the kernel lets
//! a user namespace made in there mount a procfs or sysfs of its own if one that nothing covers is seen anywhere, and
//! then masked and read-only paths are worth nothing. So every procfs and sysfs outside of the root is unmounted, or
//! covered where that is refused (a mount that came from outside of this user namespace).

use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use conex_sys::mount::{self, Attributes, Extent, Propagation};
use conex_sys::mountinfo;

use super::{World, in_root, missing};
use crate::Result;

/// Hides them all.
pub(super) fn hide(world: &World<'_>) -> Result<()> {
    let proc = &world.inherited.proc;
    let root = in_root(world)?.as_fd().as_raw_fd();
    let known = proc.read(&format!("self/fdinfo/{root}"))?;
    let id = known.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
    let id = id.ok_or_else(|| missing("id of the root's mount"))?;
    for point in bare(&proc.read("self/mountinfo")?, id) {
        let path = Path::new(&point);
        mount::set_propagation(path, Propagation::Slave, Extent::Tree)?;
        if mount::detach(path).is_err() {
            let cover = mount::tmpfs(&[], Attributes::MOUNT_ATTR_RDONLY)?;
            mount::attach(cover.as_fd(), mount::open_dir(path)?.as_fd())?;
        }
    }
    Ok(())
}

/// Where a procfs or sysfs is mounted but not below the mount `root`; the one mounted last comes first.
fn bare(text: &str, root: u64) -> Vec<String> {
    let mounts: Vec<_> = mountinfo::parse(text).collect();
    let mut inside = BTreeSet::from([root]);
    // A line may stand before its parent's: as many rounds as the deepest mount has parents, at most.
    for _ in &mounts {
        let below: Vec<_> =
            mounts.iter().filter(|mount| inside.contains(&mount.parent)).map(|mount| mount.id).collect();
        inside.extend(below);
    }
    let outside = mounts.into_iter().rev().filter(|mount| !inside.contains(&mount.id));
    outside.filter(|mount| ["proc", "sysfs"].contains(&mount.kind)).map(|mount| mount.point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_the_container_are_no_concern() {
        let mountinfo = "\
            20 1 8:1 / / rw - ext4 /dev/sda rw\n\
            21 20 0:5 / /proc rw - proc proc rw\n\
            22 20 0:6 / /sys rw shared:2 - sysfs sysfs rw\n\
            23 22 0:7 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
            32 31 0:5 / /b/rootfs/proc rw - proc proc rw\n\
            31 30 0:9 / /b/rootfs/a rw - tmpfs tmpfs rw\n\
            30 20 8:1 /b/rootfs /b/rootfs rw - ext4 /dev/sda rw\n\
            40 20 0:5 / /with\\040space rw - proc proc rw\n";
        assert_eq!(bare(mountinfo, 30), ["/with space", "/sys", "/proc"]);
    }
}
