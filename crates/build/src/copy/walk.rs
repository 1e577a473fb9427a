// SPDX-License-Identifier: Apache-2.0
//! The copying itself, name by name in open directories, and the digest of what passes.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use conex_image::layer::tar::Time;
use conex_image::verify::Hasher;
use conex_spec::{Algorithm, Digest};
use conex_sys::Errno;
use conex_sys::path::{Dir, FileType, Root, Stat, device_number};

use super::{CopyOptions, Selected, inside};
use crate::{Error, ErrorKind, Result, Wrap as _};

/// Directories in directories; each holds two open.
const MAX_DEPTH: usize = 256;
const BUFFER: usize = 1 << 20;

/// Who owns what is copied.
#[derive(Clone, Copy)]
pub(super) enum Owner {
    /// Everything is this one's.
    Of(u32, u32),
    /// As it is.
    Kept,
}

/// A copy under way.
pub(super) struct Walk<'a> {
    tree: &'a Root,
    pub(super) owner: Owner,
    options: &'a CopyOptions,
    hasher: Hasher,
    buffer: Vec<u8>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(tree: &'a Root, (uid, gid): (u32, u32), options: &'a CopyOptions) -> Self {
        let hasher = Hasher::new(Algorithm::Sha256);
        Self { tree, owner: Owner::Of(uid, gid), options, hasher, buffer: vec![0; BUFFER] }
    }

    /// The digest of all that was copied.
    pub(super) fn finish(self) -> Digest {
        self.hasher.finish()
    }

    /// Copies a source: what is in a directory, or a file; links that lead there are followed.
    pub(super) fn source(
        &mut self,
        context: &Root,
        source: &Selected,
        target: &Path,
        into: bool,
    ) -> Result<()> {
        if source.kind == FileType::Directory {
            let from = context.open_dir(&source.path)?;
            let name = source.path.file_name().filter(|_| self.options.parents);
            let target = name.map_or_else(|| target.to_owned(), |name| target.join(name));
            return self.contents(&from, &source.path, &target, 0);
        }
        if self.is_excluded(&source.path) {
            return Ok(());
        }
        let name = source.path.file_name().unwrap_or(OsStr::new(""));
        let target = if into { target.join(name) } else { target.to_owned() };
        let target = inside(&target);
        let Some(target_name) = target.file_name() else {
            return Err(Error::new(ErrorKind::Usage, "the target is the root, and a file cannot be that"));
        };
        let to = self.directory(target.parent().unwrap_or(Path::new("")))?;
        // The link that was named is followed, in the context; what it leads to may be one name in an open directory.
        let (from, from_name) = followed(context, &source.path)?;
        self.name(&from, &from_name, &to, target_name, &source.path, &target, 0)
    }

    /// Copies what is in a directory to the directory at `target`.
    pub(super) fn contents(&mut self, from: &Dir, path: &Path, target: &Path, depth: usize) -> Result<()> {
        let target = inside(target);
        let new = self.tree.find_dir(&target).ok().flatten().is_none();
        let to = self.directory(&target)?;
        let stat = conex_sys::path::stat(from)?;
        if new && !target.as_os_str().is_empty() {
            self.describe_dir(&to, &stat)?;
        }
        self.note(&target, b'd', self.mode(&stat), b"");
        self.entries(from, path, &to, &target, depth)?;
        if new && !target.as_os_str().is_empty() {
            set_times(&to, &stat)?;
        }
        Ok(())
    }

    fn entries(&mut self, from: &Dir, path: &Path, to: &Dir, target: &Path, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("directories nested deeper than {MAX_DEPTH}"),
            ));
        }
        let mut entries = from.entries()?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        for entry in entries {
            let (path, target) = (path.join(&entry.name), target.join(&entry.name));
            if self.is_excluded(&path) {
                continue;
            }
            self.name(from, &entry.name, to, &entry.name, &path, &target, depth)
                .wrap(|| path.display().to_string())?;
        }
        Ok(())
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "two places, each a directory, a name and a path for messages"
    )]
    fn name(
        &mut self,
        from: &Dir,
        name: &OsStr,
        to: &Dir,
        to_name: &OsStr,
        path: &Path,
        target: &Path,
        depth: usize,
    ) -> Result<()> {
        let stat = from.stat(name)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        match kind {
            FileType::Directory => return self.subdirectory(from, name, to, to_name, path, target, depth),
            FileType::RegularFile => return self.file(from, name, to, to_name, target),
            FileType::Symlink => {
                let text = from.read_link(name)?;
                self.note(target, b'l', 0o777, text.as_bytes());
                clear(to, to_name)?;
                to.make_symlink(&text, to_name)?;
            }
            // Nobody listens in an image.
            FileType::Socket | FileType::Unknown => return Ok(()),
            FileType::Fifo | FileType::CharacterDevice | FileType::BlockDevice => {
                let (major, minor) = device_number(&stat);
                self.note(target, b'n', self.mode(&stat), format!("{kind:?} {major}:{minor}").as_bytes());
                clear(to, to_name)?;
                to.make_node(to_name, kind, 0o600, major, minor)?;
            }
        }
        let (uid, gid) = self.owner_of(&stat);
        to.chown(to_name, uid, gid)?;
        if kind != FileType::Symlink {
            to.chmod(to_name, self.mode(&stat))?;
        }
        let (accessed, modified) = times(&stat);
        Ok(to.set_times(to_name, accessed, modified)?)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "two places, each a directory, a name and a path for messages"
    )]
    fn subdirectory(
        &mut self,
        from: &Dir,
        name: &OsStr,
        to: &Dir,
        to_name: &OsStr,
        path: &Path,
        target: &Path,
        depth: usize,
    ) -> Result<()> {
        let below = from.open_dir(name)?;
        let stat = conex_sys::path::stat(&below)?;
        self.note(target, b'd', self.mode(&stat), b"");
        let there = to.find(to_name)?.map(|found| FileType::from_raw_mode(found.st_mode));
        // A link to a directory of the tree is followed, inside of it.
        let followed = match there {
            Some(FileType::Symlink) => self.tree.find_dir(target).ok().flatten(),
            _ => None,
        };
        let (into, new) = match (there, followed) {
            (_, Some(dir)) => (dir, false),
            (Some(FileType::Directory), _) => (to.open_dir(to_name)?, false),
            (taken, _) => {
                if taken.is_some() {
                    to.remove_file(to_name)?;
                }
                to.make_dir(to_name, 0o700)?;
                (to.open_dir(to_name)?, true)
            }
        };
        self.entries(&below, path, &into, target, depth + 1)?;
        if new {
            self.describe_dir(&into, &stat)?;
            copy_xattrs(&below, &into)?;
            set_times(&into, &stat)?;
        }
        Ok(())
    }

    fn file(&mut self, from: &Dir, name: &OsStr, to: &Dir, to_name: &OsStr, target: &Path) -> Result<()> {
        let mut source = from.open_file(name)?;
        let stat = conex_sys::path::stat(&source)?;
        // What was a regular file a moment ago may be something else now.
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::new(ErrorKind::Invalid, "was exchanged while it was read"));
        }
        clear(to, to_name)?;
        let mut file = to.create_file(to_name, 0o600)?;
        let content = self.data(&mut source, &mut file)?;
        self.note(target, b'f', self.mode(&stat), content.as_str().as_bytes());
        let (uid, gid) = self.owner_of(&stat);
        conex_sys::path::chown(&file, uid, gid)?;
        conex_sys::path::chmod(&file, self.mode(&stat))?;
        copy_xattrs(&source, &file)?;
        set_times(&file, &stat)
    }

    fn data(&mut self, source: &mut File, file: &mut File) -> Result<Digest> {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        loop {
            let len = source.read(&mut self.buffer).wrap(|| "read")?;
            if len == 0 {
                return Ok(hasher.finish());
            }
            hasher.update(&self.buffer[..len]);
            file.write_all(&self.buffer[..len]).wrap(|| "write")?;
        }
    }

    /// The directory of the tree, made with its parents where it is missing.
    fn directory(&self, path: &Path) -> Result<Dir> {
        Ok(self.tree.make_dir_all(path, 0o755)?)
    }

    fn describe_dir(&self, to: &Dir, stat: &Stat) -> Result<()> {
        let (uid, gid) = self.owner_of(stat);
        conex_sys::path::chown(to, uid, gid)?;
        Ok(conex_sys::path::chmod(to, self.mode(stat))?)
    }

    fn owner_of(&self, stat: &Stat) -> (u32, u32) {
        match self.owner {
            Owner::Of(uid, gid) => (uid, gid),
            Owner::Kept => (stat.st_uid, stat.st_gid),
        }
    }

    fn mode(&self, stat: &Stat) -> u32 {
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let mode = stat.st_mode & 0o7777;
        self.options.chmod.as_ref().map_or(mode, |wanted| wanted.apply(mode, is_directory))
    }

    fn is_excluded(&self, path: &Path) -> bool {
        !self.options.exclude.is_empty() && self.options.exclude.ignores(&path.to_string_lossy())
    }

    /// What an entry is, each part with its length, so that no two say the same.
    fn note(&mut self, path: &Path, kind: u8, mode: u32, content: &[u8]) {
        let owner = match self.owner {
            Owner::Of(uid, gid) => format!("{uid}:{gid}"),
            Owner::Kept => String::new(),
        };
        let path = path.as_os_str().as_bytes();
        let front = format!("{} {} {mode:o} {owner} {} ", path.len(), char::from(kind), content.len());
        for part in [front.as_bytes(), path, content] {
            self.hasher.update(part);
        }
    }
}

/// The directory and name of what a path leads to, links followed inside the root.
fn followed(root: &Root, path: &Path) -> Result<(Dir, std::ffi::OsString)> {
    let mut path = path.to_owned();
    for _ in 0..40 {
        let (dir, name) = root.parent(&path)?;
        if FileType::from_raw_mode(dir.stat(&name)?.st_mode) != FileType::Symlink {
            return Ok((dir, name));
        }
        let text = dir.read_link(&name)?;
        path = match Path::new(&text).is_absolute() {
            true => inside(Path::new(&text)),
            // The parents may have links: what lies above is the kernel's to say, so `..` stays in the path.
            false => path.parent().unwrap_or(Path::new("")).join(text),
        };
    }
    Err(Error::new(ErrorKind::Invalid, "symlinks in a circle"))
}

/// Makes room for what is not a directory.
fn clear(to: &Dir, name: &OsStr) -> Result<()> {
    match to.find(name)?.map(|found| FileType::from_raw_mode(found.st_mode)) {
        Some(FileType::Directory) => {
            Err(Error::new(ErrorKind::Usage, "there is a directory where the file is to go"))
        }
        Some(_) => Ok(to.remove_file(name)?),
        None => Ok(()),
    }
}

fn times(stat: &Stat) -> (Time, Time) {
    let time = |sec, nsec: u64| Time { sec, nsec: u32::try_from(nsec).unwrap_or(0) };
    (time(stat.st_atime, stat.st_atime_nsec), time(stat.st_mtime, stat.st_mtime_nsec))
}

fn set_times(to: impl std::os::fd::AsFd, stat: &Stat) -> Result<()> {
    let (accessed, modified) = times(stat);
    Ok(conex_sys::path::set_times(&to, accessed, modified)?)
}

/// What belongs to the file: not the host's labels, and nothing that overlayfs reads.
fn copy_xattrs(from: &impl std::os::fd::AsFd, to: &impl std::os::fd::AsFd) -> Result<()> {
    for name in conex_sys::path::list_xattrs(from)? {
        let wanted = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.")
            || name == b"security.capability";
        if !wanted {
            continue;
        }
        let value = conex_sys::path::get_xattr(from, &name)?;
        match conex_sys::path::set_xattr(to, &name, &value) {
            Err(error) if !matches!(error.errno(), Errno::NOTSUP | Errno::PERM) => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}
