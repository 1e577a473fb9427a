// SPDX-License-Identifier: Apache-2.0
//! Images in memory for this crate's tests, and servers of them that misbehave.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use conex_spec::image::media_type::{self, Compression};
use conex_spec::image::{ContainerConfig, Descriptor, ImageConfig, Index, Manifest, Platform, RootFs};
use conex_spec::{DiffId, Digest};

use crate::layer::compress::Encoder;
use crate::layer::tar::{Entry, Kind, Writer, Xattr};
use crate::transfer::{BlobReader, RawManifest, Source};
use crate::verify::sha256;
use crate::{Error, ErrorKind, Result};

/// A layer's tar under construction.
pub(crate) struct Layer(Writer<Vec<u8>>);

impl Layer {
    pub(crate) fn new() -> Self {
        Self(Writer::new(Vec::new()))
    }

    pub(crate) fn entry(mut self, entry: &Entry, data: &[u8]) -> Self {
        self.0.append(entry, &mut &data[..]).unwrap();
        self
    }

    pub(crate) fn dir(self, path: &str, mode: u32) -> Self {
        self.entry(&Entry::new(path, Kind::Directory, mode), b"")
    }

    pub(crate) fn file(self, path: &str, data: &str) -> Self {
        self.entry(&Entry::new(path, Kind::file(data.len() as u64), 0o644), data.as_bytes())
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(&Entry::new(path, Kind::Symlink { target: target.into() }, 0o777), b"")
    }

    pub(crate) fn link(self, path: &str, target: &str) -> Self {
        self.entry(&Entry::new(path, Kind::Link { target: target.into() }, 0o644), b"")
    }

    pub(crate) fn xattr_file(self, path: &str, name: &str, value: &[u8]) -> Self {
        let mut entry = Entry::new(path, Kind::file(1), 0o644);
        entry.xattrs = vec![Xattr { name: name.into(), value: value.to_vec() }];
        self.entry(&entry, b"x")
    }

    pub(crate) fn tar(self) -> Vec<u8> {
        self.0.finish().unwrap()
    }
}

pub(crate) fn compressed(tar: &[u8], compression: Compression) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new(), compression).unwrap();
    encoder.write_all(tar).unwrap();
    encoder.finish().unwrap()
}

/// An image in memory, as a source. Its fields may be changed to make it lie.
pub(crate) struct Memory {
    pub(crate) blobs: HashMap<Digest, Vec<u8>>,
    pub(crate) top: RawManifest,
    pub(crate) manifest: Manifest,
    /// Blobs that were opened.
    pub(crate) opened: AtomicUsize,
    /// Bytes after which each opened reader breaks, once each.
    pub(crate) cuts: Mutex<Vec<usize>>,
    /// Whether `open_blob` heeds the offset.
    pub(crate) seeks: bool,
}

impl Memory {
    /// An image of these layer tars.
    pub(crate) fn image(tars: &[Vec<u8>], compression: Compression) -> Self {
        Self::with_config(tars, compression, ContainerConfig::default())
    }

    pub(crate) fn with_config(tars: &[Vec<u8>], compression: Compression, config: ContainerConfig) -> Self {
        let diff_ids = tars.iter().map(|tar| DiffId(sha256(tar))).collect();
        let platform = Platform::host();
        let config = ImageConfig {
            architecture: platform.architecture,
            os: platform.os,
            config,
            rootfs: RootFs { kind: "layers".to_owned(), diff_ids },
            ..ImageConfig::default()
        };
        let mut blobs = HashMap::new();
        let mut add = |media_type: &str, bytes: Vec<u8>| {
            let descriptor = Descriptor::new(media_type, sha256(&bytes), bytes.len() as u64);
            blobs.insert(descriptor.digest.clone(), bytes);
            descriptor
        };
        let layer_type = match compression {
            Compression::None => media_type::OCI_LAYER,
            Compression::Gzip => media_type::OCI_LAYER_GZIP,
            Compression::Zstd => media_type::OCI_LAYER_ZSTD,
        };
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            artifact_type: None,
            config: add(media_type::OCI_CONFIG, serde_json::to_vec(&config).unwrap()),
            layers: tars.iter().map(|tar| add(layer_type, compressed(tar, compression))).collect(),
            subject: None,
            annotations: std::collections::BTreeMap::new(),
        };
        let mut memory = Self {
            blobs,
            top: RawManifest { descriptor: manifest.config.clone(), bytes: Vec::new() },
            manifest,
            opened: AtomicUsize::new(0),
            cuts: Mutex::new(Vec::new()),
            seeks: true,
        };
        memory.reseal();
        memory
    }

    /// Makes `manifest` the image that is served.
    pub(crate) fn reseal(&mut self) {
        let bytes = serde_json::to_vec(&self.manifest).unwrap();
        self.serve(bytes, media_type::OCI_MANIFEST);
    }

    /// Serves these bytes as the top manifest.
    pub(crate) fn serve(&mut self, bytes: Vec<u8>, media_type: &str) {
        let descriptor = Descriptor::new(media_type, sha256(&bytes), bytes.len() as u64);
        self.blobs.insert(descriptor.digest.clone(), bytes.clone());
        self.top = RawManifest { descriptor, bytes };
    }

    /// Puts the image into an index.
    pub(crate) fn in_index(mut self) -> Self {
        let mut entry = self.top.descriptor.clone();
        entry.platform = Some(Platform::host());
        let index = Index {
            schema_version: 2,
            media_type: Some(media_type::OCI_INDEX.to_owned()),
            artifact_type: None,
            manifests: vec![entry],
            subject: None,
            annotations: std::collections::BTreeMap::new(),
        };
        self.serve(serde_json::to_vec(&index).unwrap(), media_type::OCI_INDEX);
        self
    }
}

/// Ends in a broken connection.
struct Cut(io::Take<io::Cursor<Vec<u8>>>);

impl Read for Cut {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            Ok(0) if !buffer.is_empty() => Err(io::ErrorKind::ConnectionReset.into()),
            other => other,
        }
    }
}

impl Source for Memory {
    fn resolve(&self) -> Result<RawManifest> {
        Ok(self.top.clone())
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<RawManifest> {
        let bytes = self.blobs.get(&descriptor.digest).expect("a manifest that was made").clone();
        Ok(RawManifest { descriptor: descriptor.clone(), bytes })
    }

    fn open_blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobReader> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let missing = || Error::new(ErrorKind::NotFound, "no such blob");
        let bytes = self.blobs.get(&descriptor.digest).ok_or_else(missing)?;
        let offset = if self.seeks { offset } else { 0 };
        let rest = bytes[usize::try_from(offset).unwrap().min(bytes.len())..].to_vec();
        let is_layer = self.manifest.layers.iter().any(|layer| layer.digest == descriptor.digest);
        let cut = if is_layer { self.cuts.lock().unwrap().pop() } else { None };
        let reader: Box<dyn Read + Send> = match cut {
            Some(len) => Box::new(Cut(io::Cursor::new(rest).take(len as u64))),
            None => Box::new(io::Cursor::new(rest)),
        };
        Ok(BlobReader { reader, offset })
    }

    fn describe(&self) -> String {
        "memory:".to_owned()
    }
}
