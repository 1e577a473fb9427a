// SPDX-License-Identifier: Apache-2.0
//! What was changed in a bundle becomes a layer on top of the image that it was unpacked from.
//!
//! ```text
//!  rootfs/ ┄┄ sha256_….mtree ──changes──► paths ──pack──► layer ──commit──► image, under a name
//! ```
//! The layout is as before or has the new image; the bundle is only written to if it shall follow
//! ([`RepackOptions::refresh`]), its `umoci.json` last.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use conex_spec::image::media_type::Compression;
use conex_spec::image::{Descriptor, Platform};
use conex_sys::path::{Dir, Time};

use super::changes::{Change, View, changes};
use super::meta::{Meta, mtree_name};
use super::mtree::{self, Node};
use super::unpack::{ROOTFS, lock};
use crate::layer::apply::Known;
use crate::layer::pack::{self, Packer};
use crate::layer::unlock::{Unlocked, open_path};
use crate::layout::files;
use crate::layout::{Layout, LayoutName, LayoutSource};
use crate::mutate::{Draft, NewLayer, Note};
use crate::transfer::Source;
use crate::{Error, Image, Result, Wrap};

/// How to repack.
#[derive(Clone, Debug, Default)]
pub struct RepackOptions {
    /// What is at or below these paths of the image does not count.
    pub masks: Vec<PathBuf>,
    /// Neither do the image's volumes.
    pub mask_volumes: bool,
    /// Let the bundle be one of the new image, for the next repack.
    pub refresh: bool,
    /// What the history says; `None` for nothing.
    pub note: Option<Note>,
    /// How the layer is stored; as the image's others if unset.
    pub compression: Option<Compression>,
    /// Later times become this one (seconds since 1970).
    pub latest: Option<i64>,
}

/// Makes the image `name` in the layout at `path` of what has changed in `bundle`. The layout must have the image that
/// the bundle was unpacked from.
pub fn repack(path: &Path, name: &str, bundle: &Path, options: &RepackOptions) -> Result<()> {
    let repack = || {
        let dir = Dir::open_host(bundle)?;
        let _lock = lock(&dir)?;
        let meta = Meta::read(&dir)?;
        let layout = Layout::open(path)?;
        let draft = Draft::of(load(path, meta.walk())?);
        let tree = Described::read(&dir, meta.walk())?;
        let changes = changes(&tree.root, &tree.was, &view(&draft, &meta, &tree, options))?;
        let walk = store(&layout, name, draft, &tree, &changes, &meta, options)?;
        if options.refresh { refresh(&dir, &tree, &changes, meta, walk) } else { Ok(()) }
    };
    repack().map_err(|error: Error| error.wrap(format!("repack {}", bundle.display())))
}

/// The image at the end of a walk that is known already.
fn load(path: &Path, walk: &[Descriptor]) -> Result<Image> {
    let layout = LayoutName { path: path.to_owned(), reference: None };
    let source = LayoutSource::open(&layout)?;
    let manifest = walk.last().ok_or_else(|| Error::invalid("umoci.json names no image"))?;
    let raw = source.manifest(manifest).map_err(|error| {
        error.with_hint(
            "repack into the layout that the bundle was unpacked from, before gc has removed that image",
        )
    })?;
    let image = Image::below(&source, raw, &Platform::host()).wrap(|| source.describe())?;
    Ok(Image { walk: walk.to_vec(), ..image })
}

/// A bundle's tree, as it is and as it was.
struct Described {
    root: Dir,
    was: Node,
    /// When `was` was written.
    at: Time,
    /// Where `was` is.
    name: String,
}

impl Described {
    fn read(dir: &Dir, walk: &[Descriptor]) -> Result<Self> {
        let name = walk.last().map(mtree_name).unwrap_or_default();
        let file = dir.open_file(&name)?;
        let stat = conex_sys::path::stat(&file)?;
        let was = mtree::parse(BufReader::new(file)).wrap(|| name.clone())?;
        let at = Time { sec: stat.st_mtime, nsec: u32::try_from(stat.st_mtime_nsec).unwrap_or(0) };
        Ok(Self { root: dir.open_dir(ROOTFS)?, was, at, name })
    }
}

fn view(draft: &Draft, meta: &Meta, tree: &Described, options: &RepackOptions) -> View {
    let volumes = draft.config.config.volumes.keys().filter(|_| options.mask_volumes).map(PathBuf::from);
    let inside = |path: PathBuf| path.strip_prefix("/").map(Path::to_owned).unwrap_or(path);
    let masks = options.masks.iter().cloned().chain(volumes).map(inside);
    View {
        // An empty one would hide everything.
        masks: masks.filter(|mask| !mask.as_os_str().is_empty()).collect(),
        rootless: meta.is_rootless(),
        described: tree.at,
    }
}

fn store(
    layout: &Layout,
    name: &str,
    mut draft: Draft,
    tree: &Described,
    changes: &[Change],
    meta: &Meta,
    options: &RepackOptions,
) -> Result<Vec<Descriptor>> {
    if changes.is_empty() {
        draft.note(options.note.as_ref());
    } else {
        let compression = options.compression.unwrap_or_else(|| draft.compression());
        let times = options.latest.map_or(pack::Times::Kept, pack::Times::AtMost);
        let pack = pack::Options { owner: meta.owner(), times };
        let packer = Packer::new(draft.new_layer(layout, compression)?, pack);
        let layer = pack_changes(packer, &tree.root, changes).wrap(|| ROOTFS)?;
        draft.append(layer, options.note.as_ref());
    }
    draft.commit(layout, name)
}

/// The changes of one directory come one after the other, so it is opened once.
fn pack_changes(
    mut packer: Packer<crate::mutate::LayerWriter<'_>>,
    root: &Dir,
    changes: &[Change],
) -> Result<NewLayer> {
    let mut open: Option<(&Path, (Dir, Vec<Unlocked>))> = None;
    for change in changes {
        let path = match change {
            Change::Absent(path) => {
                packer.whiteout(path)?;
                continue;
            }
            Change::Present(path) => path,
        };
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            packer.add_dir(root, path)?;
            continue;
        };
        let dir = match open.take() {
            Some((at, dir)) if at == parent => dir,
            _ => open_path(root, parent).wrap(|| format!("{path:?}"))?,
        };
        packer.add(&dir.0, name, path)?;
        open = Some((parent, dir));
    }
    packer.finish()?.finish()
}

/// Describes the tree anew, lets umoci.json say of which image, and forgets the old description.
fn refresh(dir: &Dir, tree: &Described, changes: &[Change], meta: Meta, walk: Vec<Descriptor>) -> Result<()> {
    let name = walk.last().map(mtree_name).unwrap_or_default();
    let temporary = files::temporary_name();
    dir.remove_all(&temporary)?;
    let write = || -> Result<()> {
        let file = dir.create_file(&temporary, 0o644)?;
        let begun = conex_sys::path::stat(&file)?;
        let mut out = BufWriter::new(file);
        mtree::write(&tree.root, &unchanged(&tree.was, changes)?, &mut out)?;
        out.flush()?;
        let file: File = out.into_inner().map_err(|error| Error::from(error.into_error()))?;
        // What changes from here on is newer than the description.
        let begun = Time { sec: begun.st_mtime, nsec: u32::try_from(begun.st_mtime_nsec).unwrap_or(0) };
        conex_sys::path::set_times(&file, begun, begun)?;
        file.sync_all()?;
        dir.rename(&temporary, dir, &name)?;
        Ok(dir.sync()?)
    };
    let written = write().wrap(|| name.clone());
    if written.is_err() {
        // The failure is what to tell.
        let _ = dir.remove_file(&temporary);
    }
    written?;
    meta.moved_to(walk).write(dir)?;
    if tree.name != name {
        dir.remove_file(&tree.name)?;
    }
    Ok(dir.sync()?)
}

/// The files that need not be opened again.
fn unchanged(was: &Node, changes: &[Change]) -> Result<HashMap<PathBuf, Known>> {
    let mut known = HashMap::new();
    collect(was, &mut PathBuf::new(), &mut known)?;
    for change in changes {
        if let Change::Present(path) = change {
            known.remove(path);
        }
    }
    Ok(known)
}

fn collect(node: &Node, path: &mut PathBuf, known: &mut HashMap<PathBuf, Known>) -> Result<()> {
    if let Some(hex) = &node.facts.sha256 {
        let digest = format!("sha256:{hex}").parse()?;
        known.insert(path.clone(), Known { digest, bare: node.facts.xattrs.is_empty() });
    }
    for (name, child) in &node.children {
        path.push::<&OsStr>(name);
        collect(child, path, known)?;
        path.pop();
    }
    Ok(())
}
