// SPDX-License-Identifier: Apache-2.0
//! Layers with a writable one on top, and that one's way into the store.
//!
//! ```text
//!  <path>/top/diff  ◄── overlay's upper directory, writable in `with_root`
//!        │ describe: digest, layer.json beside it
//!        ▼ adopt: rename
//!  <store>/layers/sha256/<diff_id>/diff, the lower directory of whatever comes next
//! ```
//! The overlay is mounted in a mount namespace of the working thread's own: whoever is killed when, nothing stays mounted.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use conex_engine::overlay;
use conex_image::layer::pack::Times;
use conex_image::snapshot::Snapshot;
use conex_image::store::{Made, Store};
use conex_sys::mount::{self, Extent, Propagation};
use conex_sys::{mountinfo, namespace};

use crate::{Error, ErrorKind, Result, Wrap as _};

/// A directory on the store's file system, and what lies below.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Where `top`, `work` and `merged` are.
    pub path: PathBuf,
    /// The layers below, top first; may be none.
    pub snapshot: Snapshot,
}

impl Tree {
    /// Makes what is missing in `path`, which is there. The root of the tree is as in the topmost layer.
    pub fn prepare(&self) -> Result<()> {
        for name in ["work", "merged", "empty"] {
            make_dir(&self.path.join(name), 0o755)?;
        }
        self.prepare_top()
    }

    /// Makes a new writable layer where there is none.
    pub fn prepare_top(&self) -> Result<()> {
        if self.upper().exists() {
            return Ok(());
        }
        make_dir(&self.path.join("top"), 0o700)?;
        // Under another name until it is whole.
        let new = self.path.join("top/new");
        make_dir(&new, 0o755)?;
        let like =
            self.snapshot.lower.first().map(|top| fs::metadata(top).wrap(|| top.display().to_string()));
        let (uid, gid, mode) = match like.transpose()? {
            Some(like) => (like.uid(), like.gid(), like.mode() & 0o7777),
            None => (0, 0, 0o755),
        };
        chown(&new, Some(uid), Some(gid))
            .and_then(|()| fs::set_permissions(&new, Permissions::from_mode(mode)))
            .and_then(|()| fs::rename(&new, self.upper()))
            .wrap(|| format!("prepare {}", self.upper().display()))
    }

    /// The writable layer's files.
    pub fn upper(&self) -> PathBuf {
        self.path.join("top/diff")
    }

    /// Where the tree is mounted.
    pub fn merged(&self) -> PathBuf {
        self.path.join("merged")
    }

    /// Whether nothing was written.
    pub fn is_untouched(&self) -> Result<bool> {
        let mut entries = fs::read_dir(self.upper()).wrap(|| self.upper().display().to_string())?;
        Ok(entries.next().is_none())
    }

    /// Works on the tree, mounted at the path that is handed over: where it is mounted already, there, else in a mount
    /// namespace that ends with the work. What `work` starts is in that namespace too.
    pub fn with_root<T: Send>(&self, work: impl FnOnce(&Path) -> Result<T> + Send) -> Result<T> {
        let merged = self.merged();
        if self.is_mounted()? {
            return work(&merged);
        }
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                namespace::unshare(namespace::flags([namespace::Kind::Mount]))?;
                mount::set_propagation(Path::new("/"), Propagation::Slave, Extent::Tree)?;
                self.mount()?;
                work(&merged)
            });
            inside.join().unwrap_or_else(|_| Err(Error::new(ErrorKind::Os, "the mounting thread died")))
        })
    }

    /// Mounts the tree in the caller's mount namespace.
    pub fn mount(&self) -> Result<()> {
        let mut snapshot = self.snapshot.clone();
        if snapshot.lower.is_empty() {
            snapshot.lower.push(self.path.join("empty"));
        }
        overlay::mount(&snapshot, &self.upper(), &self.path.join("work"), &self.merged())
    }

    /// Whether it is mounted in the caller's mount namespace.
    pub fn is_mounted(&self) -> Result<bool> {
        let text = fs::read_to_string("/proc/thread-self/mountinfo").wrap(|| "read mountinfo")?;
        let merged = self.merged();
        Ok(mountinfo::parse(&text).any(|mount| Path::new(&mount.point) == merged))
    }

    /// Digests what was written. Nobody may write any more.
    pub fn describe(&self, store: &Store, times: Times) -> Result<Made> {
        Ok(store.describe_layer(&self.path.join("top"), times)?)
    }

    /// Makes what was described a layer of the store; there is no writable layer afterwards.
    pub fn adopt(&self, store: &Store, made: &Made) -> Result<()> {
        let top = self.path.join("top");
        store.adopt_layer(&top, made)?;
        remove_tree(&top)
    }
}

fn make_dir(path: &Path, mode: u32) -> Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made
            .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
            .wrap(|| format!("make {}", path.display())),
    }
}

/// Removes a directory with all that is in it, if it is there.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    Ok(conex_sys::path::Dir::open_host(parent)?.remove_all(name)?)
}
