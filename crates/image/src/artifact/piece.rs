// SPDX-License-Identifier: Apache-2.0
//! One file or directory of the host, as a layer of an artifact.

use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use conex_spec::Algorithm;
use conex_spec::image::Descriptor;
use conex_spec::image::annotation::TITLE;
use conex_spec::image::media_type::Compression;
use conex_sys::path::{Dir, FileType};

use super::{UNPACK, UNPACKED_DIGEST};
use crate::layer::apply::Owner;
use crate::layer::compress::Encoder;
use crate::layer::pack::{Options, Packer, Times};
use crate::verify::{Hasher, Hashing};
use crate::{Error, ErrorKind, Result, Wrap, host};

/// What a file is of whose type nobody has said anything, and a directory: oras' habit.
const FILE: &str = "application/vnd.oci.image.layer.v1.tar";
const DIRECTORY: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A blob to be, and where its bytes are.
#[derive(Debug)]
pub struct Piece {
    /// With the file's name as an annotation.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub content: Content,
}

/// Where bytes are.
#[derive(Debug)]
pub enum Content {
    /// In memory.
    Bytes(Vec<u8>),
    /// In a file of the host.
    Path(PathBuf),
    /// In a file without a name.
    Archive(Arc<File>),
}

impl Piece {
    /// A file, or a directory as an archive. It goes by the path as it is written, which must not lead out of where it is
    /// taken to.
    pub fn named(path: &Path, media_type: Option<&str>) -> Result<Self> {
        let title = title(path)?;
        let is_dir = Dir::open_host(path).is_ok();
        let mut piece = if is_dir { directory(path, &title)? } else { Self::of_file(path, FILE)? };
        if let Some(media_type) = media_type {
            media_type.clone_into(&mut piece.descriptor.media_type);
        }
        piece.descriptor.annotations.insert(TITLE.to_owned(), title);
        Ok(piece)
    }

    /// A file without a name.
    pub fn of_file(path: &Path, media_type: &str) -> Result<Self> {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let size = hasher.read(&mut host::open_file(path)?).wrap(|| path.display())?;
        let descriptor = Descriptor::new(media_type, hasher.finish(), size);
        Ok(Self { descriptor, content: Content::Path(path.to_owned()) })
    }
}

/// `a/b` for `./a/b/`.
fn title(path: &Path) -> Result<String> {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    let names: Option<Vec<_>> = parts
        .map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    let names = names.filter(|names| !names.is_empty()).ok_or_else(|| {
        let message = format!("{}: a file's name must be text, and lead down from here", path.display());
        Error::new(ErrorKind::Usage, message).with_hint("change to the directory that the files are in")
    })?;
    Ok(names.join("/"))
}

/// A directory's archive, with the directory as its only top: the same files give the same bytes, whoever owns them and
/// whenever they were written.
pub(super) fn directory(path: &Path, title: &str) -> Result<Piece> {
    let pack = || {
        let encoder = Encoder::new(Hashing::new(tempfile::tempfile()?), Compression::Gzip)?;
        let options = Options { owner: Owner::Caller, times: Times::All(0) };
        let mut packer = Packer::new(Hashing::new(encoder), options);
        let dir = Dir::open_host(path)?;
        packer.add_dir(&dir, Path::new(title))?;
        add(&mut packer, &dir, Path::new(title))?;
        let unpacked = packer.finish()?;
        Ok::<_, Error>((unpacked.output.finish()?, unpacked.hasher.finish()))
    };
    let (archive, unpacked) = pack().wrap(|| path.display())?;
    let mut descriptor = Descriptor::new(DIRECTORY, archive.hasher.finish(), archive.size);
    descriptor.annotations.insert(UNPACK.to_owned(), true.to_string());
    descriptor.annotations.insert(UNPACKED_DIGEST.to_owned(), unpacked.to_string());
    Ok(Piece { descriptor, content: Content::Archive(Arc::new(archive.output)) })
}

fn add<W: io::Write>(packer: &mut Packer<W>, dir: &Dir, path: &Path) -> Result<()> {
    let mut entries = dir.entries()?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    for entry in entries {
        let path = path.join(&entry.name);
        packer.add(dir, &entry.name, &path)?;
        if FileType::from_raw_mode(dir.stat(&entry.name)?.st_mode) == FileType::Directory {
            add(packer, &dir.open_dir(&entry.name)?, &path)?;
        }
    }
    Ok(())
}
