// SPDX-License-Identifier: Apache-2.0
//! Removing from a layout what nothing leads to: mark from index.json, sweep blobs and what killed processes left.

use std::collections::HashSet;
use std::path::Path;

use conex_spec::image::Descriptor;
use conex_spec::{Algorithm, Digest};
use conex_sys::path::{Dir, FileType};

use super::edit::Layout;
use super::{files, index};
use crate::image::MAX_DEPTH;
use crate::manifest::{self, Document};
use crate::transfer::RawManifest;
use crate::{Result, Wrap};

/// What gc removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Blobs.
    pub blobs: Vec<Digest>,
    /// Bytes of those blobs.
    pub bytes: u64,
}

/// Removes all blobs that no entry of index.json leads to. `Busy` while another process changes the layout.
pub fn gc(path: &Path) -> Result<Swept> {
    let layout = Layout::open(path)?;
    let sweep = || {
        layout.alone()?;
        let mut reachable = HashSet::new();
        for root in index::read(&layout.dir)?.manifests {
            mark(&layout, &root, &mut reachable, 0).wrap(|| root.digest.clone())?;
        }
        let swept = sweep_blobs(&layout, &reachable)?;
        sweep_leftovers(&layout)?;
        Ok(swept)
    };
    sweep().map_err(|error: crate::Error| error.wrap(format!("gc {}", path.display())))
}

/// Marks a descriptor and all below it. What is missing stays missing.
fn mark(layout: &Layout, root: &Descriptor, seen: &mut HashSet<Digest>, depth: usize) -> Result<()> {
    let new = seen.insert(root.digest.clone());
    if !new || depth > MAX_DEPTH || !manifest::is_manifest(&root.media_type) {
        return Ok(());
    }
    if layout.blobs.size(&root.digest)?.is_none() {
        return Ok(());
    }
    let raw = RawManifest { descriptor: root.clone(), bytes: layout.blobs.read(root)? };
    for child in Document::parse(&raw)?.children() {
        mark(layout, child, seen, depth + 1)?;
    }
    Ok(())
}

fn sweep_blobs(layout: &Layout, reachable: &HashSet<Digest>) -> Result<Swept> {
    let mut swept = Swept::default();
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        if layout.dir.open_dir("blobs")?.find(algorithm.name())?.is_none() {
            continue;
        }
        let dir = layout.blobs.directory(algorithm)?;
        for entry in dir.entries()? {
            let name = entry.name.to_string_lossy();
            let Some(stat) = dir.find(&entry.name)? else { continue };
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                continue;
            }
            match format!("{}:{name}", algorithm.name()).parse::<Digest>() {
                Ok(digest) if reachable.contains(&digest) => {}
                Ok(digest) => {
                    dir.remove_file(&entry.name)?;
                    swept.blobs.push(digest);
                    swept.bytes += stat.st_size.unsigned_abs();
                }
                // Not a blob: a write that was not finished, or nothing of ours.
                Err(_) if name.starts_with(files::TEMPORARY) => dir.remove_file(&entry.name)?,
                Err(_) => {}
            }
        }
    }
    Ok(swept)
}

/// Nobody of conex' is at work here, so what is unfinished is somebody's who is dead.
fn sweep_leftovers(layout: &Layout) -> Result<()> {
    remove(layout.blobs.ingest_dir(), |_| true)?;
    remove(&layout.dir, |name| name.starts_with(files::TEMPORARY))
}

fn remove(dir: &Dir, which: impl Fn(&str) -> bool) -> Result<()> {
    for entry in dir.entries()? {
        if which(&entry.name.to_string_lossy()) {
            dir.remove_all(&entry.name)?;
        }
    }
    Ok(())
}
