// SPDX-License-Identifier: Apache-2.0
//! The directory that a build works in, `<root>/building/<any>`, on the store's file system. It is locked as long as the
//! build lives: what lies unlocked was left by a killed one, and the next build removes it.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use conex_engine::Engine;
use tempfile::TempDir;

use crate::container::end_run;
use crate::{Result, Wrap as _};

/// How the names of bundles end.
pub(super) const BUNDLE: &str = "-bundle";

/// Goes with the build.
pub(super) struct Place {
    directory: TempDir,
    _lock: File,
}

impl Place {
    pub(super) fn new(engine: &Engine) -> Result<Self> {
        let all = all(engine);
        fs::create_dir_all(&all).wrap(|| format!("make {}", all.display()))?;
        // Until it is locked, it looks like what a killed build left.
        let _alone = lock_all(&all)?;
        let directory =
            tempfile::tempdir_in(&all).wrap(|| format!("make a directory in {}", all.display()))?;
        let lock = open(directory.path())?;
        lock.lock().wrap(|| format!("lock {}", directory.path().display()))?;
        Ok(Self { directory, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Removes what killed builds have left.
pub fn sweep(engine: &Engine) -> Result<()> {
    let all = all(engine);
    if !all.exists() {
        return Ok(());
    }
    let _alone = lock_all(&all)?;
    for entry in fs::read_dir(&all).wrap(|| all.display().to_string())? {
        let path = entry.wrap(|| all.display().to_string())?.path();
        let lock = match File::open(&path) {
            // Its build has just ended.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            opened => opened.wrap(|| format!("open {}", path.display()))?,
        };
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => {
                return Err(error).wrap(|| format!("lock {}", path.display()));
            }
            Ok(()) => {
                end_commands(engine, &path)?;
                crate::container::remove_tree(&path)?;
            }
        }
    }
    Ok(())
}

/// The commands of a killed build may still run.
fn end_commands(engine: &Engine, place: &Path) -> Result<()> {
    for entry in fs::read_dir(place).wrap(|| place.display().to_string())? {
        let path = entry.wrap(|| place.display().to_string())?.path();
        if path.to_string_lossy().ends_with(BUNDLE) {
            end_run(engine, &path)?;
        }
    }
    Ok(())
}

fn all(engine: &Engine) -> PathBuf {
    engine.settings.root.join("building")
}

/// Nobody else makes or sweeps places as long as this lives.
fn lock_all(all: &Path) -> Result<File> {
    let lock = open(all)?;
    lock.lock().wrap(|| format!("lock {}", all.display()))?;
    Ok(lock)
}

fn open(path: &Path) -> Result<File> {
    File::open(path).wrap(|| format!("open {}", path.display()))
}
