// SPDX-License-Identifier: Apache-2.0
//! Changing an image that does not lie in a layout: what is new waits in a layout of its own, and what was there is read
//! from where it is. Both together are one [`Source`], which a copy then brings to its place.
//!
//! ```text
//!  place ──► Draft ──commit──► scratch: new layers, config, manifest ─┐
//!    └───────────── layers that stay ─────────────────────────────────┴─► Edition ──copy──► place, under one name
//! ```
//! A registry that has the old layers already is not asked for them, unless a verb reads what is in them.

use std::sync::Arc;

use conex_spec::image::{Descriptor, media_type};

use crate::layout::{Layout, LayoutName, LayoutSource};
use crate::transfer::{BlobReader, RawManifest, Source};
use crate::{Image, Result, Wrap};

/// What the new image is called in the scratch layout.
const NAME: &str = "new";

/// A layout for what is new. Goes with the last who needs it; what a killed process leaves is a directory of temporary files.
#[derive(Debug)]
pub struct Scratch {
    layout: Layout,
    directory: Arc<tempfile::TempDir>,
}

impl Scratch {
    /// An empty one, where temporary files are.
    pub fn new() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("conex-image-").tempdir();
        let directory = directory.wrap(|| "a directory for the new image")?;
        let path = directory.path().join("layout");
        Layout::init(&path)?;
        Ok(Self { layout: Layout::open(&path)?, directory: Arc::new(directory) })
    }

    /// Where new layers go, and [`super::Draft::commit`] under [`Scratch::name`].
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What the new image must be called.
    pub fn name(&self) -> &'static str {
        NAME
    }

    /// Brings the indexes that lead to an image, which are written anew around it.
    pub fn bring_indexes(&self, source: &dyn Source, walk: &[Descriptor]) -> Result<()> {
        let is_index = |d: &&Descriptor| media_type::kind(&d.media_type) == media_type::Kind::Index;
        for index in walk.iter().filter(is_index) {
            self.layout.put(&index.media_type, &source.manifest(index)?.bytes)?;
        }
        Ok(())
    }

    /// Layers that are far away come near, to be read more than once.
    pub fn fetch_layers(&self, image: &Image, source: Box<dyn Source>) -> Result<Box<dyn Source>> {
        if source.repository().is_none() {
            return Ok(source);
        }
        for layer in &image.manifest.layers {
            self.layout.take(layer, source.as_ref()).wrap(|| source.describe())?;
        }
        Ok(Box::new(self.over(vec![source])?))
    }

    /// The new image over what was there.
    pub fn over(&self, old: Vec<Box<dyn Source>>) -> Result<Edition> {
        let path = self.directory.path().join("layout");
        let new = LayoutSource::open(&LayoutName { path, reference: Some(NAME.to_owned()) })?;
        Ok(Edition { new, old, _directory: self.directory.clone() })
    }
}

/// What is new, and for the rest what was there, the first place that has it.
pub struct Edition {
    new: LayoutSource,
    old: Vec<Box<dyn Source>>,
    _directory: Arc<tempfile::TempDir>,
}

impl Edition {
    /// What all refuse is refused in the words of the first of the old ones, where everything but what is new should be.
    fn first<T>(&self, ask: impl Fn(&dyn Source) -> Result<T>) -> Result<T> {
        let new = ask(&self.new);
        let mut refusal = None;
        for source in self.old.iter().take_while(|_| new.is_err()) {
            match ask(source.as_ref()) {
                Ok(answer) => return Ok(answer),
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        refusal.map_or(new, Err)
    }
}

impl Source for Edition {
    fn resolve(&self) -> Result<RawManifest> {
        let top = self.first(|source| source.resolve())?;
        // The name is its place's own.
        let annotations = Default::default();
        Ok(RawManifest { descriptor: Descriptor { annotations, ..top.descriptor }, bytes: top.bytes })
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<RawManifest> {
        self.first(|source| source.manifest(descriptor))
    }

    fn open_blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobReader> {
        self.first(|source| source.open_blob(descriptor, offset))
    }

    fn describe(&self) -> String {
        self.old.first().map_or_else(|| "the new image".to_owned(), |source| source.describe())
    }

    fn repository(&self) -> Option<(String, String)> {
        self.old.first().and_then(|source| source.repository())
    }
}
