// SPDX-License-Identifier: Apache-2.0
//! What was done before, by a key of everything that decides on the result: the layers below by their content, the step
//! itself, the content of the files that it takes. Not in it: times, secrets, what is in cache mounts, names of stages.
//!
//! ```text
//!  build-cache/<key>.json     the layer that the step made, or that it made none
//!  pins/step-<key>            keeps that layer from gc
//! ```

use conex_engine::{Engine, json};
use conex_image::store::Made;
use conex_spec::DiffId;
use conex_spec::image::Descriptor;
use serde::{Deserialize, Serialize};

use super::files::Content;
use super::{Build, Layer};
use crate::graph::Step;
use crate::{Result, Wrap as _};

/// Another way of making keys, or of doing steps, has another number.
const VERSION: u32 = 1;

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

/// A step on layers, with the content that it takes.
pub(super) fn key(below: &[Layer], step: &Step, content: &Content) -> String {
    let mut key = content.clone();
    key.add(&format!("{VERSION}"));
    for layer in below {
        key.add(layer.diff_id.0.as_str());
    }
    key.add(&format!("{:?}", without_numbers(step)));
    key.hex()
}

/// Numbers of nodes are of this graph alone.
fn without_numbers(step: &Step) -> Step {
    let mut step = step.clone();
    match &mut step {
        Step::Scratch | Step::Image(_) | Step::Context(_) => {}
        Step::Directory(directory) => directory.parent = 0,
        Step::Copy(copy) => {
            copy.parent = 0;
            copy.from = copy.from.map(|_| 0);
        }
        Step::Run(run) => {
            run.parent = 0;
            for (_, from) in &mut run.mounts {
                *from = from.map(|_| 0);
            }
        }
    }
    step
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

impl Build<'_> {
    /// `Some(None)`: the step is known to change nothing.
    pub(super) fn recall(&self, key: &str) -> Result<Option<Option<Layer>>> {
        if self.options.usage == Usage::Refresh {
            return Ok(None);
        }
        let Some(record) = json::read::<Record>(&self.record_path(key))? else { return Ok(None) };
        let Some(descriptor) = record.layer else { return Ok(Some(None)) };
        let diff_id = DiffId(descriptor.digest.clone());
        if record.version != VERSION || !self.store.has_layer(&diff_id)? {
            return Ok(None);
        }
        let path = self.store.made_layer(&diff_id);
        Ok(Some(Some(Layer { descriptor, diff_id, path })))
    }

    pub(super) fn remember(&self, key: &str, layer: Option<&Layer>) -> Result<()> {
        let digests: Vec<_> = layer.iter().map(|layer| layer.diff_id.0.clone()).collect();
        self.store.pin(&format!("step-{key}"), &digests)?;
        let path = self.record_path(key);
        let directory = path.parent().expect("it is in a directory");
        std::fs::create_dir_all(directory).wrap(|| format!("make {}", directory.display()))?;
        json::write(&path, &Record { version: VERSION, layer: layer.map(|layer| layer.descriptor.clone()) })
    }

    fn record_path(&self, key: &str) -> std::path::PathBuf {
        self.engine.settings.root.join(RECORDS).join(format!("{key}.json"))
    }

    /// What was made as a layer of the store.
    pub(super) fn layer(&self, made: &Made) -> Layer {
        let path = self.store.made_layer(&made.diff_id);
        Layer { descriptor: made.descriptor(), diff_id: made.diff_id.clone(), path }
    }
}
