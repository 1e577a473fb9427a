// SPDX-License-Identifier: Apache-2.0
//! An image laid out by hand: its configuration, and each layer in a directory of its own, named by its diff_id.
//!
//! ```text
//!  LAYERS/config.json           image-spec config.md: rootfs.diff_ids is the order, lowest first
//!  LAYERS/sha256:<diff_id>/     one layer, as overlayfs reads it
//!
//!  BUNDLE/config.json           the runtime's, made of the image's
//!  BUNDLE/rootfs/               ◄── overlay of LAYERS/…, with
//!  BUNDLE/upper/  BUNDLE/work/      what the container writes
//! ```
//! Layers that depend on what lies below them (directories they imply, hard links downwards) are unpacked with a view
//! of it; so the directories belong to this image, not to every one that has such a layer.

use std::path::{Path, PathBuf};

use conex_spec::image::{ImageConfig, Platform};
use conex_sys::path::Dir;

use super::convert::umoci_config;
use super::rootfs::into_empty;
use super::unpack::apply_layer;
use crate::layer::apply::{Form, Limits, Options, Owner};
use crate::layout::files::{self, Existing};
use crate::snapshot::Snapshot;
use crate::transfer::Source;
use crate::worker::{Site, Unpacking};
use crate::{Error, Image, Result, Wrap, manifest, verify};

const CONFIG: &str = "config.json";

/// What has to be mounted so that a bundle is complete.
#[derive(Clone, Debug)]
pub struct LayersBundle {
    /// The layers.
    pub snapshot: Snapshot,
    /// Where they are mounted.
    pub rootfs: PathBuf,
    /// What the container writes.
    pub upper: PathBuf,
    /// overlayfs' own.
    pub work: PathBuf,
}

/// Lays out an image. `userxattr`: for a mount in a user namespace.
pub fn lay_out_layers(
    source: &dyn Source,
    platform: &Platform,
    directory: &Path,
    userxattr: bool,
) -> Result<()> {
    let image = Image::load(source, platform)?;
    let make = |dir: &Dir| {
        let mut below: Vec<PathBuf> = Vec::new();
        for (layer, diff_id) in image.layers() {
            let name = diff_id.0.as_str();
            if dir.find(name)?.is_some() {
                // The same layer twice changes nothing the second time.
                continue;
            }
            dir.make_dir(name, 0o755)?;
            let options = Options {
                form: Form::Overlay { userxattr },
                owner: Owner::Keep,
                unprivileged: userxattr,
                limits: Limits::default(),
                digests: false,
            };
            let site = Site { base: dir.try_clone()?, tree: name.into(), below: Some(below.clone()) };
            let mut tree = Unpacking::begin(&site, options)?;
            apply_layer(&mut tree, source, layer, diff_id)?;
            tree.finish(&mut std::io::sink())?;
            below.insert(0, name.into());
        }
        let config = &image.manifest.config;
        let bytes = verify::read_small(source.open_blob(config, 0)?.reader, config)?;
        files::write(dir, CONFIG, &bytes, 0o644, Existing::Replace)
    };
    into_empty(directory, make).wrap(|| format!("lay out {} in {}", source.describe(), directory.display()))
}

/// Makes a bundle over layers that were laid out; its root filesystem still has to be mounted.
pub fn create_over_layers(layers: &Path, bundle: &Path, userxattr: bool) -> Result<LayersBundle> {
    let create = || {
        let dir = Dir::open_host(layers)?;
        let bytes = files::read(&dir.open_file(CONFIG)?, manifest::MAX_MANIFEST).wrap(|| CONFIG)?;
        let image: ImageConfig = manifest::parse_strictly(&bytes).wrap(|| CONFIG)?;
        let base = std::path::absolute(layers).wrap(|| layers.display().to_string())?;
        let mut lower = Vec::new();
        for diff_id in &image.rootfs.diff_ids {
            let name = diff_id.0.as_str();
            if dir.find(name)?.is_none() {
                return Err(Error::invalid(format!("layer {name} is not there"))
                    .with_hint("lay the image out again: conex bundle layers IMAGE DIR"));
            }
            let path = base.join(name);
            if !lower.contains(&path) {
                lower.insert(0, path);
            }
        }
        let snapshot = Snapshot { lower, userxattr };
        into_empty(bundle, |dir| write_bundle(dir, &image, &snapshot))?;
        let bundle = std::path::absolute(bundle).wrap(|| bundle.display().to_string())?;
        let of = |name: &str| bundle.join(name);
        Ok(LayersBundle { snapshot, rootfs: of("rootfs"), upper: of("upper"), work: of("work") })
    };
    create()
        .map_err(|error: Error| error.wrap(format!("create {} over {}", bundle.display(), layers.display())))
}

fn write_bundle(dir: &Dir, image: &ImageConfig, snapshot: &Snapshot) -> Result<()> {
    for name in ["rootfs", "upper", "work"] {
        dir.make_dir(name, 0o755)?;
    }
    let config = umoci_config(image, snapshot)?;
    let bytes = serde_json::to_vec_pretty(&config).map_err(|error| Error::invalid(error.to_string()))?;
    files::write(dir, CONFIG, &bytes, 0o644, Existing::Replace)
}
