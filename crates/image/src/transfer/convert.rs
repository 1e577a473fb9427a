// SPDX-License-Identifier: Apache-2.0
//! An image in another form, as a [`Source`] of its own: what it serves is what would have been there.
//!
//! ```text
//!  layer ──► verify ──► decompress ──► verify against diff_id ──► compress ──► nameless file
//!                                                                  └─► new descriptor ─► new manifest ─► new index
//! ```
//! Documents that change are written anew; everything else is handed through. A layer that only changes its media
//! type keeps its bytes. Converted layers wait on disk, in files without names that vanish with this process.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::sync::Arc;

use conex_spec::Digest;
use conex_spec::image::media_type::{self, Compression};
use conex_spec::image::{Descriptor, ImageConfig, Manifest};

use super::form::{Form, Format};
use super::{BlobReader, RawManifest, Source};
use crate::image::MAX_DEPTH;
use crate::layer::compress::{Encoder, decoder};
use crate::manifest::{self, Document};
use crate::section::Section;
use crate::verify::{self, Hasher, Hashing, VerifyingReader};
use crate::{Error, Result, Wrap};

/// What became of the image below `inner`.
pub(super) struct Converted<'a> {
    inner: &'a dyn Source,
    form: Form,
    top: RawManifest,
    manifests: HashMap<Digest, RawManifest>,
    layers: HashMap<Digest, (Arc<File>, u64)>,
    /// By the digest of what it was made from, for layers that several images share.
    made: HashMap<(Digest, String), Descriptor>,
}

impl<'a> Converted<'a> {
    /// `top` and all below it, converted; `None` if it has that form already.
    pub(super) fn new(inner: &'a dyn Source, top: &RawManifest, form: Form) -> Result<Option<Self>> {
        if form == Form::default() {
            return Ok(None);
        }
        let mut converted = Self {
            inner,
            form,
            top: top.clone(),
            manifests: HashMap::new(),
            layers: HashMap::new(),
            made: HashMap::new(),
        };
        let changed = converted.document(top, 0)?;
        if changed == *top {
            return Ok(None);
        }
        converted.top = changed;
        Ok(Some(converted))
    }

    fn document(&mut self, raw: &RawManifest, depth: usize) -> Result<RawManifest> {
        if depth > MAX_DEPTH {
            return Err(Error::invalid(format!("indexes nested deeper than {MAX_DEPTH}")));
        }
        let current = raw.descriptor.media_type.as_str();
        let changed = match Document::parse(raw)? {
            Document::Manifest(manifest) if self.form.holds(current, &manifest)? => return Ok(raw.clone()),
            Document::Manifest(mut manifest) => {
                self.image(&mut manifest)?;
                manifest.media_type = Some(self.form.document(current).to_owned());
                serde_json::to_vec(&manifest)
            }
            Document::Index(mut index) => {
                let mut same = self.form.document(current) == current;
                for entry in &mut index.manifests {
                    if !manifest::is_manifest(&entry.media_type) {
                        continue;
                    }
                    let below = self.inner.manifest(entry)?;
                    let changed = self.document(&below, depth + 1)?.descriptor;
                    same &= changed.digest == entry.digest;
                    (entry.media_type, entry.digest, entry.size) =
                        (changed.media_type, changed.digest, changed.size);
                }
                if same {
                    return Ok(raw.clone());
                }
                index.media_type = Some(self.form.document(current).to_owned());
                if self.form.format == Some(Format::Docker) {
                    index.annotations.clear();
                }
                serde_json::to_vec(&index)
            }
        };
        let bytes = changed.map_err(|error| Error::invalid(error.to_string()))?;
        let changed = manifest::verified(bytes, self.form.document(current), None)?;
        self.manifests.insert(changed.descriptor.digest.clone(), changed.clone());
        Ok(changed)
    }

    fn image(&mut self, manifest: &mut Manifest) -> Result<()> {
        let bytes = verify::read_small(self.inner.open_blob(&manifest.config, 0)?.reader, &manifest.config)?;
        let config: ImageConfig = manifest::parse_strictly(&bytes)?;
        let diff_ids = config.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            let message = format!(
                "{} layers, but {} diff_ids in the configuration",
                manifest.layers.len(),
                diff_ids.len()
            );
            return Err(Error::invalid(message));
        }
        manifest.config.media_type = self.form.document(&manifest.config.media_type).to_owned();
        for (layer, diff_id) in manifest.layers.iter_mut().zip(&diff_ids) {
            let before = layer.digest.clone();
            *layer = self.layer(layer, &diff_id.0).wrap(|| format!("convert layer {before}"))?;
        }
        if self.form.format == Some(Format::Docker) {
            manifest.annotations.clear();
            manifest.config.annotations.clear();
            manifest.layers.iter_mut().for_each(|layer| layer.annotations.clear());
        }
        Ok(())
    }

    /// The layer in its new form. Without a change of compression its bytes stay.
    fn layer(&mut self, layer: &Descriptor, diff_id: &Digest) -> Result<Descriptor> {
        let (media_type, compression) = self.form.layer(&layer.media_type)?;
        let renamed = Descriptor { media_type: media_type.to_owned(), ..layer.clone() };
        if media_type::kind(media_type) == media_type::kind(&layer.media_type) {
            return Ok(renamed);
        }
        let key = (layer.digest.clone(), media_type.to_owned());
        if let Some(made) = self.made.get(&key) {
            return Ok(made.clone());
        }
        let (file, digest, size) = self.repack(layer, diff_id, compression)?;
        self.layers.insert(digest.clone(), (Arc::new(file), size));
        let made = Descriptor { digest, size, annotations: Default::default(), ..renamed };
        self.made.insert(key, made.clone());
        Ok(made)
    }

    /// One pass over the layer. Both ends of it are checked: what was stored, and the tar that it holds.
    fn repack(
        &self,
        layer: &Descriptor,
        diff_id: &Digest,
        compression: Compression,
    ) -> Result<(File, Digest, u64)> {
        let file = tempfile::tempfile().wrap(|| "a file for the converted layer")?;
        let mut stored = VerifyingReader::new(self.inner.open_blob(layer, 0)?.reader, layer);
        let hashed = Hashing::new(BufWriter::new(file));
        let mut encoder = Encoder::new(hashed, compression)?;
        let mut tar = Hasher::new(diff_id.algorithm());
        let mut buffer = vec![0; 128 << 10];
        let mut seen = 0;
        {
            let mut plain = decoder(BufReader::with_capacity(128 << 10, &mut stored))?;
            loop {
                let len = plain.read(&mut buffer)?;
                if len == 0 {
                    break;
                }
                tar.update(&buffer[..len]);
                encoder.write_all(&buffer[..len])?;
                seen += len as u64;
            }
        }
        stored.finish()?;
        verify::check(diff_id, seen, &tar.finish(), seen)?;
        let Hashing { output, hasher, size } = encoder.finish()?;
        let file = output.into_inner().map_err(|error| Error::from(error.into_error()))?;
        Ok((file, hasher.finish(), size))
    }
}

impl Source for Converted<'_> {
    fn resolve(&self) -> Result<RawManifest> {
        Ok(self.top.clone())
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<RawManifest> {
        match self.manifests.get(&descriptor.digest) {
            Some(manifest) => Ok(manifest.clone()),
            None => self.inner.manifest(descriptor),
        }
    }

    fn open_blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobReader> {
        let Some((file, size)) = self.layers.get(&descriptor.digest) else {
            return self.inner.open_blob(descriptor, offset);
        };
        Ok(BlobReader { reader: Box::new(Section::new(file.clone(), offset, *size)), offset })
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn repository(&self) -> Option<(String, String)> {
        self.inner.repository()
    }
}
