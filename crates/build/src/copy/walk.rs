// SPDX-License-Identifier: Apache-2.0
//! The one walk over files that are taken: names in order, directories before what is in them, what is ignored or
//! excluded left out. It opens name by name in open directories, so no symlink leads out of the origin.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use conex_sys::path::{Dir, FileType, Stat};

use super::origin::Origin;
use super::select::Selected;
use crate::ignore::{Decision, Ignore};
use crate::{Error, ErrorKind, Result, Wrap as _};

/// Directories in directories; each is held open, and so is the one that it is copied to.
const MAX_DEPTH: usize = 256;

/// Something that a walk comes by.
pub(super) struct Visit<'a> {
    /// Relative to where the walk began; empty for that itself.
    pub(super) path: &'a Path,
    pub(super) dir: &'a Dir,
    pub(super) name: &'a OsStr,
    pub(super) stat: &'a Stat,
}

impl Visit<'_> {
    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

/// Who is told of what a walk comes by.
pub(super) trait Visitor {
    fn visit(&mut self, visit: &Visit<'_>) -> Result<()>;

    /// Everything in the innermost directory that was visited is done.
    fn leave(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Where a walk is: in the origin, and below its beginning.
struct Place {
    whole: String,
    below: PathBuf,
    depth: usize,
    ignored: Decision,
    excluded: Decision,
}

struct Walk<'a> {
    ignore: &'a Ignore,
    exclude: &'a Ignore,
    visitor: &'a mut dyn Visitor,
    /// Directories that are left out, and visited only if something in them is not.
    pending: Vec<(PathBuf, Dir, OsString, Stat)>,
}

/// A name in an open directory.
#[derive(Clone, Copy)]
struct Found<'a> {
    dir: &'a Dir,
    name: &'a OsStr,
    stat: &'a Stat,
}

impl Origin {
    /// Walks what was selected.
    pub(super) fn walk(
        &self,
        selected: &Selected,
        exclude: &Ignore,
        visitor: &mut dyn Visitor,
    ) -> Result<()> {
        let whole = selected.path.to_string_lossy().into_owned();
        let ends = whole.match_indices('/').map(|(at, _)| at).chain([whole.len()]);
        let ignored = match whole.is_empty() {
            true => Decision::default(),
            false => ends.fold(Decision::default(), |above, end| self.ignore.decide(&whole[..end], above)),
        };
        // Below a directory patterns are relative to it; a file has only its name.
        let excluded = match selected.is_dir() {
            true => Decision::default(),
            false => exclude.decide(&selected.name.to_string_lossy(), Decision::default()),
        };
        let place = Place { whole, below: PathBuf::new(), depth: 0, ignored, excluded };
        let found = Found { dir: &selected.dir, name: &selected.name, stat: &selected.stat };
        Walk { ignore: &self.ignore, exclude, visitor, pending: Vec::new() }
            .enter(found, &place)
            .wrap(|| selected.path.display().to_string())
    }
}

impl Walk<'_> {
    fn enter(&mut self, found: Found<'_>, place: &Place) -> Result<()> {
        let left_out = self.ignore.is_ignored(place.ignored) || self.exclude.is_ignored(place.excluded);
        if FileType::from_raw_mode(found.stat.st_mode) != FileType::Directory {
            return if left_out { Ok(()) } else { self.tell(found, place) };
        }
        if left_out && !self.ignore.takes_back() && !self.exclude.takes_back() {
            return Ok(());
        }
        if place.depth > MAX_DEPTH {
            let message = format!("{}: directories nested deeper than {MAX_DEPTH}", place.below.display());
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let pending = self.pending.len();
        match left_out {
            true => self.pending.push((
                place.below.clone(),
                found.dir.try_clone()?,
                found.name.to_owned(),
                *found.stat,
            )),
            false => self.tell(found, place)?,
        }
        self.entries(found, place)?;
        if self.pending.len() > pending {
            self.pending.truncate(pending);
            return Ok(());
        }
        self.visitor.leave()
    }

    fn entries(&mut self, found: Found<'_>, place: &Place) -> Result<()> {
        // The origin itself has no name.
        let dir = if found.name == "." { found.dir.reopen()? } else { found.dir.open_dir(found.name)? };
        let mut names: Vec<OsString> = dir.entries()?.into_iter().map(|entry| entry.name).collect();
        names.sort();
        for name in &names {
            // What is gone by now was not there.
            let Some(stat) = dir.find(name)? else { continue };
            self.enter(Found { dir: &dir, name, stat: &stat }, &self.below(place, name))?;
        }
        Ok(())
    }

    fn below(&self, place: &Place, name: &OsStr) -> Place {
        let text = name.to_string_lossy();
        let whole =
            if place.whole.is_empty() { text.into_owned() } else { format!("{}/{text}", place.whole) };
        let below = place.below.join(name);
        let ignored = match self.ignore.is_empty() {
            true => Decision::default(),
            false => self.ignore.decide(&whole, place.ignored),
        };
        let excluded = match self.exclude.is_empty() {
            true => Decision::default(),
            false => self.exclude.decide(&below.to_string_lossy(), place.excluded),
        };
        Place { whole, below, depth: place.depth + 1, ignored, excluded }
    }

    fn tell(&mut self, found: Found<'_>, place: &Place) -> Result<()> {
        for (path, dir, name, stat) in self.pending.drain(..) {
            self.visitor.visit(&Visit { path: &path, dir: &dir, name: &name, stat: &stat })?;
        }
        let Found { dir, name, stat } = found;
        self.visitor.visit(&Visit { path: &place.below, dir, name, stat })
    }
}
