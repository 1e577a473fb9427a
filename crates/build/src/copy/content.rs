// SPDX-License-Identifier: Apache-2.0
//! What is taken, as a digest: of every file its path, kind, mode, owner, attributes and bytes; never its times, so that a
//! checkout on another day is the same.
//!
//! ```text
//!  field   length in bytes (u64, little endian), bytes
//!  text    field
//!  file    field: path below the source
//!          field: kind (one of "fdlpcb"), mode (octal), uid, gid, number of attributes, between spaces
//!          fields: each attribute's name and value, ordered by name
//!          field: sha256 of a file's bytes (hex), a link's target, a device's number; nothing for the others
//! ```

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;

use conex_image::verify::Hasher;
use conex_spec::{Algorithm, Digest};
use conex_sys::Errno;
use conex_sys::path::{Dir, FileType, device_number, get_xattr, list_xattrs};

use super::origin::{Origin, Owners};
use super::walk::{Visit, Visitor};
use crate::ignore::Ignore;
use crate::{Error, ErrorKind, Result, Wrap as _};

const BUFFER: usize = 1 << 20;

/// See the module.
#[derive(Clone)]
pub(crate) struct Content(Hasher);

/// Extended attributes, by name.
pub(super) type Attributes = BTreeMap<Vec<u8>, Vec<u8>>;

impl Content {
    pub(crate) fn new() -> Self {
        Self(Hasher::new(Algorithm::Sha256))
    }

    /// Anything that is not a file.
    pub(crate) fn add(&mut self, text: &str) {
        self.field(text.as_bytes());
    }

    /// What a source means, without copying it.
    pub(crate) fn source(
        &mut self,
        origin: &Origin,
        source: &str,
        parents: bool,
        exclude: &Ignore,
    ) -> Result<()> {
        for selected in origin.select(source, parents)? {
            self.place(selected.place.as_os_str());
            let mut taken = Taken { content: self, owners: origin.owners };
            origin.walk(&selected, exclude, &mut taken)?;
        }
        Ok(())
    }

    /// Where the files that follow belong.
    pub(super) fn place(&mut self, place: &OsStr) {
        self.field(place.as_bytes());
    }

    /// One file; `data` is the digest of its bytes, where it has some.
    pub(super) fn file(
        &mut self,
        visit: &Visit<'_>,
        owners: Owners,
        attributes: &Attributes,
        data: Option<&Digest>,
    ) -> Result<()> {
        let kind = match visit.kind() {
            FileType::RegularFile => 'f',
            FileType::Directory => 'd',
            FileType::Symlink => 'l',
            FileType::Fifo => 'p',
            FileType::CharacterDevice => 'c',
            FileType::BlockDevice => 'b',
            FileType::Socket | FileType::Unknown => return Ok(()),
        };
        let (uid, gid) = owners.of(visit.stat);
        self.field(visit.path.as_os_str().as_bytes());
        let mode = visit.stat.st_mode & 0o7777;
        self.field(format!("{kind} {mode:o} {uid} {gid} {}", attributes.len()).as_bytes());
        for (name, value) in attributes {
            self.field(name);
            self.field(value);
        }
        match (data, kind) {
            (Some(digest), _) => self.field(digest.hex().as_bytes()),
            (None, 'l') => self.field(visit.dir.read_link(visit.name)?.as_bytes()),
            (None, 'c' | 'b') => self.field(format!("{:?}", device_number(visit.stat)).as_bytes()),
            _ => self.field(b""),
        }
        Ok(())
    }

    fn field(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    pub(crate) fn digest(self) -> Digest {
        self.0.finish()
    }
}

/// Hashes what a walk comes by.
struct Taken<'a> {
    content: &'a mut Content,
    owners: Owners,
}

impl Visitor for Taken<'_> {
    fn visit(&mut self, visit: &Visit<'_>) -> Result<()> {
        let (attributes, data) = match visit.kind() {
            FileType::RegularFile => {
                let mut file = open(visit)?;
                (attributes(&file)?, Some(digest(&mut file, &mut vec![0; BUFFER], &mut |_| Ok(()))?))
            }
            FileType::Directory => (attributes(&open_dir(visit)?)?, None),
            _ => (Attributes::new(), None),
        };
        self.content.file(visit, self.owners, &attributes, data.as_ref())
    }
}

/// A regular file that was one when it was seen, too.
pub(super) fn open(visit: &Visit<'_>) -> Result<File> {
    let file = visit.dir.open_file(visit.name)?;
    let stat = conex_sys::path::stat(&file)?;
    if (stat.st_dev, stat.st_ino, stat.st_mode) != (visit.stat.st_dev, visit.stat.st_ino, visit.stat.st_mode)
    {
        return Err(Error::new(ErrorKind::Invalid, "was exchanged while it was read"));
    }
    Ok(file)
}

/// A directory that is visited.
pub(super) fn open_dir(visit: &Visit<'_>) -> Result<Dir> {
    // The origin itself has no name.
    Ok(if visit.name == "." { visit.dir.reopen()? } else { visit.dir.open_dir(visit.name)? })
}

/// What the rest of a file hashes to; `each` gets all of it.
pub(super) fn digest(
    file: &mut File,
    buffer: &mut [u8],
    each: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Digest> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    loop {
        let len = file.read(buffer).wrap(|| "read")?;
        if len == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&buffer[..len]);
        each(&buffer[..len])?;
    }
}

/// What belongs to a file: not the host's labels, and nothing that overlayfs reads.
pub(super) fn attributes(from: impl std::os::fd::AsFd) -> Result<Attributes> {
    let mut found = Attributes::new();
    for name in list_xattrs(&from)? {
        let wanted = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.")
            || name == b"security.capability";
        if wanted {
            match get_xattr(&from, &name) {
                Err(error) if error.errno() == Errno::NODATA => {}
                value => drop(found.insert(name, value?)),
            }
        }
    }
    Ok(found)
}
