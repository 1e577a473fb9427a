// SPDX-License-Identifier: Apache-2.0
//! One file or directory of the host, as a layer of an artifact.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

use conex_spec::image::Descriptor;
use conex_spec::image::media_type::Compression;
use conex_spec::{Algorithm, Digest};
use conex_sys::path::{Dir, FileType};

use super::{TITLE, UNPACK, UNPACKED_DIGEST};
use crate::layer::apply::Owner;
use crate::layer::compress::Encoder;
use crate::layer::pack::{Options, Packer, Times};
use crate::verify::Hasher;
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
    Archive(File),
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
        let (digest, size) = hash(&mut host::open_file(path)?).wrap(|| path.display().to_string())?;
        let descriptor = Descriptor::new(media_type, digest, size);
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

fn hash(input: &mut impl Read) -> io::Result<(Digest, u64)> {
    let (mut hasher, mut size) = (Hasher::new(Algorithm::Sha256), 0);
    let mut buffer = vec![0; 128 << 10];
    loop {
        match input.read(&mut buffer)? {
            0 => return Ok((hasher.finish(), size)),
            read => {
                hasher.update(&buffer[..read]);
                size += read as u64;
            }
        }
    }
}

/// A directory's archive, with the directory as its only top: the same files give the same bytes, whoever owns them and
/// whenever they were written.
pub(super) fn directory(path: &Path, title: &str) -> Result<Piece> {
    let pack = || {
        let encoder = Encoder::new(tempfile::tempfile()?, Compression::Gzip)?;
        let options = Options { owner: Owner::Caller, times: Times::All(0) };
        let mut packer =
            Packer::new(Hashed { output: encoder, hasher: Hasher::new(Algorithm::Sha256) }, options);
        let dir = Dir::open_host(path)?;
        packer.add_dir(&dir, Path::new(title))?;
        add(&mut packer, &dir, Path::new(title))?;
        let archive = packer.finish()?;
        Ok::<_, Error>((archive.output.finish()?, archive.hasher.finish()))
    };
    let (archive, unpacked) = pack().wrap(|| path.display().to_string())?;
    let (digest, size) = hash(&mut At { file: archive.try_clone()?, offset: 0 })?;
    let mut descriptor = Descriptor::new(DIRECTORY, digest, size);
    descriptor.annotations.insert(UNPACK.to_owned(), true.to_string());
    descriptor.annotations.insert(UNPACKED_DIGEST.to_owned(), unpacked.to_string());
    Ok(Piece { descriptor, content: Content::Archive(archive) })
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

/// Hashes what is written to it.
struct Hashed<W> {
    output: W,
    hasher: Hasher,
}

impl<W: io::Write> io::Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.output.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// Reads a file that others read at the same time.
pub(super) struct At {
    pub(super) file: File,
    pub(super) offset: u64,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}
