// SPDX-License-Identifier: Apache-2.0
//! A small image in memory, and a handler that serves it well.

use std::io::Read;
use std::time::Duration;

use conex_image::transfer::Source;
use conex_registry::{Client, Patience, Remote, Result, Settings};
use conex_spec::image::{Descriptor, media_type};
use conex_spec::{Algorithm, Digest};
use sha2::Digest as _;

use crate::server::{Reply, Seen, Server};

pub(crate) const BLOB_SIZE: usize = 300_000;

#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) blob: Vec<u8>,
    pub(crate) layer: Descriptor,
    pub(crate) manifest: Vec<u8>,
    pub(crate) descriptor: Descriptor,
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::from_hash(Algorithm::Sha256, &sha2::Sha256::digest(bytes))
}

impl Image {
    pub(crate) fn new() -> Self {
        let mut state = 1_u32;
        let blob: Vec<u8> = (0..BLOB_SIZE)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        let layer = Descriptor::new(media_type::OCI_LAYER, digest(&blob), blob.len() as u64);
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","digest":"{}","size":2}},"layers":[{}]}}"#,
            media_type::OCI_MANIFEST,
            media_type::OCI_EMPTY,
            digest(b"{}"),
            serde_json::to_string(&layer).unwrap()
        )
        .into_bytes();
        let descriptor = Descriptor::new(media_type::OCI_MANIFEST, digest(&manifest), manifest.len() as u64);
        Self { blob, layer, manifest, descriptor }
    }

    /// The right answer to a pull request.
    pub(crate) fn reply(&self, seen: &Seen) -> Reply {
        if seen.target.contains("/manifests/") {
            return self.manifest_reply();
        }
        if seen.target.contains(self.layer.digest.hex()) {
            return self.blob_reply(seen.range());
        }
        Reply::new(404, r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#)
    }

    pub(crate) fn manifest_reply(&self) -> Reply {
        Reply::new(200, self.manifest.clone())
            .header("content-type", media_type::OCI_MANIFEST)
            .header("docker-content-digest", self.descriptor.digest.as_str())
    }

    pub(crate) fn blob_reply(&self, range: Option<usize>) -> Reply {
        let size = self.blob.len();
        match range {
            Some(at) if at < size => Reply::new(206, &self.blob[at..])
                .header("content-range", format!("bytes {at}-{}/{size}", size - 1)),
            Some(_) => Reply::new(416, ""),
            None => Reply::new(200, &self.blob[..]),
        }
    }
}

/// Settings that lose patience fast.
pub(crate) fn hasty() -> Settings {
    let mut settings = Settings::new("conex-test");
    settings.patience = Patience {
        connect: Duration::from_secs(5),
        answer: Duration::from_millis(1500),
        stall: Duration::from_millis(400),
        stall_bytes: 1024,
        attempts: 4,
        backoff: Duration::from_millis(4),
        longest_pause: Duration::from_millis(200),
    };
    settings
}

pub(crate) fn remote_with(settings: Settings, host: &str) -> Remote {
    Client::new(settings).remote(&format!("{host}/a/b:tag").parse().unwrap())
}

pub(crate) fn remote(server: &Server) -> Remote {
    remote_with(hasty(), &server.host())
}

/// Reads a whole blob from `offset` on.
pub(crate) fn read_blob(remote: &Remote, image: &Image, offset: u64) -> Result<(u64, Vec<u8>)> {
    let mut opened = remote.open_blob(&image.layer, offset)?;
    let mut bytes = Vec::new();
    opened.reader.read_to_end(&mut bytes)?;
    Ok((opened.offset, bytes))
}

/// Pulls manifest and blob, and compares.
pub(crate) fn pull(remote: &Remote, image: &Image) -> Result<()> {
    assert_eq!(remote.resolve()?.bytes, image.manifest);
    let (_, bytes) = read_blob(remote, image, 0)?;
    assert!(bytes == image.blob, "the bytes differ");
    Ok(())
}
