// SPDX-License-Identifier: Apache-2.0
//! Archives that become what is in them (`ADD`): unpacked beside the tree by the code that unpacks layers, which hostile
//! archives have been tried on, then copied into it with their owners.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;

use conex_image::layer::apply::{Below, Form, Limits, Options, Owner as Owners, Tree};
use conex_image::layer::compress::decoder;
use conex_sys::path::{Dir, Root};

use super::walk::{Owner, Walk};
use crate::container::remove_tree;
use crate::{Error, Result, Wrap as _};

/// Where `ustar` stands in the first block.
const MAGIC: std::ops::Range<usize> = 257..262;

/// Whether a file is a tar archive, compressed or not.
pub(crate) fn is_archive(context: &Root, path: &Path) -> Result<bool> {
    let Some(file) = context.open_regular(path)? else { return Ok(false) };
    let Ok(reader) = decoder(BufReader::new(file)) else { return Ok(false) };
    let mut block = Vec::new();
    // What cannot be decompressed is no archive, but a file.
    let read = reader.take(512).read_to_end(&mut block);
    Ok(read.is_ok() && block.get(MAGIC).is_some_and(|magic| magic == b"ustar"))
}

/// Copies what is in an archive to the directory at `target`.
pub(super) fn unpack(
    context: &Root,
    path: &Path,
    scratch: &Path,
    walk: &mut Walk<'_>,
    target: &Path,
) -> Result<()> {
    extract(context, path, scratch)?;
    let owner = std::mem::replace(&mut walk.owner, Owner::Kept);
    let copied = walk.contents(&Dir::open_host(scratch)?, Path::new(""), target, 0);
    walk.owner = owner;
    copied?;
    remove_tree(scratch)
}

/// Unpacks into `scratch`, made anew.
pub(crate) fn extract(context: &Root, path: &Path, scratch: &Path) -> Result<()> {
    let file: File =
        context.open_regular(path)?.ok_or_else(|| Error::from(std::io::Error::other("is gone")))?;
    remove_tree(scratch)?;
    std::fs::create_dir(scratch).wrap(|| scratch.display().to_string())?;
    let options = Options {
        form: Form::Plain { keep_dirlinks: false },
        owner: Owners::Keep,
        unprivileged: !conex_engine::userns::is_initial(),
        limits: Limits::default(),
        digests: false,
    };
    let mut tree = Tree::new(Dir::open_host(scratch)?, options, Below::Unknown)?;
    tree.apply(BufReader::with_capacity(128 << 10, decoder(BufReader::new(file))?))?;
    tree.finish()?;
    Ok(())
}
