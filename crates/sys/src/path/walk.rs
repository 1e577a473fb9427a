// SPDX-License-Identifier: Apache-2.0
//! Resolving a path inside a root without openat2: one component at a time on held file descriptors.
//!
//! The directories on the way down are kept open, so `..` returns to where we came from and cannot leave the root,
//! whatever is renamed meanwhile. A symlink is read through its own handle and its text is walked in its place; an
//! absolute one starts again at the root.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::{Errno, Result};

/// The kernel's own limit.
const MAX_SYMLINKS: usize = 40;

/// A step of the way.
enum Step {
    Root,
    Up,
    Down(OsString),
}

/// Opens what `path` leads to inside `root`, all symlinks followed.
pub(super) fn open(root: &impl AsFd, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let mut steps: VecDeque<Step> = steps(path.as_os_str()).collect();
    let mut trail: Vec<OwnedFd> = Vec::new();
    let mut symlinks = 0;
    while let Some(step) = steps.pop_front() {
        let name = match step {
            Step::Root => {
                trail.clear();
                continue;
            }
            Step::Up => {
                trail.pop();
                continue;
            }
            Step::Down(name) => name,
        };
        let here = trail.last().map_or(root.as_fd(), AsFd::as_fd);
        if let Some(target) = symlink(here, &name)? {
            symlinks += 1;
            if symlinks > MAX_SYMLINKS {
                return Err(Errno::LOOP);
            }
            for step in self::steps(&target).collect::<Vec<_>>().into_iter().rev() {
                steps.push_front(step);
            }
            continue;
        }
        let rest_is_here = steps.is_empty();
        if rest_is_here {
            let flags = flags | OFlags::NOFOLLOW;
            return rustix::fs::openat(here, &name, flags, Mode::empty());
        }
        let down = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let next = rustix::fs::openat(here, &name, down, Mode::empty())?;
        trail.push(directory(next)?);
    }
    let here = trail.last().map_or(root.as_fd(), AsFd::as_fd);
    rustix::fs::openat(here, ".", flags, Mode::empty())
}

fn steps(path: &OsStr) -> impl Iterator<Item = Step> {
    let trailing = path.as_bytes().ends_with(b"/");
    Path::new(path)
        .components()
        .filter_map(|component| match component {
            Component::RootDir => Some(Step::Root),
            Component::ParentDir => Some(Step::Up),
            Component::Normal(name) => Some(Step::Down(name.to_owned())),
            Component::CurDir | Component::Prefix(_) => None,
        })
        // "a/" must be a directory: one more step that is nowhere.
        .chain(trailing.then(|| Step::Down(OsString::from("."))))
}

/// The text of `name`, if it is a symlink.
fn symlink(here: impl AsFd, name: &OsStr) -> Result<Option<OsString>> {
    match rustix::fs::readlinkat(here, name, Vec::new()) {
        Ok(target) if target.as_bytes().is_empty() => Err(Errno::NOENT),
        Ok(target) => Ok(Some(OsString::from_vec(target.into_bytes()))),
        // Not a symlink.
        Err(Errno::INVAL) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn directory(fd: OwnedFd) -> Result<OwnedFd> {
    let stat = rustix::fs::statat(&fd, "", AtFlags::EMPTY_PATH)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Ok(fd),
        FileType::Symlink => Err(Errno::LOOP),
        _ => Err(Errno::NOTDIR),
    }
}
