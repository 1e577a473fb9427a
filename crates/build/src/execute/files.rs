// SPDX-License-Identifier: Apache-2.0
//! The files that a `COPY`, an `ADD` or a mount takes: which they are, and what they hash to. The same walk, gone once
//! more, copies them.
//!
//! The walk is relative to descriptors; no symlink leads out of the origin. Digests have path, mode, owner and content
//! in them, never times.

use std::ffi::OsString;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use conex_image::verify::Hasher;
use conex_spec::Algorithm;
use conex_sys::path::{Dir, FileType, Root, Stat};

use crate::glob::{Dialect, Glob};
use crate::ignore::{Decision, Ignore};
use crate::{Error, ErrorKind, Result, Wrap as _};

/// A tree that files are taken from.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) root: Root,
    /// What of it does not count.
    pub(super) ignore: Ignore,
    /// Whose the files are: their own owners', or all root's, as with a context.
    pub(super) owners: Owners,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owners {
    Kept,
    Root,
}

/// One of the paths that a source means, links followed.
#[derive(Debug)]
pub(super) struct Selected {
    /// Relative to the origin, as it was written.
    pub(super) path: PathBuf,
    /// The directory it lies in, and its name there.
    pub(super) dir: Dir,
    pub(super) name: OsString,
    pub(super) stat: Stat,
}

impl Selected {
    pub(super) fn is_dir(&self) -> bool {
        FileType::from_raw_mode(self.stat.st_mode) == FileType::Directory
    }
}

/// Something that a walk comes by.
pub(super) struct Visit<'a> {
    /// Relative to where the walk began; empty for that itself.
    pub(super) path: &'a Path,
    pub(super) dir: &'a Dir,
    pub(super) name: &'a OsString,
    pub(super) stat: &'a Stat,
}

impl Origin {
    /// The paths that a source means, in order of their names. What is ignored is not there.
    pub(super) fn select(&self, source: &str) -> Result<Vec<Selected>> {
        let normal = normal(source);
        let mut found = vec![PathBuf::new()];
        for component in &normal {
            found = match Glob::is_pattern(component) {
                true => self.matching(&found, component)?,
                false => found.into_iter().map(|path| path.join(component)).collect(),
            };
        }
        let mut selected = Vec::new();
        for path in found {
            let text = path.to_string_lossy();
            if !text.is_empty() && !self.ignore.takes_back() && self.ignore.ignores(&text) {
                continue;
            }
            selected.extend(self.one(path.clone())?);
        }
        if selected.is_empty() && !Glob::is_pattern(source) {
            let ignored = self.ignore.ignores(&normal.join("/"));
            let error = Error::new(ErrorKind::NotFound, format!("{source:?} is not there"));
            return Err(match ignored {
                true => error.with_hint("the ignore file leaves it out"),
                false => error,
            });
        }
        Ok(selected)
    }

    fn matching(&self, above: &[PathBuf], pattern: &str) -> Result<Vec<PathBuf>> {
        let glob = Glob::parse(pattern, Dialect::Path)
            .ok_or_else(|| Error::new(ErrorKind::Usage, format!("{pattern:?} is no pattern")))?;
        let mut found = Vec::new();
        for directory in above {
            let Some(dir) = self.root.find_dir(directory)? else { continue };
            let names = dir.entries()?.into_iter().map(|entry| entry.name);
            let mut names: Vec<OsString> =
                names.filter(|name| name.to_str().is_some_and(|name| glob.matches(name))).collect();
            names.sort();
            found.extend(names.into_iter().map(|name| directory.join(name)));
        }
        Ok(found)
    }

    /// What is at a path, a link at its end followed inside the origin.
    fn one(&self, path: PathBuf) -> Result<Option<Selected>> {
        if path.as_os_str().is_empty() {
            let dir = self.root.open_dir("")?;
            let stat = conex_sys::path::stat(&dir)?;
            return Ok(Some(Selected { path, dir, name: ".".into(), stat }));
        }
        let mut at = path.clone();
        for _ in 0..40 {
            let Some(parent) = self.root.find_dir(at.parent().unwrap_or(Path::new("")))? else {
                return Ok(None);
            };
            let Some(name) = at.file_name().map(ToOwned::to_owned) else { return Ok(None) };
            let Some(stat) = parent.find(&name)? else { return Ok(None) };
            if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
                return Ok(Some(Selected { path, dir: parent, name, stat }));
            }
            let target = PathBuf::from(parent.read_link(&name)?);
            let base = if target.is_absolute() {
                PathBuf::new()
            } else {
                at.parent().unwrap_or(Path::new("")).to_owned()
            };
            at = normal(&base.join(target).to_string_lossy()).iter().collect();
            if at.as_os_str().is_empty() {
                return self.one(at);
            }
        }
        Err(Error::new(ErrorKind::Invalid, format!("{}: links in a circle", path.display())))
    }

    /// Walks what was selected, directories before what is in them, names in order.
    pub(super) fn walk(
        &self,
        selected: &Selected,
        exclude: &Ignore,
        visit: &mut dyn FnMut(&Visit<'_>) -> Result<()>,
    ) -> Result<()> {
        let text = selected.path.to_string_lossy().into_owned();
        let above = text.match_indices('/').map(|(at, _)| at).chain([text.len()]);
        let decision = match text.is_empty() {
            true => Decision::default(),
            false => above.fold(Decision::default(), |above, end| self.ignore.decide(&text[..end], above)),
        };
        let mut walk = Walk { origin: self, exclude, visit };
        let place =
            Place { whole: text, below: PathBuf::new(), ignored: decision, excluded: Decision::default() };
        walk.enter(&selected.dir, &selected.name, &selected.stat, &place, &mut Vec::new())
            .wrap(|| selected.path.display().to_string())
    }
}

/// Where a walk is: in the origin, and below its beginning.
struct Place {
    whole: String,
    below: PathBuf,
    ignored: Decision,
    excluded: Decision,
}

struct Walk<'a> {
    origin: &'a Origin,
    exclude: &'a Ignore,
    visit: &'a mut dyn FnMut(&Visit<'_>) -> Result<()>,
}

/// A directory that is only visited if something in it is.
type Pending = (PathBuf, Dir, OsString, Stat);

impl Walk<'_> {
    fn enter(
        &mut self,
        dir: &Dir,
        name: &OsString,
        stat: &Stat,
        place: &Place,
        pending: &mut Vec<Pending>,
    ) -> Result<()> {
        let left_out =
            self.origin.ignore.is_ignored(place.ignored) || self.exclude.is_ignored(place.excluded);
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return if left_out { Ok(()) } else { self.tell(dir, name, stat, place, pending) };
        }
        if left_out && !self.origin.ignore.takes_back() && !self.exclude.takes_back() {
            return Ok(());
        }
        let depth = pending.len();
        match left_out {
            true => pending.push((place.below.clone(), dir.try_clone()?, name.clone(), *stat)),
            false => self.tell(dir, name, stat, place, pending)?,
        }
        // The origin itself has no name.
        let here = if name == "." { dir.reopen()? } else { dir.open_dir(name)? };
        let mut names: Vec<OsString> = here.entries()?.into_iter().map(|entry| entry.name).collect();
        names.sort();
        for name in names {
            let Some(stat) = here.find(&name)? else { continue };
            self.enter(&here, &name, &stat, &self.below(place, &name), pending)?;
        }
        pending.truncate(depth);
        Ok(())
    }

    fn below(&self, place: &Place, name: &OsString) -> Place {
        let text = name.to_string_lossy();
        let whole =
            if place.whole.is_empty() { text.into_owned() } else { format!("{}/{text}", place.whole) };
        let below = place.below.join(name);
        let ignored = self.origin.ignore.decide(&whole, place.ignored);
        let excluded = match self.exclude.is_empty() {
            true => Decision::default(),
            false => self.exclude.decide(&below.to_string_lossy(), place.excluded),
        };
        Place { whole, below, ignored, excluded }
    }

    fn tell(
        &mut self,
        dir: &Dir,
        name: &OsString,
        stat: &Stat,
        place: &Place,
        pending: &mut Vec<Pending>,
    ) -> Result<()> {
        for (path, dir, name, stat) in pending.drain(..) {
            (self.visit)(&Visit { path: &path, dir: &dir, name: &name, stat: &stat })?;
        }
        (self.visit)(&Visit { path: &place.below, dir, name, stat })
    }
}

/// What files hash to.
#[derive(Clone)]
pub(super) struct Content(Hasher);

impl Content {
    pub(super) fn new() -> Self {
        Self(Hasher::new(Algorithm::Sha256))
    }

    /// Anything that is not a file.
    pub(super) fn add(&mut self, text: &str) {
        self.field(text.as_bytes());
    }

    pub(super) fn file(&mut self, visit: &Visit<'_>, owners: Owners) -> Result<()> {
        let stat = visit.stat;
        let (uid, gid) = if owners == Owners::Root { (0, 0) } else { (stat.st_uid, stat.st_gid) };
        self.field(visit.path.as_os_str().as_bytes());
        self.field(format!("{:o} {uid} {gid}", stat.st_mode).as_bytes());
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let mut file = visit.dir.open_file(visit.name)?;
                let (mut hash, mut buffer) = (Hasher::new(Algorithm::Sha256), vec![0; 128 << 10]);
                loop {
                    match file.read(&mut buffer).wrap(|| visit.path.display().to_string())? {
                        0 => break,
                        length => hash.update(&buffer[..length]),
                    }
                }
                self.field(hash.finish().hex().as_bytes());
            }
            FileType::Symlink => self.field(visit.dir.read_link(visit.name)?.as_bytes()),
            _ => {}
        }
        Ok(())
    }

    fn field(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    pub(super) fn hex(self) -> String {
        self.0.finish().hex().to_owned()
    }
}

/// The names on the way, `.` and `..` resolved as in a root.
pub(super) fn normal(path: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part.to_owned()),
        }
    }
    parts
}
