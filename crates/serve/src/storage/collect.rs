// SPDX-License-Identifier: Apache-2.0
//! Garbage collection beside requests. What names lead to stays, and for a while also what a push has brought whose
//! manifest is not there yet: a link file's age says when somebody last reckoned with a blob.

use std::collections::HashSet;
use std::fs::{self, DirEntry};
use std::path::Path;
use std::sync::PoisonError;
use std::time::SystemTime;

use conex_image::Wrap;
use conex_image::store::{GcReport, Keep};
use conex_spec::Digest;

use super::Storage;
use crate::options::Gc;
use crate::{ErrorKind, Result};

impl Storage {
    /// Removes what nothing leads to and nobody has reckoned with for `grace`. Pushes wait meanwhile, pulls do not. `None`
    /// while another process uses the store.
    pub(crate) fn collect(&self, gc: &Gc) -> Result<Option<GcReport>> {
        let _no_changes = self.changes.write().unwrap_or_else(PoisonError::into_inner);
        let since = SystemTime::now().checked_sub(gc.grace).unwrap_or(SystemTime::UNIX_EPOCH);
        let report = match self.store.gc_holding(&self.held, || self.kept(gc, since)) {
            Err(error) if error.kind() == ErrorKind::Busy => return Ok(None),
            other => other?,
        };
        self.uploads.forget_removed();
        self.remove_dead_links()?;
        Ok(Some(report))
    }

    /// What is kept besides what names lead to.
    fn kept(&self, gc: &Gc, since: SystemTime) -> Result<Keep> {
        let mut blobs = HashSet::new();
        each_link(&self.links, &mut |digest, link| {
            if link.metadata().and_then(|link| link.modified()).is_ok_and(|time| time >= since) {
                blobs.insert(digest.clone());
            }
            Ok(())
        })?;
        let manifests = gc.keep.as_ref().map_or_else(|| Ok(Vec::new()), |keep| keep())?;
        Ok(Keep { manifests, blobs, uploads_since: Some(since) })
    }

    fn remove_dead_links(&self) -> Result<()> {
        each_link(&self.links, &mut |digest, link| match self.store.has_blob(digest)? {
            true => Ok(()),
            false => fs::remove_file(link.path()).wrap(|| format!("remove {}", link.path().display())),
        })
    }
}

/// Calls `each` for the link files below a directory: `…/_blobs/<algorithm>/<hex>`.
fn each_link(below: &Path, each: &mut dyn FnMut(&Digest, &DirEntry) -> Result<()>) -> Result<()> {
    let entries = match fs::read_dir(below) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.wrap(|| below.display())?,
    };
    for entry in entries {
        let entry = entry.wrap(|| below.display())?;
        if entry.file_type().wrap(|| below.display())?.is_dir() {
            each_link(&entry.path(), each)?;
        } else if let Some(digest) = digest_of(&entry) {
            each(&digest, &entry)?;
        }
    }
    Ok(())
}

fn digest_of(link: &DirEntry) -> Option<Digest> {
    let path = link.path();
    let algorithm = path.parent()?.file_name()?.to_str()?;
    format!("{algorithm}:{}", link.file_name().to_str()?).parse().ok()
}
