// SPDX-License-Identifier: Apache-2.0
//! Images made from lists of entries, and OCI layouts to keep them in (image-spec v1.1).
//!
//! Everything is bytes that a test may bend before writing them: a [`Layer`]'s blob, digest and media type, an
//! [`Image`]'s configuration and manifest. [`Layout`] writes what it is given, and never checks it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::Digest;

use crate::tar::{self, Entry};

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// `sha256:…` of some bytes.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&sha2::Sha256::digest(bytes)))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How a layer is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    fn media_type(self) -> &'static str {
        match self {
            Self::None => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }

    fn compress(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::None => bytes.to_vec(),
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
                encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("gzip to memory")
            }
            Self::Zstd => zstd::encode_all(bytes, 3).expect("zstd to memory"),
        }
    }
}

/// A layer as stored, with what the manifest and the configuration say of it.
#[derive(Clone, Debug)]
pub struct Layer {
    pub blob: Vec<u8>,
    pub digest: String,
    pub size: u64,
    pub media_type: String,
    pub diff_id: String,
}

impl Layer {
    /// Of entries, with gzip.
    pub fn new(entries: &[Entry]) -> Self {
        Self::of_tar(&tar::archive(entries), Compression::Gzip)
    }

    /// Of a whole tar archive.
    pub fn of_tar(archive: &[u8], compression: Compression) -> Self {
        let blob = compression.compress(archive);
        Self {
            digest: digest(&blob),
            size: blob.len() as u64,
            media_type: compression.media_type().into(),
            diff_id: digest(archive),
            blob,
        }
    }

    fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest, "size": self.size })
    }
}

/// An image for this host's platform.
#[derive(Clone, Debug)]
pub struct Image {
    /// The whole image configuration; `rootfs` and `history` are filled in when it is written.
    pub config: Value,
    pub layers: Vec<Layer>,
    pub annotations: serde_json::Map<String, Value>,
    /// Docker's media types instead of OCI's.
    pub docker: bool,
}

impl Image {
    pub fn new(layers: Vec<Layer>) -> Self {
        let config = json!({
            "created": "2024-02-29T12:00:00Z",
            "architecture": "amd64",
            "os": "linux",
            "config": { "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"] },
        });
        Self { config, layers, annotations: serde_json::Map::new(), docker: false }
    }

    /// Sets a property of the execution parameters: `Cmd`, `Env`, `User`, `WorkingDir`, …
    pub fn set(mut self, property: &str, value: impl Into<Value>) -> Self {
        self.config["config"][property] = value.into();
        self
    }

    pub fn cmd(self, words: &[&str]) -> Self {
        self.set("Cmd", words.to_vec())
    }

    pub fn docker(mut self) -> Self {
        self.docker = true;
        self
    }

    /// The configuration as it is stored.
    pub fn config_bytes(&self) -> Vec<u8> {
        let mut config = self.config.clone();
        let ids: Vec<&str> = self.layers.iter().map(|layer| layer.diff_id.as_str()).collect();
        config["rootfs"] = json!({ "type": "layers", "diff_ids": ids });
        let history = |_| json!({ "created": "2024-02-29T12:00:00Z", "created_by": "conex-testkit" });
        config["history"] = self.layers.iter().map(history).collect();
        config.to_string().into_bytes()
    }

    /// The manifest, to be bent or written.
    pub fn manifest(&self) -> Value {
        let config = self.config_bytes();
        let (manifest_type, config_type) =
            if self.docker { (DOCKER_MANIFEST, DOCKER_CONFIG) } else { (MANIFEST, CONFIG) };
        let mut layers: Vec<Value> = self.layers.iter().map(Layer::descriptor).collect();
        if self.docker {
            layers.iter_mut().for_each(|layer| layer["mediaType"] = DOCKER_LAYER.into());
        }
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": { "mediaType": config_type, "digest": digest(&config), "size": config.len() },
            "layers": layers,
        });
        if !self.annotations.is_empty() {
            manifest["annotations"] = self.annotations.clone().into();
        }
        manifest
    }

    pub fn media_type(&self) -> &'static str {
        if self.docker { DOCKER_MANIFEST } else { MANIFEST }
    }

    /// Bytes of all blobs that a pull of it moves: layers and configuration.
    pub fn blob_bytes(&self) -> u64 {
        self.config_bytes().len() as u64
            + self.layers.iter().map(|layer| layer.blob.len() as u64).sum::<u64>()
    }
}

/// An OCI image layout on disk.
#[derive(Clone, Debug)]
pub struct Layout {
    pub path: PathBuf,
}

impl Layout {
    /// Makes an empty one.
    pub fn create(path: &Path) -> Self {
        fs::create_dir_all(path.join("blobs/sha256")).expect("make the layout's directories");
        fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("write oci-layout");
        let layout = Self { path: path.to_owned() };
        layout.write_index(&json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }));
        layout
    }

    /// Adds an image under a name; the digest of its manifest.
    pub fn add(&self, name: &str, image: &Image) -> String {
        for layer in &image.layers {
            self.write_blob(&layer.digest, &layer.blob);
        }
        self.blob(&image.config_bytes());
        self.add_manifest(name, image.media_type(), image.manifest().to_string().as_bytes())
    }

    /// Adds a multi-platform image: (architecture, image) each.
    pub fn add_index(&self, name: &str, images: &[(&str, Image)]) -> String {
        let manifests = images.iter().map(|(architecture, image)| {
            let bytes = image.manifest().to_string().into_bytes();
            image.layers.iter().for_each(|layer| self.write_blob(&layer.digest, &layer.blob));
            self.blob(&image.config_bytes());
            json!({ "mediaType": image.media_type(), "digest": self.blob(&bytes), "size": bytes.len(),
                    "platform": { "architecture": architecture, "os": "linux" } })
        });
        let index =
            json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests.collect::<Vec<_>>() });
        self.add_manifest(name, INDEX, index.to_string().as_bytes())
    }

    /// Adds a manifest as it is under a name; its digest.
    pub fn add_manifest(&self, name: &str, media_type: &str, bytes: &[u8]) -> String {
        let digest = self.blob(bytes);
        let mut index = self.index();
        let entries = index["manifests"].as_array_mut().expect("an index has manifests");
        entries.push(json!({ "mediaType": media_type, "digest": digest, "size": bytes.len(),
            "annotations": { "org.opencontainers.image.ref.name": name } }));
        self.write_index(&index);
        digest
    }

    /// Writes a blob under its true digest.
    pub fn blob(&self, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        self.write_blob(&digest, bytes);
        digest
    }

    /// Writes a blob under any digest.
    pub fn write_blob(&self, digest: &str, bytes: &[u8]) {
        fs::write(self.blob_path(digest), bytes).expect("write a blob");
    }

    pub fn blob_path(&self, digest: &str) -> PathBuf {
        self.path.join("blobs").join(digest.replacen(':', "/", 1))
    }

    pub fn index(&self) -> Value {
        let bytes = fs::read(self.path.join("index.json")).expect("read index.json");
        serde_json::from_slice(&bytes).expect("index.json is JSON")
    }

    pub fn write_index(&self, index: &Value) {
        fs::write(self.path.join("index.json"), index.to_string()).expect("write index.json");
    }
}
