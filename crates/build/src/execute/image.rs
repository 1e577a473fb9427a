// SPDX-License-Identifier: Apache-2.0
//! image-spec v1.1: config.md, manifest.md
//!
//! The built image: the target's layers, its configuration, and the history of both.

use std::time::SystemTime;

use conex_spec::Timestamp;
use conex_spec::image::{History, ImageConfig};

use super::schedule::Values;
use super::{Build, Layer};
use crate::commit::{self, Committed};
use crate::graph::Graph;
use crate::{Error, ErrorKind, Result};

impl Build<'_> {
    pub(super) fn image(&self, graph: &Graph, values: &Values) -> Result<Committed> {
        let value = values[graph.target].clone();
        let value = value.ok_or_else(|| Error::new(ErrorKind::State, "the target was not built"))?;
        if value.outside.is_some() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the target is a context without a step of its own",
            ));
        }
        let created = self.options.created.unwrap_or_else(|| SystemTime::now().into());
        let mut config = graph.config.clone();
        config.architecture.clone_from(&self.platform.architecture);
        config.os.clone_from(&self.platform.os);
        config.created = Some(created.to_string());
        config.config.labels.extend(self.options.labels.clone());
        let mut layers = value.layers.clone();
        if self.options.squash {
            layers = vec![self.squash(&layers)?];
            config.history = vec![step(&created, "squash", false)];
        } else {
            self.add_history(&mut config, graph, values, &created);
        }
        config.rootfs.diff_ids = layers.iter().map(|layer| layer.diff_id.clone()).collect();
        let descriptors: Vec<_> = layers.into_iter().map(|layer| layer.descriptor).collect();
        let committed = commit::write(
            &self.store,
            &config,
            &descriptors,
            self.options.format,
            &self.options.annotations,
        )?;
        self.store.keep(&committed.manifest.descriptor)?;
        Ok(committed)
    }

    fn add_history(&self, config: &mut ImageConfig, graph: &Graph, values: &Values, created: &Timestamp) {
        for event in &graph.history {
            let added = event.node.and_then(|node| values[node].as_ref()).is_some_and(|value| value.added);
            config.history.push(step(created, &event.created_by, !added));
        }
    }

    /// All files as one layer.
    fn squash(&self, layers: &[Layer]) -> Result<Layer> {
        let tree = self.tree("squash", layers)?;
        let to = self.work.path().join("squashed");
        tree.with_root(|merged| Ok(self.store.copy_tree(merged, &to)?))?;
        let made = self.store.describe_layer(&to, self.options.times)?;
        self.store.adopt_layer(&to, &made)?;
        Ok(self.layer(&made))
    }
}

fn step(created: &Timestamp, created_by: &str, empty_layer: bool) -> History {
    History {
        created: Some(created.to_string()),
        created_by: Some(created_by.to_owned()),
        comment: Some("conex".to_owned()),
        empty_layer,
        ..History::default()
    }
}
