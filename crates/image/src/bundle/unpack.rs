// SPDX-License-Identifier: Apache-2.0
//! A bundle as `umoci unpack` makes it, so that `umoci repack` and everything else that knows umoci takes it.
//!
//! ```text
//! BUNDLE/                        mode 0700
//!   rootfs/                      all layers, merged
//!   config.json                  the runtime's
//!   umoci.json                   which image, which id maps
//!   sha256_<manifest>.mtree      what the tree was, to find out later what has changed
//! ```
//! The tree is unpacked under another name and gets its own last, when all is whole. A process that is killed leaves that
//! other name; the next one removes it and what lies beside it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use conex_spec::DiffId;
use conex_spec::image::{Descriptor, Platform};
use conex_spec::runtime::{Config, Namespace, NamespaceKind};
use conex_sys::Errno;
use conex_sys::path::{Dir, Root};

use super::convert::umoci_config;
use super::meta::{self, Meta};
use super::{Rootfs, UnpackOptions, template};
use crate::layer::apply::{Form, Limits, Options, Owner};
use crate::layer::pass::stream;
use crate::layout::files::{self, Existing};
use crate::transfer::{Silent, Source};
use crate::worker::{Site, Unpacking};
use crate::{Error, ErrorKind, Image, Result, Wrap, host};

pub(super) const ROOTFS: &str = "rootfs";
const CONFIG: &str = "config.json";
/// The tree while it is unpacked.
const UNFINISHED: &str = ".rootfs-unfinished";

/// Unpacks an image as umoci does: `BUNDLE/{rootfs/, config.json, umoci.json, sha256_<hex>.mtree}`. On failure
/// what was made is removed. An existing `rootfs` or `config.json` is an error of kind `Exists`.
pub fn unpack(
    source: &dyn Source,
    platform: &Platform,
    bundle: &Path,
    options: &UnpackOptions,
) -> Result<()> {
    let image = Image::load(source, platform)?;
    let existed = host::exists(bundle);
    let dir = host::make_dir(bundle, 0o700)?;
    let result = fill(&dir, bundle, source, &image, options);
    if result.is_err() && !existed {
        host::remove_if_empty(bundle);
    }
    result.wrap(|| format!("unpack {} to {}", source.describe(), bundle.display()))
}

fn fill(dir: &Dir, path: &Path, source: &dyn Source, image: &Image, options: &UnpackOptions) -> Result<()> {
    let lock = lock(dir)?;
    let mtree = meta::mtree_name(&image.raw.descriptor);
    // Gets its name last: as long as it is there, everything is what a killed process has left.
    if dir.find(UNFINISHED)?.is_some() {
        clear(dir, &mtree)?;
    }
    for taken in [CONFIG, ROOTFS] {
        if dir.find(taken)?.is_some() {
            let message = format!("{taken} already exists in {}", path.display());
            return Err(Error::new(ErrorKind::Exists, message).with_hint("unpack into a new directory"));
        }
    }
    // Setuid files lie below.
    conex_sys::path::chmod(dir, 0o700)?;
    let made = make(dir, source, image, options, &mtree);
    if made.is_err() {
        // The failure is what to tell.
        let _ = clear(dir, &mtree);
    }
    drop(lock);
    made
}

/// Removes what an attempt has made, the mark that it was one last.
fn clear(dir: &Dir, mtree: &str) -> Result<()> {
    for name in [CONFIG, meta::NAME, mtree, UNFINISHED] {
        dir.remove_all(name)?;
    }
    Ok(())
}

/// Nobody else unpacks or repacks here meanwhile.
pub(super) fn lock(dir: &Dir) -> Result<File> {
    let lock = dir.reopen()?.into_file();
    lock.try_lock().map_err(|error| Error::new(ErrorKind::Busy, format!("the bundle is in use: {error}")))?;
    Ok(lock)
}

fn make(dir: &Dir, source: &dyn Source, image: &Image, options: &UnpackOptions, mtree: &str) -> Result<()> {
    dir.make_dir(UNFINISHED, 0o700)?;
    let site = Site::alone(dir.open_dir(UNFINISHED)?);
    dir.remove_all(mtree)?;
    let mut description = BufWriter::new(dir.create_file(mtree, 0o644)?);
    merge(Unpacking::begin(&site, tree_options(options))?, source, image, &mut description)?;
    description.flush().wrap(|| mtree.to_owned())?;
    let rootfs = Root::new(site.base);
    write_config(dir, image, &rootfs, options)?;
    Meta::of(image.walk.clone(), options).write(dir)?;
    dir.rename_new(UNFINISHED, dir, ROOTFS)?;
    Ok(dir.sync()?)
}

/// All layers of an image, each verified, into one tree.
pub(super) fn merge(
    mut tree: Unpacking,
    source: &dyn Source,
    image: &Image,
    description: &mut dyn Write,
) -> Result<()> {
    for (layer, diff_id) in image.layers() {
        apply_layer(&mut tree, source, layer, diff_id)?;
    }
    tree.finish(description)
}

/// One layer; its content must be what the configuration says.
pub(super) fn apply_layer(
    tree: &mut Unpacking,
    source: &dyn Source,
    layer: &Descriptor,
    diff_id: &DiffId,
) -> Result<()> {
    let applied = tree.layer(layer.size, |take| stream(layer, source, &Silent, take));
    let (found, _) = applied.wrap(|| format!("layer {}", layer.digest))?;
    if found != *diff_id {
        let message = format!("layer {}: the content is {found}, not {diff_id}", layer.digest);
        return Err(Error::invalid(message));
    }
    Ok(())
}

pub(super) fn tree_options(options: &UnpackOptions) -> Options {
    let owner = if options.rootless {
        Owner::Caller
    } else if options.uid_map.is_empty() && options.gid_map.is_empty() {
        Owner::Keep
    } else {
        Owner::Map { uid: options.uid_map.clone(), gid: options.gid_map.clone() }
    };
    Options {
        form: Form::Plain { keep_dirlinks: options.keep_dirlinks },
        owner,
        unprivileged: options.rootless,
        limits: Limits::default(),
        digests: true,
    }
}

impl Rootfs for Root {
    fn open(&self, path: &Path) -> Result<Option<File>> {
        Ok(self.open_regular(path)?)
    }
}

fn write_config(dir: &Dir, image: &Image, rootfs: &Root, options: &UnpackOptions) -> Result<()> {
    let config = config_of(image, rootfs, options)?;
    let bytes = serde_json::to_vec_pretty(&config).map_err(|e| Error::invalid(e.to_string()))?;
    files::write(dir, CONFIG, &bytes, 0o644, Existing::Replace)
}

/// The runtime's configuration, as umoci writes it.
pub(super) fn config_of(image: &Image, rootfs: &dyn Rootfs, options: &UnpackOptions) -> Result<Config> {
    let mut config = umoci_config(&image.config, rootfs)?;
    let linux = config.linux.get_or_insert_default();
    linux.uid_mappings.clone_from(&options.uid_map);
    linux.gid_mappings.clone_from(&options.gid_map);
    if options.rootless {
        template::make_rootless(&mut config, resolv_conf()?);
    } else if !(options.uid_map.is_empty() && options.gid_map.is_empty()) {
        let linux = config.linux.get_or_insert_default();
        linux.namespaces.push(Namespace { kind: NamespaceKind::User, path: String::new() });
    }
    Ok(config)
}

/// The options that a bind mount of the host's file has to keep; `None` where there is no such file.
fn resolv_conf() -> Result<Option<Vec<String>>> {
    let etc = match Root::open_host(Path::new("/")) {
        Ok(root) => root.open_regular("etc/resolv.conf"),
        Err(error) if error.errno() == Errno::NOENT => return Ok(None),
        Err(error) => Err(error),
    };
    let Some(file) = etc? else { return Ok(None) };
    Ok(Some(conex_sys::path::mount_options(&file)?.into_iter().map(str::to_owned).collect()))
}
