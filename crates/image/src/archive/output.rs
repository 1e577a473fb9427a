// SPDX-License-Identifier: Apache-2.0
//! An archive that is being written: members go to a temporary file (or directory) beside the target, which takes the
//! target's name when everything is on disk. A process that dies leaves the target as it was. Into what is no file, a pipe or
//! `/dev/stdout`, they go as they come.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use conex_sys::path::{Dir, Root};

use super::index::{Member, Members};
use crate::layer::tar::{Entry, Kind, Writer};
use crate::layout::files;
use crate::{Result, Wrap};

/// Where members go.
#[derive(Debug)]
pub(super) enum Output {
    Tar(Tar),
    /// Files are written where they belong; those of one name are the same.
    Tree(Root),
}

/// A tar file under way.
#[derive(Debug)]
pub(super) struct Tar {
    /// `None` for a stream.
    place: Option<Place>,
    writer: Writer<BufWriter<File>>,
    names: HashSet<PathBuf>,
}

/// Where the temporary file is, and what it becomes.
#[derive(Debug)]
struct Place {
    parent: Dir,
    temporary: String,
    name: OsString,
}

impl Output {
    /// A new tar file for `path`.
    pub(super) fn to_file(path: &Path) -> Result<Self> {
        let (file, place) = match crate::host::open_stream(path)? {
            Some(stream) => (stream, None),
            None => {
                let (parent, name) = crate::host::parent(path)?;
                let temporary = files::temporary_name();
                (parent.create_file(&temporary, 0o644)?, Some(Place { parent, temporary, name }))
            }
        };
        let writer = Writer::new(BufWriter::with_capacity(256 << 10, file));
        Ok(Self::Tar(Tar { place, writer, names: HashSet::new() }))
    }

    /// Whether the target may hold images already, which stay.
    pub(super) fn joins(&self, path: &Path) -> bool {
        match self {
            Self::Tar(tar) => tar.place.is_some() && crate::host::exists(path),
            Self::Tree(_) => true,
        }
    }

    /// The directory `path`, made where there is none.
    pub(super) fn to_directory(path: &Path) -> Result<Self> {
        Ok(Self::Tree(Root::new(crate::host::make_dir(path, 0o755)?)))
    }

    /// Whether a member of that name is there.
    pub(super) fn has(&self, name: &str) -> Result<bool> {
        match self {
            Self::Tar(tar) => Ok(tar.names.contains(Path::new(name))),
            Self::Tree(root) => Ok(root.open_regular(name)?.is_some()),
        }
    }

    /// Adds a file; one that is there already stays.
    pub(super) fn add(&mut self, name: &str, size: u64, data: &mut dyn Read) -> Result<()> {
        if self.has(name)? {
            return Ok(());
        }
        match self {
            Self::Tar(tar) => {
                tar.announce(name)?;
                tar.writer.append(&Entry::new(name, Kind::file(size), 0o644), data)
            }
            Self::Tree(root) => write_file(root, name, data),
        }
        .wrap(|| name.to_owned())
    }

    /// Adds a file that is small, and takes the place of one that is there (a directory only: a tar file is new).
    pub(super) fn put(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Tar(_) => self.add(name, bytes.len() as u64, &mut &bytes[..]),
            Self::Tree(root) => write_file(root, name, &mut &bytes[..]),
        }
    }

    /// Adds a symbolic link.
    pub(super) fn link(&mut self, name: &str, target: &str) -> Result<()> {
        if self.has(name)? {
            return Ok(());
        }
        match self {
            Self::Tar(tar) => {
                tar.announce(name)?;
                tar.writer.append_empty(&Entry::new(name, Kind::Symlink { target: target.into() }, 0o777))
            }
            Self::Tree(root) => {
                let (parent, name) = parent(root, name)?;
                match parent.find(&name)? {
                    Some(_) => Ok(()),
                    None => Ok(parent.make_symlink(target.as_ref(), name)?),
                }
            }
        }
    }

    /// Takes over what another archive holds, but for the members of these names.
    pub(super) fn take_over(&mut self, old: &Members, but: &[&str]) -> Result<()> {
        let mut names: Vec<_> = old.names().collect();
        names.sort_by_key(|(name, _)| *name);
        for (name, member) in names {
            let Some(name) = name.to_str().filter(|name| !but.contains(name)) else { continue };
            match member {
                Member::File { .. } => {
                    let (mut section, size) = old.need(name)?;
                    self.add(name, size, &mut section)?;
                }
                Member::Link(target) => {
                    let up = "../".repeat(Path::new(name).components().count() - 1);
                    self.link(name, &format!("{up}{}", target.display()))?;
                }
            }
        }
        Ok(())
    }

    /// Makes it the target.
    pub(super) fn publish(&mut self) -> Result<()> {
        match self {
            Self::Tar(tar) => tar.publish(),
            Self::Tree(root) => Ok(root.dir().sync()?),
        }
    }
}

impl Tar {
    /// Notes a member, and adds the directories on the way to it, each once.
    fn announce(&mut self, name: &str) -> Result<()> {
        let above: Vec<PathBuf> = Path::new(name).ancestors().skip(1).map(Path::to_owned).collect();
        for directory in above.into_iter().rev().filter(|directory| !directory.as_os_str().is_empty()) {
            if self.names.insert(directory.clone()) {
                self.writer.append_empty(&Entry::new(directory, Kind::Directory, 0o755))?;
            }
        }
        self.names.insert(name.into());
        Ok(())
    }

    fn publish(&mut self) -> Result<()> {
        let output = self.writer.end()?;
        output.flush()?;
        let Some(Place { parent, temporary, name }) = &self.place else { return Ok(()) };
        output.get_ref().sync_data()?;
        parent.rename(temporary, parent, name)?;
        Ok(parent.sync()?)
    }
}

impl Drop for Tar {
    fn drop(&mut self) {
        if let Some(Place { parent, temporary, .. }) = &self.place {
            // Renamed away where it was published.
            let _ = parent.remove_file(temporary);
        }
    }
}

/// The directory that a name is in, made where there is none.
fn parent(root: &Root, name: &str) -> Result<(Dir, String)> {
    match name.rsplit_once('/') {
        Some((above, name)) => Ok((root.make_dir_all(above, 0o755)?, name.to_owned())),
        None => Ok((root.dir().try_clone()?, name.to_owned())),
    }
}

fn write_file(root: &Root, name: &str, data: &mut dyn Read) -> Result<()> {
    let (parent, name) = parent(root, name)?;
    let temporary = files::temporary_name();
    let mut write = || -> Result<()> {
        let mut file = parent.create_file(&temporary, 0o644)?;
        std::io::copy(data, &mut file)?;
        file.sync_data()?;
        Ok(parent.rename(&temporary, &parent, &name)?)
    };
    write().inspect_err(|_| {
        let _ = parent.remove_file(&temporary);
    })
}
