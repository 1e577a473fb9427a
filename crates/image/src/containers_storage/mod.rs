// SPDX-License-Identifier: Apache-2.0
//! `containers-storage:`: the images of podman, buildah, CRI-O and skopeo where these keep them, without a registry between
//! (containers/storage: images.go, layers.go, drivers/overlay; containers-storage.conf(5)). The overlay driver only.
//!
//! ```text
//! <graph root>/                            /var/lib/containers/storage, or a user's ~/.local/share/containers/storage
//!   overlay/<layer>/diff/                  the unpacked layer, ready for overlayfs
//!                   link  lower            its short name; `l/…:l/…`, the short names of the layers below, top first
//!                   work/ merged/ empty/   for mounts; empty/ at the bottom layer only
//!   overlay/l/<26 letters> → ../<layer>/diff
//!   overlay-layers/layers.json             [{"id", "parent", "diff-digest", "compressed-diff-digest", …}]
//!                  <layer>.tar-split.gz    the archive without its files' content (layer::tar::split)
//!                  layers.lock             fcntl lock around layers.json; its content tells who wrote last
//!   overlay-images/images.json             [{"id", "names", "layer": the top one, "big-data-names", …}]
//!                  <image>/manifest  =…    documents; the name after `=` in base64
//!                  images.lock
//!   tmp/conex-…/                           layers that we unpack; flock held by who does
//! ```
//! An image is called by the hex digits of its configuration's digest. A layer is called by its diff_id's at the bottom, above by
//! SHA-256 of `<layer below>+<diff_id>`. The manifest is kept as it was pulled, the compressed layers are not: what is read
//! back has uncompressed layers ([`StorageSource`]). Records that we do not understand are handed on untouched.

mod lock;
mod name;
mod records;
mod sink;
mod source;
mod staging;

use std::path::{Path, PathBuf};

use conex_sys::path::Dir;

use crate::layout::files;
use crate::{Error, ErrorKind, Result, Wrap};

pub use name::StorageName;
pub use sink::StorageSink;
pub use source::StorageSource;

use lock::{Lock, Share};
use records::{ImageRecord, LayerRecord, Records};

const OVERLAY: &str = "overlay";
const LAYERS: &str = "overlay-layers";
const IMAGES: &str = "overlay-images";
/// The short names, in [`OVERLAY`].
const LINKS: &str = "l";
/// The unpacked layer, in its directory.
const DIFF: &str = "diff";

/// An open storage.
#[derive(Debug)]
struct Storage {
    path: PathBuf,
    root: Dir,
}

/// One of the two directories with records, locked.
#[derive(Debug)]
struct Area {
    dir: Dir,
    records: Records,
    lock: Lock,
}

impl Storage {
    /// Opens one that is there.
    fn open(path: &Path) -> Result<Self> {
        let nothing = |why: &str| {
            Error::new(ErrorKind::NotFound, format!("{}: {why}", path.display()))
                .with_hint("name another: containers-storage:[overlay@GRAPHROOT+RUNROOT]NAME")
        };
        if !crate::host::exists(path) {
            return Err(nothing("no storage here"));
        }
        let root = Dir::open_host(path)?;
        if root.find(IMAGES)?.is_none() {
            return Err(nothing("holds no images of the overlay driver, and conex reads no other's"));
        }
        Ok(Self { path: path.to_owned(), root })
    }

    /// Opens one, made where there is none.
    fn create(path: &Path) -> Result<Self> {
        let root = crate::host::make_dir(path, 0o700)?;
        for name in [OVERLAY, LAYERS, IMAGES, "tmp"] {
            files::subdirectory(&root, name, 0o700)?;
        }
        files::subdirectory(&root.open_dir(OVERLAY)?, LINKS, 0o755)?;
        Ok(Self { path: path.to_owned(), root })
    }

    fn layers(&self, share: Share) -> Result<Area> {
        Area::lock(&self.root, LAYERS, "layers", share)
    }

    fn images(&self, share: Share) -> Result<Area> {
        Area::lock(&self.root, IMAGES, "images", share)
    }

    /// Where a layer is unpacked.
    fn diff(&self, layer: &str) -> Result<Dir> {
        let layer = self.root.open_dir(OVERLAY)?.open_dir(layer)?;
        Ok(layer.open_dir(DIFF)?)
    }
}

impl Area {
    fn lock(root: &Dir, name: &'static str, what: &str, share: Share) -> Result<Self> {
        let open = || {
            let dir = root.open_dir(name)?;
            let lock = Lock::take(&dir, &format!("{what}.lock"), share)?;
            if share == Share::Nobody {
                remove_temporaries(&dir)?;
            }
            let records = Records::read(&dir, format!("{what}.json"))?;
            Ok(Self { dir, records, lock })
        };
        open().map_err(|error: Error| error.wrap(name))
    }

    /// Writes the records, and tells all who have read them. Needs [`Share::Nobody`].
    fn write(&self) -> Result<()> {
        self.records.write(&self.dir)?;
        self.lock.touch().wrap(|| "tell who wrote last")
    }
}

/// What a process left that was killed while it replaced a file. Nobody else is replacing one now: the directory's lock is ours.
fn remove_temporaries(dir: &Dir) -> Result<()> {
    for entry in dir.entries()? {
        if entry.name.to_str().is_some_and(|name| name.starts_with(files::TEMPORARY)) {
            dir.remove_all(&entry.name)?;
        }
    }
    Ok(())
}

/// What a layer on others is called.
fn layer_name(below: Option<&str>, diff_id: &conex_spec::DiffId) -> String {
    match below {
        None => diff_id.0.hex().to_owned(),
        Some(below) => {
            crate::verify::sha256(format!("{below}+{}", diff_id.0.hex()).as_bytes()).hex().to_owned()
        }
    }
}
