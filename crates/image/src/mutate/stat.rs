// SPDX-License-Identifier: Apache-2.0
//! An image's history, each step beside the layer it made. Pure.

use conex_spec::DiffId;
use conex_spec::image::{Descriptor, History};

use crate::{Error, Image, Result};

/// One step of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// The layer that the step made, and what its tar hashes to; `None` for a step that changed no file.
    pub layer: Option<(&'a Descriptor, &'a DiffId)>,
    /// What is said about it.
    pub history: &'a History,
}

/// Pairs the history with the layers, in order. Layers that the history does not tell of are left out, as by umoci.
pub fn steps(image: &Image) -> Result<Vec<Step<'_>>> {
    let mut layers = image.layers();
    let mut steps = Vec::new();
    for history in &image.config.history {
        let layer = if history.empty_layer { None } else { layers.next() };
        if layer.is_none() && !history.empty_layer {
            return Err(Error::invalid("the history tells of more layers than there are"));
        }
        steps.push(Step { layer, history });
    }
    Ok(steps)
}
