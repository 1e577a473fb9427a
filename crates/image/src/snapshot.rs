// SPDX-License-Identifier: Apache-2.0
//! The layers of an image as an overlay mount: where they are and what options they need. The mount itself is made
//! by whoever runs the container.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use conex_sys::Errno;
use conex_sys::path::{Dir, FileType, Stat};

use crate::{Error, ErrorKind, Result, Wrap};

/// A stack of unpacked layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The layers' directories, absolute, **top first**, as overlayfs wants its `lowerdir`s. May be hundreds: give
    /// them to the kernel one by one (`lowerdir+`) or by short relative paths.
    pub lower: Vec<PathBuf>,
    /// Whether the mount needs the option `userxattr`: the layers were unpacked in a user namespace.
    pub userxattr: bool,
}

impl Snapshot {
    /// Opens the layers, to look into the merged tree without mounting it.
    pub fn stack(&self) -> Result<Stack> {
        let open = |path: &PathBuf| Ok(Arc::new(Dir::open_host(path)?));
        let layers: Result<Vec<_>> = self.lower.iter().map(open).collect();
        Ok(Stack::new(layers.wrap(|| "open layers")?, self.userxattr))
    }

    /// Opens a regular file of the merged tree without mounting it: `etc/passwd`. Symlinks are resolved inside the
    /// tree; whiteouts are honoured. `None` where there is no such file or it is not a regular one.
    pub fn open(&self, path: &Path) -> Result<Option<File>> {
        self.stack()?.open_regular(path)
    }
}

impl crate::bundle::Rootfs for Snapshot {
    fn open(&self, path: &Path) -> Result<Option<File>> {
        Self::open(self, path)
    }
}

/// Open layers, top first, read as overlayfs would merge them.
#[derive(Clone, Debug)]
pub struct Stack {
    layers: Vec<Arc<Dir>>,
    opaque: &'static [u8],
}

/// Something in a [`Stack`]: a name in a directory of one layer.
#[derive(Debug)]
pub struct Found {
    /// The directory it lies in.
    pub dir: Dir,
    /// Its name there.
    pub name: OsString,
    /// What it is. Never a whiteout.
    pub stat: Stat,
}

impl Found {
    /// The text of a symlink.
    pub fn read_link(&self) -> Result<OsString> {
        Ok(self.dir.read_link(&self.name)?)
    }
}

/// What one layer says about a path.
enum Said {
    Found(Found),
    /// It is not there, and layers below do not count.
    Hidden,
    /// Nothing: ask the next layer.
    Nothing,
}

impl Stack {
    /// Of these layers, top first.
    pub fn new(layers: Vec<Arc<Dir>>, userxattr: bool) -> Self {
        let opaque: &[u8] = if userxattr { b"user.overlay.opaque" } else { b"trusted.overlay.opaque" };
        Self { layers, opaque }
    }

    /// Of no layers.
    pub fn empty() -> Self {
        Self::new(Vec::new(), false)
    }

    /// What `path` names in the merged tree. No symlink is followed, neither in the parents nor at the end.
    pub fn find(&self, path: &Path) -> Result<Option<Found>> {
        for layer in &self.layers {
            match self.ask(layer, path)? {
                Said::Found(found) => return Ok(Some(found)),
                Said::Hidden => return Ok(None),
                Said::Nothing => {}
            }
        }
        Ok(None)
    }

    fn ask(&self, layer: &Dir, path: &Path) -> Result<Said> {
        let mut here = layer.try_clone()?;
        let mut opaque = false;
        let mut names = path.iter().peekable();
        while let Some(name) = names.next() {
            let Some(stat) = here.find(name)? else {
                return Ok(if opaque { Said::Hidden } else { Said::Nothing });
            };
            let kind = FileType::from_raw_mode(stat.st_mode);
            if kind == FileType::CharacterDevice && stat.st_rdev == 0 {
                return Ok(Said::Hidden);
            }
            if names.peek().is_none() {
                return Ok(Said::Found(Found { dir: here, name: name.to_owned(), stat }));
            }
            if kind != FileType::Directory {
                return Ok(Said::Hidden);
            }
            here = here.open_dir(name)?;
            opaque |= self.is_opaque(&here)?;
        }
        Ok(Said::Nothing)
    }

    fn is_opaque(&self, dir: &Dir) -> Result<bool> {
        match conex_sys::path::get_xattr(dir, self.opaque) {
            Ok(value) => Ok(value == b"y"),
            Err(error) if matches!(error.errno(), Errno::NODATA | Errno::NOTSUP | Errno::PERM) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a regular file of the merged tree, symlinks resolved inside it.
    pub fn open_regular(&self, path: &Path) -> Result<Option<File>> {
        let Some(found) = self.follow(path)? else { return Ok(None) };
        if FileType::from_raw_mode(found.stat.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        Ok(Some(found.dir.open_file(&found.name)?))
    }

    /// What `path` leads to, symlinks followed inside the merged tree.
    fn follow(&self, path: &Path) -> Result<Option<Found>> {
        let mut steps: VecDeque<OsString> = names_of(path).collect();
        let mut here = PathBuf::new();
        let mut symlinks = 0;
        while let Some(name) = steps.pop_front() {
            match name.as_bytes() {
                b"/" => here = PathBuf::new(),
                b".." => drop(here.pop()),
                _ => {
                    let Some(found) = self.find(&here.join(&name))? else { return Ok(None) };
                    if FileType::from_raw_mode(found.stat.st_mode) != FileType::Symlink {
                        if steps.is_empty() {
                            return Ok(Some(found));
                        }
                        here.push(&name);
                        continue;
                    }
                    symlinks += 1;
                    if symlinks > 40 {
                        return Err(Error::new(
                            ErrorKind::Hostile,
                            format!("{path:?}: symlinks in a circle"),
                        ));
                    }
                    let target = found.read_link()?;
                    for name in names_of(Path::new(&target)).collect::<Vec<_>>().into_iter().rev() {
                        steps.push_front(name);
                    }
                }
            }
        }
        Ok(None)
    }
}

/// The components of a path, `/` and `..` among them.
fn names_of(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::RootDir => Some(OsStr::new("/").to_owned()),
        Component::ParentDir => Some(OsStr::new("..").to_owned()),
        Component::Normal(name) => Some(name.to_owned()),
        Component::CurDir | Component::Prefix(_) => None,
    })
}
