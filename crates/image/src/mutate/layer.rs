// SPDX-License-Identifier: Apache-2.0
//! A layer on its way into a layout: tar → diff_id → compressed → digest → blob, in one pass.

use std::io::{self, Write};

use conex_spec::image::Descriptor;
use conex_spec::image::media_type::Compression;
use conex_spec::{Algorithm, DiffId};

use super::Draft;
use crate::Result;
use crate::layer::compress::Encoder;
use crate::layout::{Layout, NewBlob};
use crate::verify::Hasher;

/// A layer that is in the layout, and what its tar hashes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLayer {
    /// The blob.
    pub descriptor: Descriptor,
    /// The uncompressed tar.
    pub diff_id: DiffId,
}

/// Takes the bytes of a tar.
#[derive(Debug)]
pub struct LayerWriter<'a> {
    encoder: Encoder<NewBlob<'a>>,
    hasher: Hasher,
    media_type: &'static str,
}

impl Draft {
    /// Begins a layer for this image.
    pub fn new_layer<'a>(&self, layout: &'a Layout, compression: Compression) -> Result<LayerWriter<'a>> {
        Ok(LayerWriter {
            encoder: Encoder::new(layout.new_blob()?, compression)?,
            hasher: Hasher::new(Algorithm::Sha256),
            media_type: self.layer_type(compression),
        })
    }
}

impl LayerWriter<'_> {
    /// Stores the layer.
    pub fn finish(self) -> Result<NewLayer> {
        let descriptor = self.encoder.finish()?.publish(self.media_type)?;
        Ok(NewLayer { descriptor, diff_id: DiffId(self.hasher.finish()) })
    }
}

impl Write for LayerWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.encoder.write(bytes)?;
        self.hasher.update(&bytes[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.encoder.flush()
    }
}
