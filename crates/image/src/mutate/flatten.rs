// SPDX-License-Identifier: Apache-2.0
//! All layers of an image as one. What upper layers took away or replaced is not in it any more.

use conex_spec::image::media_type::Compression;

use super::{Draft, NewLayer, Note};
use crate::layout::Layout;
use crate::merged::{For, Hash, Merged};
use crate::transfer::Source;
use crate::{Image, Result, Wrap};

/// Stores the one layer. Reads each of the image's twice. Later times become `latest` (seconds since 1970).
pub fn flatten(
    draft: &Draft,
    layout: &Layout,
    image: &Image,
    source: &dyn Source,
    compression: Compression,
    latest: Option<i64>,
) -> Result<NewLayer> {
    let merged = Merged::read(image, source, Hash::No)?;
    let layer = draft.new_layer(layout, compression)?;
    merged.write(image, source, layer, latest, For::Layer).wrap(|| "the flat layer")?.finish()
}

impl Draft {
    /// Puts one layer in the place of all. The history still tells how they came about, but of no layer any more.
    pub fn replace_layers(&mut self, layer: NewLayer, note: Option<&Note>) {
        self.manifest.layers.clear();
        self.config.rootfs.diff_ids.clear();
        match note {
            Some(_) => self.config.history.iter_mut().for_each(|step| step.empty_layer = true),
            // It would tell of other layers than there are.
            None => self.config.history.clear(),
        }
        self.append(layer, note);
    }
}
