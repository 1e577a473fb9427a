// SPDX-License-Identifier: Apache-2.0
//! Removing what nothing leads to: mark from index.json, sweep blobs, layers and leftovers.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::time::SystemTime;

use conex_spec::image::{Descriptor, ImageConfig};
use conex_spec::{Algorithm, Digest};
use conex_sys::Errno;
use conex_sys::path::{Dir, FileType};
use serde_json::Value;

use super::upload::UPLOAD;
use super::{Shared, Store};
use crate::image::MAX_DEPTH;
use crate::layout::{files, index};
use crate::manifest::{self, Document};
use crate::transfer::RawManifest;
use crate::{Error, ErrorKind, Result, Wrap};

/// What gc removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Blobs.
    pub blobs: usize,
    /// Unpacked layers.
    pub layers: usize,
    /// Leftovers of killed processes.
    pub leftovers: usize,
    /// Bytes of the removed blobs and of the files in the removed layers.
    pub bytes: u64,
}

/// What gc keeps besides what names and pins lead to.
#[derive(Clone, Debug, Default)]
pub struct Keep {
    /// Manifests, and layers by their diff_id.
    pub manifests: Vec<Digest>,
    /// Blobs that no name leads to yet.
    pub blobs: HashSet<Digest>,
    /// Uploads that something was added to since then; where there is no time, none.
    pub uploads_since: Option<SystemTime>,
}

/// What names lead to.
#[derive(Debug, Default)]
pub(crate) struct Reachable {
    pub(crate) blobs: HashSet<Digest>,
    /// Manifests that everything below was marked of. A blob may be named as something else before.
    walked: HashSet<Digest>,
    /// Keys of unpacked layers: diff ids and chain ids.
    pub(crate) layers: HashSet<Digest>,
}

impl Store {
    /// Removes all content that no name, no pin and no digest of `keep` leads to, and what killed processes left.
    /// `keep` and pins are manifests, and layers by their diff_id.
    /// `Busy` while anyone holds [`super::Shared`].
    pub fn gc(&self, keep: &[Digest]) -> Result<GcReport> {
        let _alone = self.own()?;
        self.collect(&Keep { manifests: keep.to_vec(), ..Keep::default() })
    }

    /// [`gc`](Self::gc) by one who holds the store himself, and adds nothing to it meanwhile but to uploads.
    /// What to keep besides is asked for once nobody else can add to it.
    pub fn gc_holding(&self, held: &Shared, keep: impl FnOnce() -> Result<Keep>) -> Result<GcReport> {
        held.alone(|| self.collect(&keep()?))
    }

    fn collect(&self, keep: &Keep) -> Result<GcReport> {
        let mut reachable = Reachable::default();
        for root in index::read(&self.root)?.manifests {
            let marked = match self.mark(&root, &mut reachable, 0) {
                // Somebody has pushed what only looks like an image: it must not keep all else from being collected.
                Err(error) if error.kind() == ErrorKind::Invalid => {
                    self.keep_mentioned(&root.digest, &mut reachable)
                }
                other => other,
            };
            marked.wrap(|| format!("gc: {}", root.digest))?;
        }
        for digest in keep.manifests.iter().chain(&self.pinned()?) {
            self.mark_pinned(digest, &mut reachable).wrap(|| format!("gc: {digest}"))?;
        }
        reachable.blobs.extend(keep.blobs.iter().cloned());
        let mut report = GcReport::default();
        self.sweep_blobs(&reachable, &mut report)?;
        self.sweep_layers(&reachable, &mut report)?;
        self.sweep_leftovers(keep, &mut report)?;
        Ok(report)
    }

    /// Marks what is kept without a name: a layer, or a manifest and all below it.
    pub(crate) fn mark_pinned(&self, digest: &Digest, reachable: &mut Reachable) -> Result<()> {
        reachable.layers.insert(digest.clone());
        match self.blobs.size(digest)? {
            Some(size) => self.mark(&self.guess(digest, size)?, reachable, 0),
            None => Ok(()),
        }
    }

    /// A descriptor for a manifest of which only the digest is known.
    fn guess(&self, digest: &Digest, size: u64) -> Result<Descriptor> {
        let unknown = Descriptor::new("", digest.clone(), size);
        if size > manifest::MAX_MANIFEST {
            return Ok(unknown);
        }
        let bytes = self.blobs.read(&unknown)?;
        let media_type = manifest::sniff_media_type(&bytes).unwrap_or_default();
        Ok(Descriptor { media_type, ..unknown })
    }

    /// Marks a descriptor and all below it. What is missing is fsck's business.
    pub(crate) fn mark(&self, root: &Descriptor, seen: &mut Reachable, depth: usize) -> Result<()> {
        seen.blobs.insert(root.digest.clone());
        if depth > MAX_DEPTH || !manifest::is_manifest(&root.media_type) {
            return Ok(());
        }
        if !seen.walked.insert(root.digest.clone()) {
            return Ok(());
        }
        if self.blobs.size(&root.digest)?.is_none() {
            return Ok(());
        }
        let raw = RawManifest { descriptor: root.clone(), bytes: self.blobs.read(root)? };
        match Document::parse(&raw)? {
            Document::Index(index) => {
                for child in &index.manifests {
                    self.mark(child, seen, depth + 1)?;
                }
            }
            Document::Manifest(manifest) => {
                seen.blobs.extend(manifest.layers.iter().map(|layer| layer.digest.clone()));
                seen.blobs.insert(manifest.config.digest.clone());
                if let Some(config) = self.config(&manifest.config)? {
                    seen.layers.extend(config.rootfs.diff_ids.iter().map(|diff_id| diff_id.0.clone()));
                    seen.layers
                        .extend(crate::image::chain_ids(&config.rootfs.diff_ids).into_iter().map(|id| id.0));
                }
            }
        }
        Ok(())
    }

    /// Marks everything that a document, and what it mentions, mentions, whatever it is.
    fn keep_mentioned(&self, top: &Digest, reachable: &mut Reachable) -> Result<()> {
        let mut seen = HashSet::new();
        let mut open = vec![top.clone()];
        while let Some(digest) = open.pop() {
            if !seen.insert(digest.clone()) {
                continue;
            }
            reachable.blobs.insert(digest.clone());
            reachable.layers.insert(digest.clone());
            let size = self.blobs.size(&digest)?.filter(|size| *size <= manifest::MAX_MANIFEST);
            let Some(size) = size else { continue };
            let bytes = self.blobs.read(&Descriptor::new("", digest, size))?;
            if let Ok(document) = serde_json::from_slice(&bytes) {
                mentioned(&document, &mut open);
            }
        }
        Ok(())
    }

    /// The configuration, if it is an image's and here.
    pub(crate) fn config(&self, descriptor: &Descriptor) -> Result<Option<ImageConfig>> {
        if !manifest::is_config(&descriptor.media_type) || !self.has_blob(&descriptor.digest)? {
            return Ok(None);
        }
        manifest::parse_strictly(&self.blobs.read(descriptor)?).map(Some)
    }

    fn sweep_blobs(&self, reachable: &Reachable, report: &mut GcReport) -> Result<()> {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let dir = self.blobs.directory(algorithm)?;
            for entry in dir.entries()? {
                let name = entry.name.to_string_lossy();
                let digest = format!("{}:{name}", algorithm.name()).parse::<Digest>();
                let Some(stat) = dir.find(&entry.name)? else { continue };
                let needed = digest.is_ok_and(|digest| reachable.blobs.contains(&digest));
                if needed || FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                    continue;
                }
                dir.remove_file(&entry.name)?;
                report.blobs += 1;
                report.bytes += stat.st_size.unsigned_abs();
            }
        }
        Ok(())
    }

    fn sweep_layers(&self, reachable: &Reachable, report: &mut GcReport) -> Result<()> {
        for entry in self.layers.entries()? {
            let name = entry.name.to_string_lossy();
            let key = format!("sha256:{name}").parse::<Digest>();
            if key.as_ref().is_ok_and(|key| reachable.layers.contains(key)) {
                continue;
            }
            if let Ok(Some(record)) = key.map_err(Error::from).and_then(|key| self.layer_record(&key)) {
                report.bytes += record.bytes;
            }
            self.remove_layer(&entry.name)?;
            report.layers += 1;
        }
        Ok(())
    }

    /// Nobody else holds the store, so everything that is unfinished is somebody's who is dead, but for uploads that are kept.
    fn sweep_leftovers(&self, keep: &Keep, report: &mut GcReport) -> Result<()> {
        let ingest = self.blobs.ingest_dir();
        for dir in [ingest, &self.root] {
            for entry in dir.entries()? {
                let temporary = entry.name.to_string_lossy().starts_with(files::TEMPORARY);
                if (std::ptr::eq(dir, ingest) && !is_kept(dir, &entry.name, keep)?) || temporary {
                    report.bytes += size_of(dir, &entry.name)?;
                    dir.remove_all(&entry.name)?;
                    report.leftovers += 1;
                }
            }
        }
        Ok(())
    }
}

/// All digests in a document.
fn mentioned(document: &Value, found: &mut Vec<Digest>) {
    match document {
        Value::String(text) => found.extend(text.parse::<Digest>()),
        Value::Array(items) => items.iter().for_each(|item| mentioned(item, found)),
        Value::Object(members) => members.values().for_each(|member| mentioned(member, found)),
        _ => {}
    }
}

/// Whether it is an upload that goes on.
fn is_kept(ingest: &Dir, name: &OsStr, keep: &Keep) -> Result<bool> {
    let Some(since) = keep.uploads_since.filter(|_| name.to_string_lossy().starts_with(UPLOAD)) else {
        return Ok(false);
    };
    let since = since.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    Ok(ingest.find(name)?.is_some_and(|stat| u64::try_from(stat.st_mtime).unwrap_or(0) >= since))
}

fn size_of(dir: &Dir, name: &OsStr) -> Result<u64> {
    let found = match dir.stat(name) {
        Err(error) if error.errno() == Errno::NOENT => return Ok(0),
        other => other?,
    };
    let regular = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile;
    Ok(if regular { found.st_size.unsigned_abs() } else { 0 })
}
