// SPDX-License-Identifier: Apache-2.0
//! What was done before: a directory for each `place` (`key`), in it a record for each content that was taken there.
//!
//! ```text
//!  build-cache/<place>/lock              held by who does the step; others wait, and find its record
//!  build-cache/<place>/<content>.json    the layer that the step made, or that it made none
//!  pins/step-<place>-<content>           keeps that layer from gc
//! ```
//! The same step on the same layers may be known by two contents: the files that were taken, and the layers that they
//! were taken from, which are looked at first. A record says what the very bytes led to that were copied; where nothing
//! is known of a place, files are not read before they are copied.

use std::fs::{self, File};
use std::path::PathBuf;

use conex_engine::{Engine, json};
use conex_image::store::Made;
use conex_spec::image::Descriptor;
use conex_spec::{DiffId, Digest};
use serde::{Deserialize, Serialize};

use super::key::VERSION;
use super::{Build, Layer};
use crate::{Result, Wrap as _};

const RECORDS: &str = "build-cache";

/// Whether what was done before counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Usage {
    /// It does.
    #[default]
    Use,
    /// All steps are done again; the next build may use them.
    Refresh,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    version: u32,
    /// `None`: the step changed nothing.
    layer: Option<Descriptor>,
}

/// Forgets what was done before, and empties the cache mounts that no command uses; layers stay until the next gc.
pub fn forget(engine: &Engine) -> Result<()> {
    let store = engine.store()?;
    for pin in store.pin_owners()?.iter().filter(|pin| pin.starts_with("step-")) {
        store.unpin(pin)?;
    }
    crate::container::remove_tree(&engine.settings.root.join(RECORDS))?;
    super::run::empty_caches(engine)
}

/// What is known of a place; nobody else works there as long as this lives.
pub(super) struct Place<'a> {
    build: &'a Build<'a>,
    digest: Digest,
    directory: PathBuf,
    /// What was done before does not count.
    fresh: bool,
    _lock: File,
}

impl<'a> Place<'a> {
    /// Waits for who does the same. If it is to be `fresh`, it is done again, whatever is known.
    pub(super) fn lock(build: &'a Build<'a>, digest: Digest, fresh: bool) -> Result<Self> {
        let directory = build.engine.settings.root.join(RECORDS).join(digest.hex());
        fs::create_dir_all(&directory).wrap(|| format!("make {}", directory.display()))?;
        let path = directory.join("lock");
        let lock = File::options().create(true).append(true).open(&path);
        let lock = lock.wrap(|| format!("open {}", path.display()))?;
        lock.lock().wrap(|| format!("lock {}", path.display()))?;
        Ok(Self { build, digest, directory, fresh, _lock: lock })
    }

    /// Whether anything was done here before.
    pub(super) fn is_known(&self) -> Result<bool> {
        let mut entries = fs::read_dir(&self.directory).wrap(|| self.directory.display().to_string())?;
        Ok(!self.fresh && entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() != "lock")))
    }

    /// What that content led to; `Some(None)`: to nothing.
    pub(super) fn recall(&self, content: &Digest) -> Result<Option<Option<Layer>>> {
        if self.fresh {
            return Ok(None);
        }
        let Some(record) = json::read::<Record>(&self.record(content))? else { return Ok(None) };
        let Some(descriptor) = record.layer else { return Ok(Some(None)) };
        let diff_id = DiffId(descriptor.digest.clone());
        if record.version != VERSION || !self.build.store.has_layer(&diff_id)? {
            return Ok(None);
        }
        let path = self.build.store.made_layer(&diff_id);
        Ok(Some(Some(Layer { descriptor, diff_id, path })))
    }

    pub(super) fn remember(&self, content: &Digest, layer: Option<&Layer>) -> Result<()> {
        let digests: Vec<_> = layer.iter().map(|layer| layer.diff_id.0.clone()).collect();
        self.build.store.pin(&format!("step-{}-{}", self.digest.hex(), content.hex()), &digests)?;
        let layer = layer.map(|layer| layer.descriptor.clone());
        json::write(&self.record(content), &Record { version: VERSION, layer })
    }

    fn record(&self, content: &Digest) -> PathBuf {
        self.directory.join(format!("{}.json", content.hex()))
    }
}

impl Build<'_> {
    /// What was made as a layer of the store.
    pub(super) fn layer(&self, made: &Made) -> Layer {
        let path = self.store.made_layer(&made.diff_id);
        Layer { descriptor: made.descriptor(), diff_id: made.diff_id.clone(), path }
    }
}
