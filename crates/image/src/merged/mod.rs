// SPDX-License-Identifier: Apache-2.0
//! image-spec v1.1: layer.md#applying-changesets
//!
//! An image's file system, known from its layers without unpacking them: nothing is created, so nobody's rights matter, and
//! owners, devices and attributes are what the layers say. The semantics are those of [`crate::layer::apply`]'s plain form.
//!
//! ```text
//!  layers ──read once──► names → inodes ──► compare, find a path
//!  layers ──read again───────┴─────────► one archive, one file
//! ```
//! Content is not kept: an inode knows in which layer, and as which member of it, its bytes are.

mod apply;
mod compare;
mod content;
mod path;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use conex_spec::{Algorithm, Digest};

use crate::layer::apply::Limits;
use crate::layer::pass::{Drain, Feed, pass, stream};
use crate::layer::tar::{Entry, Kind, Reader};
use crate::transfer::{Silent, Source};
use crate::verify::Hasher;
use crate::{Error, Image, Result, Wrap};

pub use compare::{Change, Difference};
pub(crate) use content::Expanded;
pub use content::For;

/// What a name leads to.
#[derive(Clone, Debug)]
pub(crate) struct Inode {
    /// As the layer says it, without the path. Never a link.
    entry: Entry,
    /// Which layer, and which member of its archive; `None` for a directory that no layer describes.
    place: Option<(usize, u64)>,
    /// What a regular file holds, where it was asked for.
    digest: Option<Digest>,
}

/// The merged tree.
#[derive(Debug)]
pub struct Merged {
    /// Paths from the root, which has the empty one; sorted by component, so that a directory comes before what is in it
    /// and what is in it follows at once.
    names: BTreeMap<PathBuf, usize>,
    inodes: Vec<Inode>,
}

/// Whether files are hashed on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// Only names and metadata matter.
    No,
    /// Content is to be compared.
    Files,
}

impl Merged {
    /// Reads all layers of an image, each verified.
    pub fn read(image: &Image, source: &dyn Source, hash: Hash) -> Result<Self> {
        let mut merging = apply::Merging::new(Limits::default());
        for layer in 0..image.manifest.layers.len() {
            merging.begin_layer();
            let mut member = 0;
            read_layer(image, source, layer, |entry, data| {
                member += 1;
                let path = entry.path.clone();
                let digest = match (&entry.kind, hash) {
                    (Kind::File { .. }, Hash::Files) => Some(digest_of(&entry, data)?),
                    _ => None,
                };
                merging.entry(entry, (layer, member), digest).wrap(|| format!("entry {member} {path:?}"))
            })?;
        }
        Ok(merging.finish())
    }

    fn at(&self, path: &Path) -> Option<&Inode> {
        self.names.get(path).map(|inode| &self.inodes[*inode])
    }
}

/// What the bytes of a layer's member are read from.
pub(crate) type Data<'a> = &'a mut dyn std::io::BufRead;

/// Every member of one layer, in order. The layer is verified at both ends, after the last member.
pub(crate) fn read_layer(
    image: &Image,
    source: &dyn Source,
    layer: usize,
    mut each: impl FnMut(Entry, Data<'_>) -> Result<()> + Send,
) -> Result<()> {
    let (descriptor, diff_id) = image.layers().nth(layer).expect("a layer of this image");
    let walk = |archive: &mut Drain| {
        let mut reader = Reader::new(archive);
        while let Some(entry) = reader.next_entry()? {
            each(entry, &mut reader.data())?;
        }
        Ok(())
    };
    let fetch = |feed: &mut Feed| stream(descriptor, source, &Silent, &mut |bytes| feed.copy(bytes));
    let read = pass(descriptor.size, fetch, walk);
    let (found, ()) = read.wrap(|| format!("layer {}", descriptor.digest))?;
    if found != *diff_id {
        let message = format!("layer {}: the content is {found}, not {diff_id}", descriptor.digest);
        return Err(Error::invalid(message));
    }
    Ok(())
}

fn digest_of(entry: &Entry, data: Data<'_>) -> Result<Digest> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut content = Expanded::new(entry, data);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match std::io::Read::read(&mut content, &mut buffer)? {
            0 => return Ok(hasher.finish()),
            len => hasher.update(&buffer[..len]),
        }
    }
}

#[cfg(test)]
mod tests;
