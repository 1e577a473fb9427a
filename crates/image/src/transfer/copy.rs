// SPDX-License-Identifier: Apache-2.0
//! The walk: children before parents, each blob once, layers side by side.

use conex_spec::image::{Descriptor, Platform};

use super::{Progress, Sink, Source};
use crate::{Error, ErrorKind, Result};

/// What of an index to copy.
#[derive(Clone, Debug)]
pub enum Select {
    /// The one manifest that fits; the sink's name then means that manifest.
    Platform(Platform),
    /// The index and everything below it.
    All,
}

/// How to copy.
#[derive(Clone, Debug)]
pub struct CopyOptions {
    /// One platform, or all.
    pub select: Select,
    /// Blobs under way at a time.
    pub jobs: usize,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self { select: Select::Platform(Platform::host()), jobs: 4 }
    }
}

/// Copies the image that `source` names to what `sink` names, and returns the descriptor committed there.
pub fn copy(
    source: &dyn Source,
    sink: &dyn Sink,
    options: &CopyOptions,
    progress: &dyn Progress,
) -> Result<Descriptor> {
    let _ = (source, sink, options, progress);
    Err(Error::new(ErrorKind::Unsupported, "copy: not built yet"))
}
