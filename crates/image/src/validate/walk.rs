// SPDX-License-Identifier: Apache-2.0
//! image-spec v1.1: image-layout.md
//!
//! From a document down to the last byte of the last layer: everything that is named is there, has the size and the
//! digest that it is named by, and a layer holds what the configuration says.

use std::collections::HashSet;
use std::io::{self, BufReader, Read};

use conex_spec::Digest;
use conex_spec::image::{Descriptor, ImageConfig, Index, Manifest, media_type};

use super::Violation;
use super::document::{Kind, document};
use crate::image::MAX_DEPTH;
use crate::layer::compress::decoder;
use crate::layer::tar::Reader;
use crate::manifest::MAX_MANIFEST;
use crate::transfer::Source;
use crate::verify::{self, Hasher};

/// Every violation below these entries of an `index.json`. The source only opens blobs; nothing of it is trusted.
pub fn layout(source: &dyn Source, entries: &[Descriptor]) -> Vec<Violation> {
    let mut walk = Walk { source, seen: HashSet::new(), violations: Vec::new() };
    for entry in entries {
        walk.descriptor(entry, 0);
    }
    walk.violations
}

struct Walk<'a> {
    source: &'a dyn Source,
    seen: HashSet<Digest>,
    violations: Vec<Violation>,
}

impl Walk<'_> {
    fn add(&mut self, digest: &Digest, message: impl Into<String>) {
        let place = digest.to_string();
        self.violations.push(Violation { place, pointer: String::new(), message: message.into() });
    }

    fn descriptor(&mut self, descriptor: &Descriptor, depth: usize) {
        if !self.seen.insert(descriptor.digest.clone()) {
            return;
        }
        if depth > MAX_DEPTH {
            return self.add(&descriptor.digest, format!("indexes nested deeper than {MAX_DEPTH}"));
        }
        match Kind::of(&descriptor.media_type) {
            Some(kind) => self.document(descriptor, kind, depth),
            None => drop(self.blob(descriptor)),
        }
    }

    fn document(&mut self, descriptor: &Descriptor, kind: Kind, depth: usize) {
        let Some(bytes) = self.small(descriptor) else { return };
        self.violations.extend(document(descriptor.digest.as_str(), &bytes, kind));
        match kind {
            Kind::Config => {}
            Kind::Index => {
                // What does not even parse has been told.
                let Ok(index) = serde_json::from_slice::<Index>(&bytes) else { return };
                index.manifests.iter().for_each(|below| self.descriptor(below, depth + 1));
            }
            Kind::Manifest => {
                let Ok(manifest) = serde_json::from_slice::<Manifest>(&bytes) else { return };
                self.image(&manifest);
            }
        }
    }

    fn image(&mut self, manifest: &Manifest) {
        self.descriptor(&manifest.config, 0);
        let is_image = Kind::of(&manifest.config.media_type) == Some(Kind::Config);
        let config = self.small_quietly(&manifest.config).filter(|_| is_image);
        let config = config.and_then(|bytes| serde_json::from_slice::<ImageConfig>(&bytes).ok());
        let diff_ids = config.map(|config| config.rootfs.diff_ids).unwrap_or_default();
        if is_image && diff_ids.len() != manifest.layers.len() {
            let message = format!("has {} diff_ids for {} layers", diff_ids.len(), manifest.layers.len());
            self.add(&manifest.config.digest, message);
        }
        for (index, layer) in manifest.layers.iter().enumerate() {
            let fresh = self.seen.insert(layer.digest.clone());
            // What lies elsewhere need not lie here.
            if !layer.urls.is_empty() || (fresh && !self.blob(layer)) {
                continue;
            }
            if let (true, Some(diff_id)) = (is_image, diff_ids.get(index)) {
                self.layer(layer, &diff_id.0);
            }
        }
    }

    /// The tar of a layer: readable to its end, and the one that the configuration means.
    fn layer(&mut self, layer: &Descriptor, diff_id: &Digest) {
        if !matches!(media_type::kind(&layer.media_type), media_type::Kind::Layer(_)) {
            return self.add(&layer.digest, format!("{} is no media type of a layer", layer.media_type));
        }
        let Ok(blob) = self.source.open_blob(layer, 0) else { return };
        let mut hasher = Hasher::new(diff_id.algorithm());
        let read = || -> crate::Result<()> {
            let tar = Hashed { inner: decoder(BufReader::new(blob.reader))?, hasher: &mut hasher };
            let mut tar = BufReader::with_capacity(128 << 10, tar);
            let mut reader = Reader::new(&mut tar);
            while reader.next_entry()?.is_some() {}
            // What is behind the end of the archive is hashed, too.
            io::copy(&mut tar, &mut io::sink())?;
            Ok(())
        };
        let outcome = read();
        if let Err(error) = outcome {
            return self.add(&layer.digest, error.to_string());
        }
        let found = hasher.finish();
        if found != *diff_id {
            self.add(&layer.digest, format!("the content is {found}, but the configuration says {diff_id}"));
        }
    }

    /// Whether a blob is there, with its size and digest.
    fn blob(&mut self, descriptor: &Descriptor) -> bool {
        let check = || {
            let mut blob = self.source.open_blob(descriptor, 0)?.reader;
            let mut hasher = Hasher::new(descriptor.digest.algorithm());
            let seen = hasher.read(&mut blob)?;
            verify::check(&descriptor.digest, descriptor.size, &hasher.finish(), seen)
        };
        let outcome = check();
        let good = outcome.is_ok();
        if let Err(error) = outcome {
            self.add(&descriptor.digest, error.to_string());
        }
        good
    }

    fn small(&mut self, descriptor: &Descriptor) -> Option<Vec<u8>> {
        if !self.blob(descriptor) {
            return None;
        }
        self.small_quietly(descriptor)
    }

    fn small_quietly(&self, descriptor: &Descriptor) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let blob = self.source.open_blob(descriptor, 0).ok()?;
        blob.reader.take(MAX_MANIFEST).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }
}

/// Hashes what is read.
struct Hashed<'a, R> {
    inner: R,
    hasher: &'a mut Hasher,
}

impl<R: Read> Read for Hashed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..len]);
        Ok(len)
    }
}
