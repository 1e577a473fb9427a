// SPDX-License-Identifier: Apache-2.0
//! Which files a source means: itself, or all that fit its wildcards, in the order of their names.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use conex_sys::path::{FileType, Root};

use super::inside;
use crate::glob::{Dialect, Glob};
use crate::{Error, ErrorKind, Result};

/// A source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// In the context, without detours.
    pub path: PathBuf,
    /// What it is, links followed.
    pub kind: FileType,
    /// What `--parents` keeps of the path: its directories, from the context or from `/./` on.
    pub kept: PathBuf,
}

/// Finds what a source means; an error where that is nothing.
pub fn select(context: &Root, source: &str) -> Result<Vec<Selected>> {
    let pivot = source.find("/./").map(|at| inside(Path::new(&source[..at])));
    let clean = inside(Path::new(source));
    let mut paths = vec![PathBuf::new()];
    for name in &clean {
        paths = match is_pattern(name) {
            true => widen(context, &paths, name)?,
            false => paths.into_iter().map(|path| path.join(name)).collect(),
        };
    }
    let wild = clean.iter().any(is_pattern);
    let mut selected = Vec::new();
    for path in paths {
        let Some(found) = context.find(&path)? else {
            if wild {
                continue;
            }
            return Err(missing("is not there"));
        };
        let kind = FileType::from_raw_mode(conex_sys::path::stat(&found)?.st_mode);
        let parents = path.parent().unwrap_or(Path::new("")).to_owned();
        let kept = match &pivot {
            Some(pivot) => parents.strip_prefix(pivot).map(Path::to_owned).unwrap_or(parents),
            None => parents,
        };
        selected.push(Selected { path, kind, kept });
    }
    if selected.is_empty() { Err(missing("fits no file")) } else { Ok(selected) }
}

fn missing(what: &str) -> Error {
    Error::new(ErrorKind::NotFound, what).with_hint("sources are looked for in the context, and only there")
}

fn is_pattern(name: &OsStr) -> bool {
    name.to_str().is_some_and(Glob::is_pattern)
}

/// What in these directories fits.
fn widen(context: &Root, directories: &[PathBuf], name: &OsStr) -> Result<Vec<PathBuf>> {
    let pattern = name.to_str().and_then(|name| Glob::parse(name, Dialect::Path));
    let pattern = pattern.ok_or_else(|| Error::new(ErrorKind::Usage, format!("{name:?} is no pattern")))?;
    let mut paths = Vec::new();
    for directory in directories {
        let Ok(Some(dir)) = context.find_dir(directory) else { continue };
        let entries = dir.entries()?.into_iter().map(|entry| entry.name);
        let fitting = entries.filter(|entry| entry.to_str().is_some_and(|entry| pattern.matches(entry)));
        paths.extend(fitting.map(|entry| directory.join(entry)));
    }
    paths.sort();
    Ok(paths)
}
