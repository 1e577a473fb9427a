// SPDX-License-Identifier: Apache-2.0
//! A `config.json` by itself.

use std::fs::File;
use std::path::Path;

use conex_spec::image::Platform;
use conex_sys::path::Root;

use super::unpack::config_of;
use super::{Rootfs, UnpackOptions};
use crate::layout::files::{self, Existing};
use crate::transfer::Source;
use crate::{Error, Image, Result, Wrap, host};

/// Writes the configuration of an image to `file`. Names of users are looked up in the root filesystem at `rootfs`; without
/// one only numbers are understood.
pub fn write_runtime_config(
    source: &dyn Source,
    platform: &Platform,
    file: &Path,
    rootfs: Option<&Path>,
    options: &UnpackOptions,
) -> Result<()> {
    let image = Image::load(source, platform)?;
    let mut config = match rootfs {
        None => config_of(&image, &Nowhere, options)
            .map_err(|error| error.with_hint("say where users are looked up: --rootfs DIRECTORY"))?,
        Some(path) => config_of(&image, &Root::open_host(path)?, options)?,
    };
    if let Some(name) = rootfs.and_then(Path::file_name) {
        config.root.get_or_insert_default().path = name.to_string_lossy().into_owned();
    }
    let bytes = serde_json::to_vec_pretty(&config).map_err(|error| Error::invalid(error.to_string()))?;
    let (parent, name) = host::parent(file)?;
    let name = name.to_str().ok_or_else(|| Error::invalid(format!("{} is not text", file.display())))?;
    files::write(&parent, name, &bytes, 0o644, Existing::Replace).wrap(|| file.display().to_string())
}

/// No root filesystem.
struct Nowhere;

impl Rootfs for Nowhere {
    fn open(&self, _path: &Path) -> Result<Option<File>> {
        Ok(None)
    }
}
