// SPDX-License-Identifier: Apache-2.0
//! Whether two trees are the same: type, mode, owner, size, time, device number, link target, extended attributes,
//! content. Says the first difference.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use conex_sys::path::{Dir, FileType, Stat};

use crate::{Error, Result, Wrap};

/// Directories in directories; each holds two open.
const MAX_DEPTH: usize = 256;

/// What differs, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Path in both trees.
    pub path: PathBuf,
    /// What of it differs, as it is in the first and in the second tree.
    pub what: String,
}

/// Compares what is in two directories, and the directories themselves.
pub fn compare(a: &Dir, b: &Dir) -> Result<Option<Difference>> {
    let (sa, sb) = (conex_sys::path::stat(a)?, conex_sys::path::stat(b)?);
    let what = stats(&sa, &sb).or(match (open_xattrs(a)?, open_xattrs(b)?) {
        (xa, xb) if xa != xb => Some(format!("extended attributes {}, not {}", names(&xa), names(&xb))),
        _ => None,
    });
    match what {
        Some(what) => Ok(Some(Difference { path: PathBuf::new(), what })),
        None => directories(a, b, Path::new(""), 0),
    }
}

fn directories(a: &Dir, b: &Dir, path: &Path, depth: usize) -> Result<Option<Difference>> {
    if depth > MAX_DEPTH {
        return Err(Error::invalid(format!("{path:?}: directories nested deeper than {MAX_DEPTH}")));
    }
    let (mut left, mut right) = (a.entries()?, b.entries()?);
    left.sort_by(|a, b| a.name.cmp(&b.name));
    right.sort_by(|a, b| a.name.cmp(&b.name));
    let only = |name: &OsStr, which: &str| {
        Ok(Some(Difference { path: path.join(name), what: format!("is only in the {which} tree") }))
    };
    for (i, entry) in left.iter().enumerate() {
        match right.get(i) {
            Some(other) if other.name == entry.name => {}
            Some(other) if other.name < entry.name => return only(&other.name, "second"),
            _ => return only(&entry.name, "first"),
        }
        let here = path.join(&entry.name);
        let found = names_differ(a, b, &entry.name).wrap(|| format!("{here:?}"))?;
        if let Some(what) = found {
            return Ok(Some(Difference { path: here, what }));
        }
        let is_dir = FileType::from_raw_mode(a.stat(&entry.name)?.st_mode) == FileType::Directory;
        if is_dir
            && let Some(difference) =
                directories(&a.open_dir(&entry.name)?, &b.open_dir(&entry.name)?, &here, depth + 1)?
        {
            return Ok(Some(difference));
        }
    }
    match right.get(left.len()) {
        Some(extra) => only(&extra.name, "second"),
        None => Ok(None),
    }
}

/// What differs in one name of two directories.
fn names_differ(a: &Dir, b: &Dir, name: &OsStr) -> Result<Option<String>> {
    let (sa, sb) = (a.stat(name)?, b.stat(name)?);
    if let Some(what) = stats(&sa, &sb) {
        return Ok(Some(what));
    }
    let (xa, xb) = (xattrs(a, name)?, xattrs(b, name)?);
    if xa != xb {
        return Ok(Some(format!("extended attributes {}, not {}", names(&xa), names(&xb))));
    }
    match FileType::from_raw_mode(sa.st_mode) {
        FileType::Symlink if a.read_link(name)? != b.read_link(name)? => Ok(Some("link target".to_owned())),
        FileType::RegularFile if sa.st_ino == sb.st_ino && sa.st_dev == sb.st_dev => Ok(None),
        FileType::RegularFile if !same_content(a.open_file(name)?, b.open_file(name)?)? => {
            Ok(Some("content".to_owned()))
        }
        _ => Ok(None),
    }
}

fn stats(a: &Stat, b: &Stat) -> Option<String> {
    let kind = FileType::from_raw_mode(a.st_mode);
    let size = |stat: &Stat| if kind == FileType::Directory { 0 } else { stat.st_size };
    let time = |stat: &Stat| (stat.st_mtime, stat.st_mtime_nsec);
    if a.st_mode != b.st_mode {
        return Some(format!("mode {:o}, not {:o}", a.st_mode, b.st_mode));
    }
    if (a.st_uid, a.st_gid) != (b.st_uid, b.st_gid) {
        return Some(format!("owner {}:{}, not {}:{}", a.st_uid, a.st_gid, b.st_uid, b.st_gid));
    }
    if size(a) != size(b) {
        return Some(format!("size {}, not {}", a.st_size, b.st_size));
    }
    if a.st_rdev != b.st_rdev {
        return Some("device number".to_owned());
    }
    (time(a) != time(b)).then(|| format!("time {:?}, not {:?}", time(a), time(b)))
}

type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

fn xattrs(dir: &Dir, name: &OsStr) -> Result<Xattrs> {
    let mut list = dir.list_xattrs(name)?;
    list.sort();
    list.into_iter().map(|key| Ok((key.clone(), dir.get_xattr(name, &key)?))).collect()
}

fn open_xattrs(dir: &Dir) -> Result<Xattrs> {
    let mut list = conex_sys::path::list_xattrs(dir)?;
    list.sort();
    list.into_iter().map(|key| Ok((key.clone(), conex_sys::path::get_xattr(dir, &key)?))).collect()
}

fn names(xattrs: &Xattrs) -> String {
    let names: Vec<_> = xattrs.iter().map(|(name, _)| String::from_utf8_lossy(name)).collect();
    format!("[{}]", names.join(" "))
}

fn same_content(mut a: File, mut b: File) -> Result<bool> {
    let (mut left, mut right) = (vec![0; 128 << 10], vec![0; 128 << 10]);
    loop {
        let len = a.read(&mut left)?;
        if len == 0 {
            return Ok(b.read(&mut right)? == 0);
        }
        if b.read_exact(&mut right[..len]).is_err() || left[..len] != right[..len] {
            return Ok(false);
        }
    }
}
