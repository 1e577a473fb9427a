// SPDX-License-Identifier: Apache-2.0
//! Which files a source means: itself, or all that fit its wildcards, in the order of their names. What is ignored is not
//! there.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use conex_sys::path::{Dir, FileType, Stat};

use super::Origin;
use super::directory::find_directory;
use crate::glob::{Dialect, Glob};
use crate::{Error, ErrorKind, Result};

/// Links that lead to links, as the kernel counts them.
pub(super) const MAX_LINKS: usize = 40;

/// One of the paths that a source means, links followed.
#[derive(Debug)]
pub(crate) struct Selected {
    /// Relative to the origin, as it was written.
    pub(crate) path: PathBuf,
    /// The directory it lies in, and its name there.
    pub(super) dir: Dir,
    pub(super) name: OsString,
    pub(super) stat: Stat,
    /// Where it belongs below a target that is a directory: under its name, with `--parents` under its path from `/./` on;
    /// what is in a directory at the target itself.
    pub(super) place: PathBuf,
}

impl Selected {
    pub(crate) fn is_dir(&self) -> bool {
        FileType::from_raw_mode(self.stat.st_mode) == FileType::Directory
    }
}

impl Origin {
    /// The paths that a source means; it is an error if that is nothing, unless it has wildcards. With `parents`, `**`
    /// stands for directories in directories.
    pub(crate) fn select(&self, source: &str, parents: bool) -> Result<Vec<Selected>> {
        let normal = normal(source);
        // What stands before `/./` is not kept.
        let pivot = source.split_once("/./").map_or(0, |(before, _)| self::normal(before).len());
        let mut found = vec![PathBuf::new()];
        for component in &normal {
            found = match component.as_str() {
                "**" if parents => self.all_directories(found)?,
                name if Glob::is_pattern(name) => self.matching(&found, name)?,
                name => found.into_iter().map(|path| path.join(name)).collect(),
            };
        }
        let mut selected = Vec::new();
        for path in found {
            let text = path.to_string_lossy();
            if !text.is_empty() && !self.ignore.takes_back() && self.ignore.ignores(&text) {
                continue;
            }
            let Some(mut one) = self.one(path)? else { continue };
            one.place = match (parents, one.is_dir()) {
                (true, _) => one.path.iter().skip(pivot).collect(),
                (false, true) => PathBuf::new(),
                (false, false) => one.path.file_name().unwrap_or_default().into(),
            };
            selected.push(one);
        }
        if selected.is_empty() && !Glob::is_pattern(source) {
            let error = Error::new(ErrorKind::NotFound, format!("{source:?} is not there"));
            return Err(match self.ignore.ignores(&normal.join("/")) {
                true => error.with_hint("the ignore file leaves it out"),
                false => error.with_hint("sources are looked for in the context, and only there"),
            });
        }
        Ok(selected)
    }

    fn matching(&self, above: &[PathBuf], pattern: &str) -> Result<Vec<PathBuf>> {
        let glob = Glob::parse(pattern, Dialect::Path)
            .ok_or_else(|| Error::new(ErrorKind::Usage, format!("{pattern:?} is no pattern")))?;
        let mut found = Vec::new();
        for directory in above {
            let Some(dir) = find_directory(&self.root, directory)? else { continue };
            let names = dir.entries()?.into_iter().map(|entry| entry.name);
            let mut names: Vec<OsString> =
                names.filter(|name| name.to_str().is_some_and(|name| glob.matches(name))).collect();
            names.sort();
            found.extend(names.into_iter().map(|name| directory.join(name)));
        }
        Ok(found)
    }

    /// The directories, and all below them. Links are not followed, so there is an end.
    fn all_directories(&self, above: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        let mut left: Vec<PathBuf> = above.into_iter().rev().collect();
        while let Some(path) = left.pop() {
            let Some(dir) = find_directory(&self.root, &path)? else { continue };
            let mut below = Vec::new();
            for entry in dir.entries()? {
                if entry.kind == FileType::Directory {
                    below.push(path.join(&entry.name));
                }
            }
            below.sort_by(|a, b| b.cmp(a));
            left.extend(below);
            found.push(path);
        }
        Ok(found)
    }

    /// What is at a path, a link at its end followed inside the origin.
    fn one(&self, path: PathBuf) -> Result<Option<Selected>> {
        let mut at = path.clone();
        for _ in 0..MAX_LINKS {
            // The origin itself, or a link to what is above something.
            let Some(name) = at.file_name().map(ToOwned::to_owned) else {
                let Some(dir) = find_directory(&self.root, &at)? else { return Ok(None) };
                let stat = conex_sys::path::stat(&dir)?;
                return Ok(Some(Selected { path, dir, name: ".".into(), stat, place: PathBuf::new() }));
            };
            let above = at.parent().unwrap_or(Path::new("")).to_owned();
            let Some(dir) = find_directory(&self.root, &above)? else { return Ok(None) };
            let Some(stat) = dir.find(&name)? else { return Ok(None) };
            if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
                return Ok(Some(Selected { path, dir, name, stat, place: PathBuf::new() }));
            }
            // The directories above may be links: what `..` in there is, the kernel says.
            at = above.join(dir.read_link(&name)?);
        }
        Err(Error::new(ErrorKind::Invalid, format!("{}: links in a circle", path.display())))
    }
}

/// The names on the way, `.` and `..` resolved as in a root.
pub(crate) fn normal(path: &str) -> Vec<String> {
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
