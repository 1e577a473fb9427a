// SPDX-License-Identifier: Apache-2.0
//! `mount` and `umount`: the tree at a path, in the caller's mount namespace, for other programs to work in.

use std::fs;
use std::path::PathBuf;

use conex_engine::Engine;
use conex_sys::{mount as kernel, procfs};

use super::{Held, list};
use crate::{Result, Wrap as _};

/// A working container that is mounted here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Its name.
    pub name: String,
    /// Where.
    pub path: PathBuf,
}

/// Mounts it, where it is not mounted yet; says where.
pub fn mount(engine: &Engine, held: &mut Held) -> Result<PathBuf> {
    let tree = held.tree(engine)?;
    if !tree.is_mounted()? {
        // Noted first: who seals the layer must know that somebody may write to it.
        let here = here()?;
        if !held.record.mounted_in.contains(&here) {
            held.record.mounted_in.push(here);
            held.save()?;
        }
        tree.mount()?;
    }
    Ok(tree.merged())
}

/// Unmounts it; `false` where it was not mounted here.
pub fn umount(engine: &Engine, held: &mut Held) -> Result<bool> {
    let tree = held.tree(engine)?;
    let was_mounted = tree.is_mounted()?;
    while tree.is_mounted()? {
        kernel::detach(&tree.merged())?;
    }
    let here = here()?;
    if held.record.mounted_in.contains(&here) {
        held.record.mounted_in.retain(|other| *other != here);
        held.save()?;
    }
    Ok(was_mounted)
}

/// All that are mounted here.
pub fn mounted(engine: &Engine) -> Result<Vec<Mounted>> {
    let text = fs::read_to_string("/proc/thread-self/mountinfo").wrap(|| "read mountinfo")?;
    let points: Vec<PathBuf> =
        conex_sys::mountinfo::parse(&text).map(|mount| PathBuf::from(mount.point)).collect();
    let all = list(engine)?
        .into_iter()
        .map(|(working, _)| Mounted { path: working.path.join("merged"), name: working.name });
    Ok(all.filter(|mounted| points.contains(&mounted.path)).collect())
}

impl Held {
    /// Whether somebody may be writing to it through a mount: here, or in a mount namespace that may still be there.
    pub(crate) fn may_be_mounted(&self, engine: &Engine) -> Result<bool> {
        if self.tree(engine)?.is_mounted()? {
            return Ok(true);
        }
        let (boot, here) = (procfs::boot_id()?, here()?);
        // Not here, as was just seen; and no mount outlives the machine's going down.
        Ok(self.record.mounted_in.iter().any(|other| *other != here && other.starts_with(&boot)))
    }
}

/// The mount namespace that this process is in, so that no other is taken for it.
fn here() -> Result<String> {
    let namespace = fs::read_link("/proc/self/ns/mnt").wrap(|| "read /proc/self/ns/mnt")?;
    Ok(format!("{} {}", procfs::boot_id()?, namespace.display()))
}
