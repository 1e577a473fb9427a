// SPDX-License-Identifier: Apache-2.0
//! Finding the directory that an entry lies in, and making what is missing on the way.

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use conex_sys::Errno;
use conex_sys::path::{FileType, Stat};

use super::{Attributes, Below, Form, Parent, Time, Tree, xattr};
use crate::{Error, ErrorKind, Result, Wrap};

/// Open directories that are kept; more than an archive in depth-first order needs.
const CACHED: usize = 128;
/// As many as the kernel follows.
const MAX_SYMLINKS: usize = 40;

/// One step on the way.
enum Step {
    Root,
    Up,
    Down(OsString),
}

/// What a step down met.
enum Met {
    Directory(Arc<Parent>),
    Symlink(OsString),
}

impl Tree {
    /// The directory that `path` leads to. Symlinks are walked inside the tree; what is missing is made; what is in
    /// the way and not a directory is replaced by one.
    pub(super) fn directory(&mut self, path: &Path) -> Result<Arc<Parent>> {
        if let Some(hit) = self.cache.get(path) {
            return Ok(Arc::clone(hit));
        }
        let (mut here, mut steps) = self.nearest(path);
        let mut symlinks = 0;
        while let Some(step) = steps.pop() {
            here = match step {
                Step::Root => self.root(),
                Step::Up => {
                    let up = here.path.parent().unwrap_or(Path::new("")).to_owned();
                    self.directory(&up)?
                }
                Step::Down(name) => match self.down(&here, &name)? {
                    Met::Directory(dir) => dir,
                    Met::Symlink(target) => {
                        symlinks += 1;
                        if symlinks > MAX_SYMLINKS {
                            return Err(Error::new(
                                ErrorKind::Hostile,
                                format!("{path:?}: symlinks in a circle"),
                            ));
                        }
                        steps.extend(steps_of(Path::new(&target)).into_iter().rev());
                        here
                    }
                },
            };
        }
        self.remember(path.to_owned(), &here);
        Ok(here)
    }

    fn root(&self) -> Arc<Parent> {
        Arc::clone(self.cache.get(Path::new("")).expect("the root is never dropped from the cache"))
    }

    /// The nearest parent that is open, and the steps from there (last first).
    fn nearest(&self, path: &Path) -> (Arc<Parent>, Vec<Step>) {
        let mut steps = Vec::new();
        let mut rest = path;
        loop {
            if let Some(hit) = self.cache.get(rest) {
                return (Arc::clone(hit), steps);
            }
            match (rest.file_name(), rest.parent()) {
                (Some(name), Some(parent)) => {
                    steps.push(Step::Down(name.to_owned()));
                    rest = parent;
                }
                _ => return (self.root(), steps),
            }
        }
    }

    fn remember(&mut self, path: PathBuf, dir: &Arc<Parent>) {
        if self.cache.len() >= CACHED {
            self.cache.retain(|path, _| path.as_os_str().is_empty());
        }
        self.cache.insert(path, Arc::clone(dir));
    }

    fn down(&mut self, here: &Arc<Parent>, name: &OsStr) -> Result<Met> {
        match here.dir.open_dir(name) {
            Ok(dir) => return Ok(Met::Directory(self.opened(here, name, dir))),
            Err(error) if error.errno() == Errno::NOENT => return self.implied(here, name),
            Err(error) if matches!(error.errno(), Errno::NOTDIR | Errno::LOOP) => {}
            Err(error) => return Err(error.into()),
        }
        if file_type(&here.dir.stat(name)?) == FileType::Symlink {
            return Ok(Met::Symlink(here.dir.read_link(name)?));
        }
        // A whiteout or a file: what it hid stays hidden.
        self.clear_way(here, name)?;
        self.new_directory(here, name, Attributes::default_dir(), true).map(Met::Directory)
    }

    fn opened(&mut self, here: &Parent, name: &OsStr, dir: conex_sys::path::Dir) -> Arc<Parent> {
        let parent = Arc::new(Parent { dir, path: here.path_of(name) });
        self.remember(parent.path.clone(), &parent);
        parent
    }

    /// A directory that no entry of the layer describes: it is what it is in the layers below.
    fn implied(&mut self, here: &Arc<Parent>, name: &OsStr) -> Result<Met> {
        let path = here.path_of(name);
        let mut attributes = Attributes::default_dir();
        if matches!(self.options.form, Form::Overlay { .. }) && !self.is_hidden(&here.path) {
            match &self.below {
                Below::Unknown => self.applied.implicit_parents = true,
                Below::Layers(stack) => {
                    if let Some(found) = stack.find(&path)? {
                        match file_type(&found.stat) {
                            FileType::Symlink => return Ok(Met::Symlink(found.read_link()?)),
                            FileType::Directory => {
                                let xattrs = xattr::of_lower_directory(&found, self.options.form)?;
                                attributes = Attributes { xattrs, ..attributes_of(&found.stat) };
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
        self.new_directory(here, name, attributes, false).map(Met::Directory)
    }

    /// Makes a directory; `opaque` if it hides what is below it.
    pub(super) fn new_directory(
        &mut self,
        here: &Arc<Parent>,
        name: &OsStr,
        attributes: Attributes,
        opaque: bool,
    ) -> Result<Arc<Parent>> {
        here.dir.make_dir(name, 0o700)?;
        let dir = here.dir.open_dir(name).wrap(|| format!("just made: {name:?}"))?;
        let parent = self.opened(here, name, dir);
        self.describe_later(parent.path.clone(), attributes)?;
        if opaque {
            self.make_opaque(&parent)?;
        }
        Ok(parent)
    }

    /// Whether the layers below are hidden at `path` by an opaque directory of the current layer.
    pub(super) fn is_hidden(&self, path: &Path) -> bool {
        !self.opaque.is_empty() && path.ancestors().any(|dir| self.opaque.contains(dir))
    }
}

pub(super) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn attributes_of(stat: &Stat) -> Attributes {
    Attributes {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: Time { sec: stat.st_mtime, nsec: u32::try_from(stat.st_mtime_nsec).unwrap_or(0) },
        atime: None,
        xattrs: Vec::new(),
    }
}

/// The steps of a symlink's text.
fn steps_of(target: &Path) -> Vec<Step> {
    let steps = target.components().filter_map(|component| match component {
        Component::RootDir => Some(Step::Root),
        Component::ParentDir => Some(Step::Up),
        Component::Normal(name) => Some(Step::Down(name.to_owned())),
        Component::CurDir | Component::Prefix(_) => None,
    });
    steps.collect()
}
