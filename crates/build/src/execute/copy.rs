// SPDX-License-Identifier: Apache-2.0
//! `COPY` and `ADD` into a tree: files of an origin, here-documents. All paths are resolved inside the tree.

use std::fs::{File, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use conex_image::bundle::{Rootfs, lookup_user};
use conex_sys::path::{self, Dir, FileType, Root, Stat, Time};

use super::files::{Origin, Owners, Selected, Visit};
use crate::chmod::Chmod;
use crate::copy::unpack as archive;
use crate::graph::{Copy, Source, Unpack};
use crate::ignore::Ignore;
use crate::{Error, ErrorKind, Result, Wrap as _};

/// Links that lead to links, as the kernel counts them.
const MAX_LINKS: usize = 40;

/// What files are like once they are there.
struct Look<'a> {
    owner: Option<(u32, u32)>,
    owners: Owners,
    chmod: Option<&'a Chmod>,
}

/// Does it. `origin` is there if a source is a path.
/// `scratch` is a directory for archives, made and removed here.
pub(super) fn copy(step: &Copy, origin: Option<&Origin>, merged: &Path, scratch: &Path) -> Result<()> {
    let root = Root::open_host(merged)?;
    let exclude = exclude(step)?;
    let owner = step.chown.as_deref().map(|who| owner(who, &root)).transpose()?;
    let owners = origin.map_or(Owners::Root, |origin| origin.owners);
    let look = Look { owner, owners, chmod: step.chmod.as_ref() };
    for source in &step.sources {
        match source {
            Source::Path(path) => {
                let origin =
                    origin.ok_or_else(|| Error::new(ErrorKind::Usage, format!("{path}: from nowhere")))?;
                for selected in origin.select(path)? {
                    if step.unpack != Unpack::Never && is_archive(origin, &selected)? {
                        unpack(&root, step, origin, &selected, &exclude, &look, scratch)?;
                        continue;
                    }
                    let target = target(&root, step, path, &selected)?;
                    origin.walk(&selected, &exclude, &mut |visit| place(&root, &target, visit, &look))?;
                }
            }
            Source::Inline { name, text } => write(&root, step, name, text, &look)?,
            Source::Url { url: address, .. } | Source::Git { remote: address, .. } => {
                let message = format!("ADD {address}: sources on other machines are not built in yet");
                return Err(Error::new(ErrorKind::Unsupported, message)
                    .with_hint("fetch it before the build, and copy it from the context"));
            }
        }
    }
    Ok(())
}

/// Whether `ADD` unpacks it.
fn is_archive(origin: &Origin, selected: &Selected) -> Result<bool> {
    if FileType::from_raw_mode(selected.stat.st_mode) != FileType::RegularFile {
        return Ok(false);
    }
    let mut head = Vec::new();
    selected.dir.open_file(&selected.name)?.take(8).read_to_end(&mut head)?;
    let foreign: [&[u8]; 2] = [b"BZh", b"\xfd7zXZ"];
    match foreign.iter().any(|magic| head.starts_with(magic)) {
        true => Err(not_unpacked(&selected.path)),
        false => archive::is_archive(&origin.root, &selected.path),
    }
}

/// To copy it would give another image than the file says.
fn not_unpacked(path: &Path) -> Error {
    let message = format!("ADD {}: archives by bzip2 and xz are not unpacked yet", path.display());
    Error::new(ErrorKind::Unsupported, message)
        .with_hint("copy it with ADD --unpack=false, or unpack it: RUN --mount=target=/ctx tar -xf /ctx/FILE")
}

/// Puts what is in an archive where `ADD` says, with its own owners unless `--chown` has others.
fn unpack(
    root: &Root,
    step: &Copy,
    origin: &Origin,
    selected: &Selected,
    exclude: &Ignore,
    look: &Look<'_>,
    scratch: &Path,
) -> Result<()> {
    archive::extract(&origin.root, &selected.path, scratch)?;
    let inside = Origin { root: Root::open_host(scratch)?, ignore: Ignore::default(), owners: Owners::Kept };
    let look = Look { owners: Owners::Kept, ..*look };
    let target = Path::new(step.destination.trim_matches('/'));
    for everything in inside.select("")? {
        inside.walk(&everything, exclude, &mut |visit| place(root, target, visit, &look))?;
    }
    crate::container::remove_tree(scratch)
}

pub(super) fn exclude(step: &Copy) -> Result<Ignore> {
    Ignore::of(step.exclude.iter().map(String::as_str))
        .map_err(|message| Error::new(ErrorKind::Usage, message))
}

/// `user[:group]`; a user without a group has the group of that number.
fn owner(who: &str, root: &Root) -> Result<(u32, u32)> {
    let user = lookup_user(who, root as &dyn Rootfs)?;
    let gid = if who.contains(':') || who.parse::<u32>().is_err() { user.gid } else { user.uid };
    Ok((user.uid, gid))
}

/// Where a selected path goes: into a directory under its name, or to the very destination.
fn target(root: &Root, step: &Copy, source: &str, selected: &Selected) -> Result<PathBuf> {
    let destination = Path::new(step.destination.trim_matches('/'));
    if step.parents {
        // What stands before `/./` is not kept.
        let pivot = source.split_once("/./").map_or(0, |(before, _)| super::files::normal(before).len());
        let kept: PathBuf = selected.path.iter().skip(pivot).collect();
        return Ok(destination.join(kept));
    }
    if selected.is_dir() {
        return Ok(destination.to_owned());
    }
    let into = step.destination.ends_with('/') || root.find_dir(destination)?.is_some();
    let name = selected.path.file_name().unwrap_or_default();
    Ok(if into { destination.join(name) } else { destination.to_owned() })
}

/// Puts one file, directory or link where it belongs.
fn place(root: &Root, target: &Path, visit: &Visit<'_>, look: &Look<'_>) -> Result<()> {
    let path = target.join(visit.path);
    let kind = FileType::from_raw_mode(visit.stat.st_mode);
    let put = || -> Result<()> {
        if kind == FileType::Directory {
            let is_there = root.find_dir(&path)?.is_some();
            let dir = directory(root, &path, look)?;
            // The destination itself keeps what it has.
            if !visit.path.as_os_str().is_empty() || !is_there {
                finish(&dir, visit.stat, look, true)?;
            }
            return Ok(());
        }
        let (parent, name) = parent(root, &path, look)?;
        make_room(&parent, &name)?;
        match kind {
            FileType::RegularFile => {
                let mut from = visit.dir.open_file(visit.name)?;
                let mut to = parent.create_file(&name, 0o600)?;
                std::io::copy(&mut from, &mut to)?;
                finish(&to, visit.stat, look, false)
            }
            FileType::Symlink => {
                parent.make_symlink(&visit.dir.read_link(visit.name)?, &name)?;
                let (uid, gid) = look.ids(visit.stat);
                parent.chown(&name, uid, gid)?;
                let (accessed, changed) = times(visit.stat);
                Ok(parent.set_times(&name, accessed, changed)?)
            }
            // Sockets, pipes and devices of a context are not files of an image.
            _ => Ok(()),
        }
    };
    put().wrap(|| format!("copy to /{}", path.display()))
}

impl Look<'_> {
    fn ids(&self, stat: &Stat) -> (u32, u32) {
        match (self.owner, self.owners) {
            (Some(owner), _) => owner,
            (None, Owners::Root) => (0, 0),
            (None, Owners::Kept) => (stat.st_uid, stat.st_gid),
        }
    }
}

/// Owner first: a change of it takes set-user-id bits away.
fn finish(to: impl std::os::fd::AsFd, stat: &Stat, look: &Look<'_>, is_directory: bool) -> Result<()> {
    let (uid, gid) = look.ids(stat);
    path::chown(&to, uid, gid)?;
    let mode = stat.st_mode & 0o7777;
    path::chmod(&to, look.chmod.map_or(mode, |chmod| chmod.apply(mode, is_directory)))?;
    let (accessed, changed) = times(stat);
    Ok(path::set_times(&to, accessed, changed)?)
}

fn times(stat: &Stat) -> (Time, Time) {
    let time = |sec, nsec: u64| Time { sec, nsec: u32::try_from(nsec).unwrap_or(0) };
    (time(stat.st_atime, stat.st_atime_nsec), time(stat.st_mtime, stat.st_mtime_nsec))
}

/// A here-document as a file.
fn write(root: &Root, step: &Copy, name: &str, text: &str, look: &Look<'_>) -> Result<()> {
    let destination = Path::new(step.destination.trim_matches('/'));
    let into = step.destination.ends_with('/') || root.find_dir(destination)?.is_some();
    let path = if into { destination.join(name) } else { destination.to_owned() };
    let (parent, name) = parent(root, &path, look)?;
    make_room(&parent, &name)?;
    let mut file: File = parent.create_file(&name, 0o600)?;
    file.write_all(text.as_bytes()).wrap(|| format!("write /{}", path.display()))?;
    let (uid, gid) = look.owner.unwrap_or((0, 0));
    path::chown(&file, uid, gid)?;
    let mode = look.chmod.map_or(0o644, |chmod| chmod.apply(0o644, false));
    file.set_permissions(Permissions::from_mode(mode)).wrap(|| format!("chmod /{}", path.display()))
}

/// The directory of a path, made where there is none.
fn parent(root: &Root, path: &Path, look: &Look<'_>) -> Result<(Dir, std::ffi::OsString)> {
    let Some(name) = path.file_name() else {
        return Err(Error::new(ErrorKind::Usage, "a file cannot take the place of /"));
    };
    Ok((directory(root, path.parent().unwrap_or(Path::new("")), look)?, name.to_owned()))
}

/// Makes a directory and those above it that are missing, each with the mode that it is asked for, whatever the umask.
pub(super) fn directory_of(root: &Root, path: &Path, owner: (u32, u32)) -> Result<Dir> {
    let mut missing = Vec::new();
    let mut at = path.to_owned();
    let mut links = 0;
    let mut here = loop {
        if let Some(found) = root.find_dir(&at)? {
            break found;
        }
        match dangling(root, &at)? {
            Some(_) if links == MAX_LINKS => {
                return Err(Error::new(ErrorKind::Invalid, format!("/{}: links in a circle", at.display())));
            }
            Some(target) => {
                links += 1;
                at = target;
            }
            None => {
                missing.push(at.file_name().unwrap_or_default().to_owned());
                at = at.parent().unwrap_or(Path::new("")).to_owned();
            }
        }
    };
    for name in missing.into_iter().rev() {
        here.make_dir(&name, 0o755)?;
        here = here.open_dir(&name)?;
        path::chown(&here, owner.0, owner.1)?;
        path::chmod(&here, 0o755)?;
    }
    Ok(here)
}

/// Where a link leads that leads to nothing yet: a path of the tree, like all that its links say.
fn dangling(root: &Root, path: &Path) -> Result<Option<PathBuf>> {
    let above = path.parent().unwrap_or(Path::new(""));
    let (Some(dir), Some(name)) = (root.find_dir(above)?, path.file_name()) else { return Ok(None) };
    match dir.find(name)? {
        Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
            let target = above.join(dir.read_link(name)?);
            Ok(Some(super::files::normal(&target.to_string_lossy()).iter().collect()))
        }
        _ => Ok(None),
    }
}

fn directory(root: &Root, path: &Path, look: &Look<'_>) -> Result<Dir> {
    directory_of(root, path, look.owner.unwrap_or((0, 0)))
}

/// A file takes the place of another one, and never of a directory.
fn make_room(parent: &Dir, name: &std::ffi::OsStr) -> Result<()> {
    match parent.find(name)? {
        Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
            Err(Error::new(ErrorKind::Usage, format!("{} is a directory", name.display())))
        }
        Some(_) => Ok(parent.remove_file(name)?),
        None => Ok(()),
    }
}

/// `WORKDIR`: whether there was anything to make.
pub(super) fn workdir(step: &crate::graph::Directory, merged: &Path) -> Result<bool> {
    let root = Root::open_host(merged)?;
    let path = Path::new(step.path.trim_matches('/'));
    if root.find_dir(path)?.is_some() {
        return Ok(false);
    }
    let owner = match step.user.as_str() {
        "" => (0, 0),
        who => {
            let user = lookup_user(who, &root as &dyn Rootfs)?;
            (user.uid, user.gid)
        }
    };
    directory_of(&root, path, owner).wrap(|| format!("WORKDIR {}", step.path))?;
    Ok(true)
}
