// SPDX-License-Identifier: Apache-2.0
//! Files of the host into an image, as a layer of their own.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use conex_spec::image::media_type::Compression;
use conex_sys::path::{Dir, FileType};

use super::{Draft, NewLayer};
use crate::layer::pack::{Options, Packer};
use crate::layout::Layout;
use crate::{Error, ErrorKind, Result, Wrap};

/// Directories in directories; each holds one open.
const MAX_DEPTH: usize = 512;

/// What becomes of a place in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// This file or tree of the host; a directory joins the one that is there.
    Merged(PathBuf),
    /// This tree, in place of what is there.
    Opaque(PathBuf),
    /// Nothing.
    Absent,
}

/// Stores a layer for `draft` that has `content` at `target`.
pub fn insert(
    draft: &Draft,
    layout: &Layout,
    content: &Content,
    target: &Path,
    compression: Compression,
    options: Options,
) -> Result<NewLayer> {
    let pack = || {
        let target = inside(target)?;
        let mut packer = Packer::new(draft.new_layer(layout, compression)?, options);
        match content {
            Content::Absent => packer.whiteout(&target)?,
            Content::Merged(source) => add_source(&mut packer, source, &target)?,
            Content::Opaque(source) => {
                packer.opaque(&target)?;
                add_source(&mut packer, source, &target)?;
            }
        }
        packer.finish()?.finish()
    };
    pack().wrap(|| format!("insert at {}", target.display()))
}

/// The path in a layer: from its root, without detours.
fn inside(target: &Path) -> Result<PathBuf> {
    let mut path = PathBuf::new();
    for component in target.components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::RootDir | Component::CurDir => {}
            _ => {
                let message = "the target must not climb: write it from the image's root, without ..";
                return Err(Error::new(ErrorKind::Usage, message));
            }
        }
    }
    match path.as_os_str().as_bytes().contains(&0) {
        true => Err(Error::new(ErrorKind::Usage, "the target has a zero byte in it")),
        false => Ok(path),
    }
}

fn add_source<W: Write>(packer: &mut Packer<W>, source: &Path, target: &Path) -> Result<()> {
    let mut add = || match source.file_name() {
        Some(name) if !source.as_os_str().as_bytes().ends_with(b"/.") => {
            let parent = source.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = Dir::open_host(parent.unwrap_or(Path::new(".")))?;
            if target.as_os_str().is_empty() {
                add_tree(packer, &parent.open_dir(name)?, target, 0)
            } else {
                add_name(packer, &parent, name, target, 0)
            }
        }
        _ => add_tree(packer, &Dir::open_host(source)?, target, 0),
    };
    add().wrap(|| source.display().to_string())
}

fn add_name<W: Write>(
    packer: &mut Packer<W>,
    dir: &Dir,
    name: &OsStr,
    path: &Path,
    depth: usize,
) -> Result<()> {
    match FileType::from_raw_mode(dir.stat(name)?.st_mode) {
        FileType::Directory => add_tree(packer, &dir.open_dir(name)?, path, depth),
        _ => packer.add(dir, name, path),
    }
}

fn add_tree<W: Write>(packer: &mut Packer<W>, dir: &Dir, path: &Path, depth: usize) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(Error::invalid(format!("{path:?}: directories nested deeper than {MAX_DEPTH}")));
    }
    packer.add_dir(dir, path)?;
    let mut entries = dir.entries()?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    for entry in entries {
        add_name(packer, dir, &entry.name, &path.join(&entry.name), depth + 1)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_paths_from_the_root() {
        assert_eq!(inside(Path::new("/opt/./x/")).unwrap(), Path::new("opt/x"));
        assert_eq!(inside(Path::new("/")).unwrap(), Path::new(""));
        assert!(inside(Path::new("/opt/../etc")).is_err());
    }
}
