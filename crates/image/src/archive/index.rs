// SPDX-License-Identifier: Apache-2.0
//! Where everything lies in a tar file, found by one walk over its headers; and the same for a directory.
//!
//! Of two members of one name the last counts, as for who extracts them in order. Links are followed inside the archive
//! only: they are names in the index, never paths on the host.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use conex_spec::image::media_type::Compression;
use conex_sys::Errno;
use conex_sys::path::Root;

use crate::layer::compress::{decoder, sniff};
use crate::layer::tar::{Kind, Reader};
use crate::section::Section;
use crate::{Error, ErrorKind, Result, Wrap};

/// Links that lead to links.
const MAX_LINKS: usize = 8;
/// More members than any archive of images has.
const MAX_MEMBERS: usize = 1 << 20;

/// Files by name.
#[derive(Debug)]
pub(super) enum Members {
    Tar { file: Arc<File>, members: HashMap<PathBuf, Member> },
    Tree(Root),
}

/// What a name in a tar file means.
#[derive(Clone, Debug)]
pub(super) enum Member {
    /// From its first byte to behind its last.
    File { at: u64, end: u64 },
    /// Another name.
    Link(PathBuf),
}

impl Members {
    /// Indexes a tar file by path.
    pub(super) fn at(path: &Path) -> Result<Self> {
        Self::of_file(crate::host::open_file(path)?)
    }

    /// Indexes a tar file.
    pub(super) fn of_file(file: File) -> Result<Self> {
        let file = plain(file)?;
        let mut input = BufReader::new(file.try_clone()?);
        io::Seek::rewind(&mut input)?;
        let mut reader = Reader::new(input);
        let mut members = HashMap::new();
        while let Some(entry) = reader.next_entry()? {
            let member = match entry.kind {
                Kind::File { size, holes: None } => {
                    let at = reader.seek_over_data()?;
                    Member::File { at, end: at + size }
                }
                Kind::Symlink { target } => Member::Link(beside(&entry.path, Path::new(&target))),
                Kind::Link { target } => Member::Link(target),
                _ => continue,
            };
            members.insert(entry.path, member);
            if members.len() > MAX_MEMBERS {
                return Err(Error::invalid(format!("more than {MAX_MEMBERS} members")));
            }
        }
        Ok(Self::Tar { file: Arc::new(file), members })
    }

    /// The files of a directory.
    pub(super) fn of_directory(path: &Path) -> Result<Self> {
        Ok(Self::Tree(Root::open_host(path)?))
    }

    /// Opens a file; `None` where there is none of that name.
    pub(super) fn open(&self, name: &str) -> Result<Option<(Section, u64)>> {
        match self {
            Self::Tar { file, members } => {
                let found = find(members, Path::new(name));
                Ok(found.map(|(at, end)| (Section::new(file.clone(), at, end), end - at)))
            }
            Self::Tree(root) => match root.open_regular(name) {
                Ok(None) => Ok(None),
                Ok(Some(file)) => {
                    let size = file.metadata()?.len();
                    Ok(Some((Section::new(Arc::new(file), 0, size), size)))
                }
                Err(error) if error.errno() == Errno::NOENT => Ok(None),
                Err(error) => Err(error.into()),
            },
        }
    }

    /// As [`Members::open`]; that there is no such file is an error.
    pub(super) fn need(&self, name: &str) -> Result<(Section, u64)> {
        self.open(name)?.ok_or_else(|| Error::invalid(format!("there is no file {name:?} in it")))
    }

    /// A small file.
    pub(super) fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some((mut section, size)) = self.open(name)? else { return Ok(None) };
        if size > limit {
            return Err(Error::invalid(format!("{name}: larger than {limit} bytes")));
        }
        let mut bytes = Vec::new();
        section.read_to_end(&mut bytes).wrap(|| format!("read {name}"))?;
        Ok(Some(bytes))
    }

    /// The names of all files of a tar file.
    pub(super) fn names(&self) -> impl Iterator<Item = (&Path, &Member)> {
        let members = match self {
            Self::Tar { members, .. } => Some(members),
            Self::Tree(_) => None,
        };
        members.into_iter().flatten().map(|(path, member)| (path.as_path(), member))
    }
}

fn find(members: &HashMap<PathBuf, Member>, name: &Path) -> Option<(u64, u64)> {
    let mut name = name;
    for _ in 0..MAX_LINKS {
        match members.get(name)? {
            Member::File { at, end } => return Some((*at, *end)),
            Member::Link(target) => name = target,
        }
    }
    None
}

/// What a relative link in an archive means there; what would lead out of it means nothing.
fn beside(link: &Path, target: &Path) -> PathBuf {
    let mut path = link.parent().map(Path::to_owned).unwrap_or_default();
    for part in target.components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => drop(path.pop()),
            Component::RootDir => path.clear(),
            _ => {}
        }
    }
    path
}

/// The file, or what it holds decompressed. Of a pipe, which has no places to go to, a copy.
fn plain(file: File) -> Result<File> {
    if file.metadata()?.is_file() {
        let mut first = [0; 4];
        let len = file.read_at(&mut first, 0)?;
        if sniff(&first[..len]) == Compression::None {
            return Ok(file);
        }
    }
    let mut whole = tempfile::tempfile().wrap(|| "a file for the decompressed archive")?;
    io::copy(&mut decoder(BufReader::new(file))?, &mut whole)
        .map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))
        .wrap(|| "copy or decompress")?;
    Ok(whole)
}
