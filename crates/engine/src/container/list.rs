// SPDX-License-Identifier: Apache-2.0
//! What containers there are, and clearing away what killed commands left.

use std::fs;

use super::directory::{directory, ids, lock_names};
use super::{Container, Record, State, remove};
use crate::{Engine, Error, Result};

/// One container, as `ps` shows it.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Where it is.
    pub container: Container,
    /// What was asked for.
    pub record: Record,
    /// What it is doing.
    pub state: State,
}

/// What there is.
#[derive(Debug, Default)]
pub struct Listing {
    /// The newest first. Those that are just being made or removed are left out, and those that were started with
    /// `--rm` and have ended: they are as good as gone.
    pub containers: Vec<Summary>,
    /// What is wrong with those that cannot be shown. They can be removed.
    pub broken: Vec<Error>,
}

/// All containers.
pub fn list(engine: &Engine) -> Result<Listing> {
    let mut listing = Listing::default();
    for id in ids(engine)? {
        match summary(engine, Container::new(engine, id.clone())) {
            Ok(summary) => listing.containers.extend(summary),
            Err(error) => listing.broken.push(
                error
                    .wrap(format!("container {}", &id[..12]))
                    .with_hint(format!("`conex rm -f {}` removes it", &id[..12])),
            ),
        }
    }
    listing.containers.sort_by_key(|one| std::cmp::Reverse(one.record.created));
    Ok(listing)
}

fn summary(engine: &Engine, container: Container) -> Result<Option<Summary>> {
    let Some(record) = container.record()? else { return Ok(None) };
    let state = container.state(&record, &engine.settings.run_root)?;
    let done = record.auto_remove && matches!(state, State::Exited(_));
    Ok((!done).then_some(Summary { container, record, state }))
}

/// The records of all containers, whatever they are doing.
pub fn records(engine: &Engine) -> Result<Vec<Record>> {
    let records = ids(engine)?.into_iter().map(|id| Container::new(engine, id).record());
    records.filter_map(Result::transpose).collect()
}

/// Removes containers that a killed command left half made or half removed, and those with `--rm` that have ended
/// with nobody waiting. Says how many. Files may belong to subordinate ids: an ordinary user does this in the user
/// namespace.
pub fn sweep(engine: &Engine) -> Result<usize> {
    let mut removed = 0;
    for id in ids(engine)? {
        removed += usize::from(sweep_one(engine, &Container::new(engine, id))?);
    }
    forget_dead_names(engine);
    Ok(removed)
}

/// Whether anything waits to be swept. Cheap: looks and locks nothing.
pub fn has_garbage(engine: &Engine) -> Result<bool> {
    for id in ids(engine)? {
        let container = Container::new(engine, id);
        match container.record() {
            // Also where it cannot be told: sweeping looks more closely.
            Ok(None) if !matches!(container.try_lock(), Ok(None)) => return Ok(true),
            Ok(Some(record)) if record.auto_remove && container.exit()?.is_some() => return Ok(true),
            _ => {}
        }
    }
    Ok(false)
}

fn sweep_one(engine: &Engine, container: &Container) -> Result<bool> {
    let names = lock_names(engine)?;
    // Its maker may have been killed before it could lock it.
    let _gone = container.make_lock("lock");
    // Somebody is at it, or it has just gone.
    let Ok(Some(lock)) = container.try_lock() else { return Ok(false) };
    drop(names);
    match container.record() {
        // Its maker was killed before anything was started: launching needs the record.
        Ok(None) => remove::discard(engine, container, lock)?,
        Ok(Some(record)) if is_done(engine, container, &record)? => {
            remove::end_and_discard(engine, container, &record, lock)?;
        }
        // One that cannot be read may still be somebody's: only `rm` takes it away.
        Ok(Some(_)) | Err(_) => return Ok(false),
    }
    Ok(true)
}

/// Whether a container with `--rm` has ended, or will never be started: `run` holds the lock until it is.
fn is_done(engine: &Engine, container: &Container, record: &Record) -> Result<bool> {
    let state = || container.state(record, &engine.settings.run_root);
    Ok(record.auto_remove && matches!(state()?, State::Exited(_) | State::Created))
}

fn forget_dead_names(engine: &Engine) {
    let names = directory(engine).join("by-name");
    for link in fs::read_dir(&names).into_iter().flatten().flatten() {
        let dead = fs::read_link(link.path()).is_ok_and(|target| !names.join(target).exists());
        if dead {
            // Whoever claims the name clears it away as well.
            let _gone_already = fs::remove_file(link.path());
        }
    }
}
