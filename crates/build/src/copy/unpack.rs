// SPDX-License-Identifier: Apache-2.0
//! Archives that become what is in them (`ADD`): unpacked beside the tree by the code that unpacks layers, which hostile
//! archives have been tried on.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use conex_image::layer::apply::{Below, Form, Limits, Options, Owner, Tree};
use conex_image::layer::compress::decoder;
use conex_image::verify::Hasher;
use conex_spec::{Algorithm, Digest};
use conex_sys::path::{Dir, FileType};

use super::select::Selected;
use crate::container::remove_tree;
use crate::{Error, ErrorKind, Result, Wrap as _};

/// Where `ustar` stands in the first block.
const MAGIC: std::ops::Range<usize> = 257..262;

/// How files begin that only other programs can unpack: bzip2's, xz's.
const FOREIGN: [&[u8]; 2] = [b"BZh", b"\xfd7zXZ"];

/// Whether it is a tar archive, compressed or not. One that cannot be unpacked here is an error: to copy it would give
/// another image than the file says.
pub(super) fn is_archive(selected: &Selected) -> Result<bool> {
    if FileType::from_raw_mode(selected.stat.st_mode) != FileType::RegularFile {
        return Ok(false);
    }
    let open = || selected.dir.open_file(&selected.name);
    let mut head = Vec::new();
    open()?.take(8).read_to_end(&mut head).wrap(|| "read")?;
    if FOREIGN.iter().any(|magic| head.starts_with(magic)) {
        let message = format!("ADD {}: archives by bzip2 and xz are not unpacked", selected.path.display());
        return Err(Error::new(ErrorKind::Unsupported, message).with_hint(
            "copy it with ADD --unpack=false, or unpack it: RUN --mount=target=/ctx tar -xf /ctx/FILE",
        ));
    }
    is_tar(open()?)
}

/// Whether there is a tar archive, compressed or not.
pub(crate) fn is_tar(file: impl Read + Send) -> Result<bool> {
    let Ok(reader) = decoder(BufReader::new(file)) else { return Ok(false) };
    let mut block = Vec::new();
    // What cannot be decompressed is no archive, but a file.
    let read = reader.take(512).read_to_end(&mut block);
    Ok(read.is_ok() && block.get(MAGIC).is_some_and(|magic| magic == b"ustar"))
}

/// Unpacks into `scratch`, made anew; the digest of the archive's bytes.
pub(crate) fn extract(file: File, scratch: &Path) -> Result<Digest> {
    remove_tree(scratch)?;
    std::fs::create_dir(scratch).wrap(|| scratch.display().to_string())?;
    let mut hashing = Hashing { file, hasher: Hasher::new(Algorithm::Sha256) };
    unpack(decoder(BufReader::new(&mut hashing))?, scratch)?;
    // Behind the archive's end there may be more.
    std::io::copy(&mut hashing, &mut std::io::sink()).wrap(|| "read")?;
    Ok(hashing.hasher.finish())
}

/// Unpacks a tar into a directory, beside what is there.
pub fn unpack(archive: impl Read + Send, directory: &Path) -> Result<()> {
    let options = Options {
        form: Form::Plain { keep_dirlinks: false },
        owner: Owner::Keep,
        unprivileged: !conex_engine::userns::is_initial(),
        limits: Limits::default(),
        digests: false,
    };
    let mut tree = Tree::new(Dir::open_host(directory)?, options, Below::Unknown)?;
    tree.apply(BufReader::with_capacity(128 << 10, archive))?;
    Ok(tree.finish().map(drop)?)
}

/// A file that is hashed while it is read.
struct Hashing {
    file: File,
    hasher: Hasher,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let len = self.file.read(buffer)?;
        self.hasher.update(&buffer[..len]);
        Ok(len)
    }
}
