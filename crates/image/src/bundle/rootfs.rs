// SPDX-License-Identifier: Apache-2.0
//! A root filesystem and nothing else, or with a `config.json` beside it: what `oci-image-tool unpack` and `create` make.
//!
//! The destination must not hold anything yet; what an attempt made that failed is removed.

use std::path::Path;

use conex_spec::image::Platform;
use conex_sys::path::{Dir, Root};

use super::UnpackOptions;
use super::convert::umoci_config;
use super::unpack::{merge, tree_options};
use crate::layer::apply::Options;
use crate::layout::files::{self, Existing};
use crate::transfer::Source;
use crate::worker::{Site, Unpacking};
use crate::{Error, ErrorKind, Image, Result, Wrap, host};

/// Unpacks an image into `destination` itself.
pub fn unpack_rootfs(
    source: &dyn Source,
    platform: &Platform,
    destination: &Path,
    options: &UnpackOptions,
) -> Result<()> {
    let image = Image::load(source, platform)?;
    into_empty(destination, |dir| fill(dir.try_clone()?, source, &image, options))
        .wrap(|| format!("unpack {} to {}", source.describe(), destination.display()))
}

/// Makes a bundle: `destination/<rootfs>/` and `destination/config.json`.
pub fn create(
    source: &dyn Source,
    platform: &Platform,
    destination: &Path,
    rootfs: &str,
    unprivileged: bool,
) -> Result<()> {
    if rootfs.is_empty() || rootfs.contains('/') || rootfs.starts_with('.') {
        let message = format!("the root filesystem's name {rootfs:?} must be a single name");
        return Err(Error::new(ErrorKind::Usage, message));
    }
    let image = Image::load(source, platform)?;
    let make = |dir: &Dir| {
        dir.make_dir(rootfs, 0o755)?;
        let options = UnpackOptions { rootless: unprivileged, ..UnpackOptions::default() };
        fill(dir.open_dir(rootfs)?, source, &image, &options)?;
        let mut config = umoci_config(&image.config, &Root::new(dir.open_dir(rootfs)?))?;
        config.root.get_or_insert_default().path = rootfs.to_owned();
        let bytes = serde_json::to_vec_pretty(&config).map_err(|error| Error::invalid(error.to_string()))?;
        files::write(dir, "config.json", &bytes, 0o644, Existing::Replace)
    };
    into_empty(destination, make)
        .wrap(|| format!("create {} from {}", destination.display(), source.describe()))
}

fn fill(root: Dir, source: &dyn Source, image: &Image, options: &UnpackOptions) -> Result<()> {
    let options = Options { digests: false, ..tree_options(options) };
    merge(Unpacking::begin(&Site::alone(root), options)?, source, image, &mut std::io::sink())
}

/// Opens a directory that is new or empty, and empties it again if `make` fails.
pub(super) fn into_empty(path: &Path, make: impl FnOnce(&Dir) -> Result<()>) -> Result<()> {
    let existed = host::exists(path);
    let dir = host::make_dir(path, 0o755)?;
    if !dir.entries()?.is_empty() {
        let message = format!("{} is not empty", path.display());
        return Err(Error::new(ErrorKind::Exists, message).with_hint("name a directory that is empty or new"));
    }
    let made = make(&dir);
    if made.is_err() {
        // The failure is what to tell.
        for entry in dir.entries().unwrap_or_default() {
            let _ = dir.remove_all(&entry.name);
        }
        if !existed {
            host::remove_if_empty(path);
        }
    }
    made
}
