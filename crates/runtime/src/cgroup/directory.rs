// SPDX-License-Identifier: Apache-2.0
//! One directory of one hierarchy: making it, writing to its files, waiting for it to empty, removing it.

use std::fs;
use std::io::{ErrorKind as IoKind, Read, Seek, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use conex_sys::Errno;
use conex_sys::file::{self, Access};
use conex_sys::path::{self, Dir, FileType};
use conex_sys::poll::{Events, poll};

use super::threaded;
use crate::{Error, ErrorKind, Result, Wrap};

/// How long the last process of a killed container may take to leave. More is a stuck kernel, not patience.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The answers to someone without the right, or on a read-only mount.
pub(super) fn is_refusal(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::ACCESS | Errno::PERM | Errno::ROFS))
}

/// Writes one value with one write(2): the kernel parses each call on its own.
pub(super) fn write(directory: &str, file: &str, value: &str) -> Result<()> {
    let path = format!("{directory}/{file}");
    file::open(Path::new(&path), Access::Write)
        .and_then(|mut opened| opened.write_all(value.as_bytes()))
        .wrap(|| format!("write {value:?} to {path}"))
}

/// Writes values one by one into the same open file.
pub(super) fn write_lines(directory: &str, file: &str, lines: &[String]) -> Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let path = format!("{directory}/{file}");
    let mut opened =
        file::open(Path::new(&path), Access::Write).wrap(|| format!("open {path} for writing"))?;
    lines
        .iter()
        .try_for_each(|line| opened.write_all(line.as_bytes()).wrap(|| format!("write {line:?} to {path}")))
}

pub(super) fn read(directory: &str, file: &str) -> Result<String> {
    let path = format!("{directory}/{file}");
    file::read_text(Path::new(&path)).wrap(|| format!("read {path}"))
}

/// As [`read`], of a file that is one short value.
pub(super) fn read_value(directory: &str, file: &str) -> Result<String> {
    let path = format!("{directory}/{file}");
    let value = file::read_record(Path::new(&path)).wrap(|| format!("read {path}"))?;
    Ok(String::from_utf8_lossy(&value).trim().to_owned())
}

/// For a file that is watched, or handed to the kernel.
pub(super) fn open(directory: &str, file: &str) -> Result<fs::File> {
    let path = format!("{directory}/{file}");
    file::open(Path::new(&path), Access::Read).wrap(|| format!("open {path}"))
}

/// What is in a directory. In one that is gone nothing is.
pub(super) fn names(directory: &str) -> Result<Vec<String>> {
    match fs::read_dir(directory) {
        Ok(entries) => {
            Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
        }
        Err(error) if is_gone(&error) => Ok(Vec::new()),
        Err(error) => Err(Error::from(error).wrap(format_args!("list {directory}"))),
    }
}

pub(super) fn has(directory: &str, file: &str) -> bool {
    Path::new(directory).join(file).exists()
}

/// True if the directory is new.
pub(super) fn make(directory: &str) -> Result<bool> {
    match fs::create_dir(directory) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == IoKind::AlreadyExists => Ok(false),
        Err(error) => Err(Error::from(error).wrap(format_args!("mkdir {directory}"))),
    }
}

/// What a directory has that was made on the way to a container's. For root alone, or where those are not to be had
/// (KERNEL(5.7), v2 only) the user's own.
const MARKS: [&str; 2] = ["trusted.conex.made", "user.conex.made"];

/// The last container below takes it away. Without a mark the one that made it does, or nobody.
pub(super) fn mark(directory: &str) {
    MARKS.iter().any(|name| path::set_host_xattr(Path::new(directory), name, b"1").is_ok());
}

/// Whether the directory above is marked.
pub(super) fn is_below_marked(directory: &str) -> bool {
    let parent = Path::new(directory).parent();
    parent.is_some_and(|parent| MARKS.iter().any(|name| path::has_host_xattr(parent, name)))
}

/// Removes the marked ones above, as far as nobody uses them.
pub(super) fn remove_marked_above(mut directory: &str) {
    while is_below_marked(directory)
        && let Some((parent, _)) = directory.rsplit_once('/')
        && fs::remove_dir(parent).is_ok()
    {
        directory = parent;
    }
}

/// The processes of a directory and of all below it. A directory that is gone has none.
pub(super) fn processes(directory: &str) -> Result<Vec<i32>> {
    let mut found = Vec::new();
    for directory in tree(Path::new(directory))? {
        match file::read_text(&directory.join("cgroup.procs")) {
            Ok(text) => found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok())),
            Err(error) if is_gone(&error) => {}
            Err(error) if error.kind() == IoKind::Unsupported => {
                let threads = fs::read_to_string(directory.join("cgroup.threads")).unwrap_or_default();
                found.extend(threaded::processes(&threads));
            }
            Err(error) => {
                return Err(
                    Error::from(error).wrap(format_args!("read {}/cgroup.procs", directory.display()))
                );
            }
        }
    }
    Ok(found)
}

/// Removes a directory and all below it, once they are empty.
pub(super) fn remove(directory: &str) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match remove_now(directory) {
            Ok(()) => return Ok(()),
            Err(error) if error.raw_os_error() == Some(Errno::BUSY.raw_os_error()) => {
                if Instant::now() >= deadline {
                    let count = processes(directory)?.len();
                    return Err(Error::new(
                        ErrorKind::State,
                        format!("container's cgroup is not empty: {count} process(es) found in {directory}"),
                    ));
                }
                wait_for_change(directory, "populated 0", deadline)?;
            }
            Err(error) => return Err(Error::from(error).wrap(format_args!("rmdir {directory}"))),
        }
    }
}

fn remove_now(directory: &str) -> std::io::Result<()> {
    if remove_empty(directory).is_ok() {
        return Ok(());
    }
    let below = tree(Path::new(directory)).map_err(std::io::Error::other)?;
    below.iter().rev().try_for_each(remove_empty)
}

/// Removes a directory that nobody is in and nothing below. One that is gone already is no error.
pub(super) fn remove_empty(directory: impl AsRef<Path>) -> std::io::Result<()> {
    match fs::remove_dir(directory) {
        Err(error) if !is_gone(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Blocks until `cgroup.events` has a line; false if the deadline is over before. v1 has no such file and nothing to
/// wait on: there it sleeps for a moment.
pub(super) fn wait_for_change(directory: &str, wanted: &str, deadline: Instant) -> Result<bool> {
    let Ok(mut events) = fs::File::open(format!("{directory}/cgroup.events")) else {
        std::thread::sleep(Duration::from_millis(1));
        return Ok(false);
    };
    loop {
        let mut text = String::new();
        events
            .rewind()
            .and_then(|()| events.read_to_string(&mut text))
            .wrap(|| format!("read {directory}/cgroup.events"))?;
        let left = deadline.saturating_duration_since(Instant::now());
        let there = text.lines().any(|line| line == wanted);
        if there || left.is_zero() {
            return Ok(there);
        }
        poll(&[(events.as_fd(), Events::PRI)], Some(left))?;
    }
}

/// The directory itself first, then what is below it, parents before children.
fn tree(top: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![top.to_owned()];
    let mut next = 0;
    while let Some(directory) = found.get(next).cloned() {
        next += 1;
        let entries = match Dir::open_host(&directory).and_then(|directory| directory.entries()) {
            Err(error) if [Errno::NOENT, Errno::NODEV].contains(&error.errno()) => continue,
            entries => entries.wrap(|| format!("list {}", directory.display()))?,
        };
        let below = entries.into_iter().filter(|entry| entry.kind == FileType::Directory);
        found.extend(below.map(|entry| directory.join(entry.name)));
    }
    Ok(found)
}

/// ENODEV is what a read of a file answers whose cgroup was removed after it was opened.
pub(super) fn is_gone(error: &std::io::Error) -> bool {
    error.kind() == IoKind::NotFound || error.raw_os_error() == Some(Errno::NODEV.raw_os_error())
}
