// SPDX-License-Identifier: Apache-2.0
//! Reads an image. Its layers are put together from tar-split and the unpacked files, uncompressed, so the manifest that is
//! served names them by their diff_ids; where it does so already, it is the stored one, byte for byte.

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use conex_spec::distribution::Reference;
use conex_spec::image::{Descriptor, ImageConfig, Manifest, media_type};
use conex_spec::{DiffId, Digest};
use conex_sys::path::Root;
use flate2::bufread::GzDecoder;

use super::records::{document_file, manifest_document};
use super::{Area, IMAGES, ImageRecord, LAYERS, LayerRecord, Share, Storage, StorageName};
use crate::layer::tar::split::Joined;
use crate::layout::files;
use crate::manifest::{self, Document, MAX_MANIFEST};
use crate::transfer::{BlobReader, RawManifest, Source};
use crate::verify::sha256;
use crate::{Error, ErrorKind, Result, Wrap};

/// An image of a storage.
#[derive(Debug)]
pub struct StorageSource {
    storage: Storage,
    description: String,
    manifest: RawManifest,
    config: (Digest, Vec<u8>),
    /// As the manifest that is served names them, and what they are called in the storage.
    layers: Vec<(Descriptor, String)>,
}

impl StorageSource {
    /// Opens an image. It is looked for in the storages in their order: the one with the containers, then those that are only
    /// read (`additionalimagestores`).
    pub fn open(storages: &[PathBuf], name: &StorageName) -> Result<Self> {
        let mut missing = Error::new(ErrorKind::NotFound, "no storage to look in");
        for path in storages {
            match Self::open_in(path, name) {
                Err(error) if error.kind() == ErrorKind::NotFound => missing = error,
                other => return other,
            }
        }
        Err(missing)
    }

    fn open_in(path: &Path, name: &StorageName) -> Result<Self> {
        let description = format!("containers-storage:[overlay@{}]{}", path.display(), name.image);
        let open = || {
            let storage = Storage::open(path)?;
            // In this order, as all take them.
            let layers = storage.layers(Share::Readers)?;
            let images = storage.images(Share::Readers)?;
            let (image, digest) = find(&images.records.view()?, &name.image)?;
            let document = digest.map_or("manifest".to_owned(), |digest| manifest_document(&digest));
            let stored = read_document(&images, &image.id, &document)?;
            let found = Found { image: &image, stored, images: &images };
            let (manifest, config, layers) = found.served(&layers)?;
            Ok((storage, manifest, config, layers))
        };
        let (storage, manifest, config, layers) =
            open().map_err(|error: Error| error.wrap(description.clone()))?;
        Ok(Self { storage, description, manifest, config, layers })
    }
}

/// The image that a person means, and the digest of its manifest where that was said.
fn find(images: &[ImageRecord], text: &str) -> Result<(ImageRecord, Option<Digest>)> {
    let id = text.rsplit_once('@').map_or(text, |(_, id)| id);
    let is_id = id.len() >= 3 && id.bytes().all(|b| b.is_ascii_hexdigit());
    let mut by_id = images.iter().filter(|image| is_id && image.id.starts_with(id));
    if let (Some(only), None) = (by_id.next(), by_id.next()) {
        return Ok((only.clone(), None));
    }
    let reference: Reference = text.parse()?;
    let (repository, canonical) = (reference.repository(), reference.canonical());
    let has_name =
        |image: &&ImageRecord, test: &dyn Fn(&str) -> bool| image.names.iter().any(|name| test(name));
    let found = match &reference.digest {
        Some(digest) => images.iter().find(|image| {
            let document = manifest_document(digest);
            let holds = image.digest.as_ref() == Some(digest) || image.big_data_names.contains(&document);
            holds
                && has_name(image, &|name| {
                    name.parse().is_ok_and(|name: Reference| name.repository() == repository)
                })
        }),
        None => images.iter().find(|image| has_name(image, &|name| name == canonical)).or_else(|| {
            let short = if text.contains(':') { format!("/{text}") } else { format!("/{text}:latest") };
            let mut ending = images.iter().filter(|image| has_name(image, &|name| name.ends_with(&short)));
            ending.next().filter(|_| ending.next().is_none())
        }),
    };
    let found = found.ok_or_else(|| {
        let mut names: Vec<&str> = images.iter().flat_map(|image| &image.names).map(String::as_str).collect();
        names.truncate(20);
        let message = format!("no image of this name; there are {}", names.join(", "));
        Error::new(ErrorKind::NotFound, message)
    })?;
    Ok((found.clone(), reference.digest))
}

fn read_document(images: &Area, image: &str, name: &str) -> Result<Vec<u8>> {
    let read = || -> Result<Vec<u8>> {
        files::read(&images.dir.open_dir(image)?.open_file(document_file(name))?, MAX_MANIFEST)
    };
    read().wrap(|| format!("{IMAGES}/{image}: {name}"))
}

/// An image with its manifest as it is kept.
struct Found<'a> {
    image: &'a ImageRecord,
    stored: Vec<u8>,
    images: &'a Area,
}

type Served = (RawManifest, (Digest, Vec<u8>), Vec<(Descriptor, String)>);

impl Found<'_> {
    /// What is served: the manifest, the configuration, the layers.
    fn served(self, layers: &Area) -> Result<Served> {
        let media_type = manifest::sniff_media_type(&self.stored)
            .ok_or_else(|| Error::invalid("its manifest is none that we know"))?;
        let stored = manifest::verified(self.stored, &media_type, None)?;
        let Document::Manifest(parsed) = Document::parse(&stored)? else {
            let message = "is an index, and an index has other digests than what is unpacked here";
            return Err(Error::new(ErrorKind::Unsupported, message).with_hint("name one of its images"));
        };
        let config = read_document(self.images, &self.image.id, parsed.config.digest.as_str())?;
        if sha256(&config) != parsed.config.digest {
            return Err(Error::invalid(format!("configuration {}: is another one", parsed.config.digest)));
        }
        let ImageConfig { rootfs, .. } = manifest::parse_strictly(&config).wrap(|| "configuration")?;
        let chain = chain(&layers.records.view()?, &self.image.layer)?;
        if chain.len() != rootfs.diff_ids.len() || chain.len() != parsed.layers.len() {
            let message =
                format!("{} layers are here, the configuration has {}", chain.len(), rootfs.diff_ids.len());
            return Err(Error::invalid(message));
        }
        let mut named = Vec::new();
        for ((record, diff_id), layer) in chain.iter().zip(&rootfs.diff_ids).zip(&parsed.layers) {
            let layer =
                uncompressed(layers, record, diff_id, layer).wrap(|| format!("layer {}", record.id))?;
            named.push((layer, record.id.clone()));
        }
        let config = (parsed.config.digest.clone(), config);
        let served: Vec<Descriptor> = named.iter().map(|(layer, _)| layer.clone()).collect();
        if served == parsed.layers {
            return Ok((stored, config, named));
        }
        let manifest = Manifest { layers: served, ..*parsed };
        let bytes = serde_json::to_vec(&manifest).map_err(|error| Error::invalid(error.to_string()))?;
        Ok((manifest::verified(bytes, &media_type, None)?, config, named))
    }
}

/// From the bottom to `top`.
fn chain(layers: &[LayerRecord], top: &str) -> Result<Vec<LayerRecord>> {
    let mut chain: Vec<LayerRecord> = Vec::new();
    let mut next = top;
    while !next.is_empty() {
        let layer = layers.iter().find(|layer| layer.id == next && !layer.is_incomplete());
        let layer = layer.ok_or_else(|| Error::invalid(format!("layer {next} is not here as a whole")))?;
        if chain.len() >= layers.len() {
            return Err(Error::invalid("layers lie on each other in a circle"));
        }
        next = &layer.parent;
        chain.push(layer.clone());
    }
    chain.reverse();
    Ok(chain)
}

/// How a layer is served. Where the manifest has it like that, its descriptor stays.
fn uncompressed(
    layers: &Area,
    record: &LayerRecord,
    diff_id: &DiffId,
    stored: &Descriptor,
) -> Result<Descriptor> {
    if stored.digest == diff_id.0 {
        return Ok(stored.clone());
    }
    if record.diff_digest.as_ref().is_some_and(|digest| *digest != diff_id.0) {
        return Err(Error::invalid(format!("is not {diff_id}, as the configuration says")));
    }
    let size = match u64::try_from(record.diff_size) {
        Ok(size) if size > 0 => size,
        _ => Joined::measure(&mut notes(layers, &record.id)?).wrap(|| "tar-split")?,
    };
    let is_docker = stored.media_type.starts_with("application/vnd.docker.");
    let media_type = if is_docker { media_type::DOCKER_LAYER } else { media_type::OCI_LAYER };
    Ok(Descriptor::new(media_type, diff_id.0.clone(), size))
}

/// tar-split of a layer, decompressed.
fn notes(layers: &Area, id: &str) -> Result<impl io::BufRead + Send + use<>> {
    let file = layers.dir.open_file(format!("{id}.tar-split.gz")).map_err(|error| {
        Error::from(error).wrap(format!("{LAYERS}: layer {id} can only be had back with its tar-split"))
    })?;
    Ok(BufReader::new(GzDecoder::new(BufReader::new(file))))
}

impl Storage {
    /// The archive that a layer was unpacked from. Nobody removes the layer while it is read.
    pub(super) fn archive(&self, id: &str) -> Result<Box<dyn Read + Send>> {
        let layers = self.layers(Share::Readers)?;
        let joined = Joined::new(notes(&layers, id)?, Root::new(self.diff(id)?));
        Ok(Box::new(Held { joined, _layers: layers }))
    }
}

/// Keeps the lock as long as it is read.
struct Held<R> {
    joined: R,
    _layers: Area,
}

impl<R: Read> Read for Held<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.joined.read(buffer)
    }
}

impl Source for StorageSource {
    fn resolve(&self) -> Result<RawManifest> {
        Ok(self.manifest.clone())
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<RawManifest> {
        self.manifest.only(descriptor)
    }

    fn open_blob(&self, descriptor: &Descriptor, _offset: u64) -> Result<BlobReader> {
        if descriptor.digest == self.config.0 {
            return Ok(BlobReader { reader: Box::new(io::Cursor::new(self.config.1.clone())), offset: 0 });
        }
        let layer = self.layers.iter().find(|(layer, _)| layer.digest == descriptor.digest);
        let (_, id) = layer
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("no blob {} here", descriptor.digest)))?;
        Ok(BlobReader { reader: self.storage.archive(id)?, offset: 0 })
    }

    fn describe(&self) -> String {
        self.description.clone()
    }
}
