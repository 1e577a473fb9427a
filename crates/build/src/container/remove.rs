// SPDX-License-Identifier: Apache-2.0
//! Removing and renaming working containers. What is removed loses its name first, at once; then its files go, and if
//! somebody is killed meanwhile, the next command goes on.

use std::fs::{File, TryLockError};
use std::path::Path;

use conex_engine::{Engine, name};
use conex_sys::Errno;
use conex_sys::path::Dir;

use super::directory::{directory, list, lock_all, missing, pin_name};
use super::from::{UNFINISHED, unfinished};
use super::tree::remove_tree;
use super::{Held, Working};
use crate::{Error, ErrorKind, Result};

/// Removes it; mounted where the caller is, it is unmounted.
pub fn remove(engine: &Engine, held: Held) -> Result<()> {
    let tree = held.tree(engine)?;
    while tree.is_mounted()? {
        conex_sys::mount::detach(&tree.merged())?;
    }
    let builders = Dir::open_host(&directory(engine))?;
    let gone = Working::of(engine, &format!("{UNFINISHED}{}", held.record.id));
    builders.rename(&held.working.name, &builders, &gone.name)?;
    discard(&gone.path)?;
    Ok(engine.store()?.unpin(&pin_name(&held.record.id))?)
}

/// Gives it another name.
pub fn rename(engine: &Engine, held: Held, new: &str) -> Result<()> {
    name::check(new)?;
    let builders = Dir::open_host(&directory(engine))?;
    match builders.rename_new(&held.working.name, &builders, new) {
        Ok(()) => Ok(()),
        Err(error) if error.errno() == Errno::EXIST => {
            Err(Error::new(ErrorKind::Exists, format!("the container name {new:?} is in use")))
        }
        Err(error) if error.errno() == Errno::NOENT => Err(missing(&held.working.name)),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn discard(path: &Path) -> Result<()> {
    remove_tree(path)
}

/// Removes what killed commands have left: directories without a name whose lock is free, and pins without a container.
pub fn sweep(engine: &Engine) -> Result<()> {
    if !directory(engine).exists() {
        return Ok(());
    }
    let _none_is_made = lock_all(engine)?;
    for left in unfinished(engine)? {
        let lock = File::open(left.path.join("lock"));
        let busy = lock.as_ref().is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
        if !busy {
            discard(&left.path)?;
        }
    }
    let store = engine.store()?;
    let pins = store.pin_owners()?;
    if !pins.iter().any(|pin| pin.starts_with("builder-")) {
        return Ok(());
    }
    // Looked at after the pins: whose pin is there and who is not, is gone, or is just being made.
    let mut alive: Vec<String> = list(engine)?.into_iter().map(|(_, record)| pin_name(&record.id)).collect();
    let making = unfinished(engine)?;
    alive.extend(making.iter().filter_map(|left| left.name.strip_prefix(UNFINISHED)).map(pin_name));
    for pin in pins.iter().filter(|pin| pin.starts_with("builder-") && !alive.contains(pin)) {
        store.unpin(pin)?;
    }
    Ok(())
}
