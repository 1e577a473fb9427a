// SPDX-License-Identifier: Apache-2.0
//! Making what an entry describes. Metadata in the one order that works: owner (clears setuid and capabilities), mode,
//! extended attributes, times.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use conex_spec::Algorithm;
use conex_sys::Errno;
use conex_sys::path::FileType;

use super::resolve::file_type;
use super::{Attributes, Below, Entry, Form, Kind, Known, Parent, Tree, xattr};
use crate::layer::tar::Segment;
use crate::verify::Hasher;
use crate::{Error, ErrorKind, Result};

/// What goes into a regular file.
struct Content<'a, R> {
    size: u64,
    holes: Option<&'a [Segment]>,
    data: &'a mut R,
}

impl Tree {
    pub(super) fn create(
        &mut self,
        parent: &Arc<Parent>,
        name: &OsStr,
        entry: Entry,
        data: &mut impl BufRead,
    ) -> Result<()> {
        match &entry.kind {
            Kind::Directory => self.create_directory(parent, name, entry),
            Kind::File { size, holes } => {
                let content = Content { size: *size, holes: holes.as_deref(), data };
                self.create_file(parent, name, &entry, content)
            }
            Kind::Link { target } => self.create_link(parent, name, target),
            Kind::Symlink { target } => {
                self.retrying(parent, name, |_| parent.dir.make_symlink(target, name))?;
                self.describe(parent, name, &entry)
            }
            Kind::Char { major: 0, minor: 0 } if matches!(self.options.form, Form::Overlay { .. }) => {
                Err(Error::new(ErrorKind::Hostile, "a character device 0/0 would be a whiteout to overlayfs"))
            }
            Kind::Char { major, minor } => {
                self.create_node(parent, name, &entry, FileType::CharacterDevice, *major, *minor)
            }
            Kind::Block { major, minor } => {
                self.create_node(parent, name, &entry, FileType::BlockDevice, *major, *minor)
            }
            Kind::Fifo => self.create_node(parent, name, &entry, FileType::Fifo, 0, 0),
        }
    }

    /// Makes something new; if the name is taken, what has it goes first.
    fn retrying<T>(
        &mut self,
        parent: &Arc<Parent>,
        name: &OsStr,
        make: impl Fn(&Self) -> conex_sys::Result<T>,
    ) -> Result<T> {
        match make(self) {
            Err(error) if error.errno() == Errno::EXIST => {
                self.clear_way(parent, name)?;
                Ok(make(self)?)
            }
            other => Ok(other?),
        }
    }

    /// Removes what has this name, with everything below it.
    pub(super) fn clear_way(&mut self, parent: &Parent, name: &OsStr) -> Result<()> {
        parent.dir.remove_all(name)?;
        let path = parent.path_of(name);
        self.forget(&path);
        Ok(())
    }

    fn create_directory(&mut self, parent: &Arc<Parent>, name: &OsStr, entry: Entry) -> Result<()> {
        let path = parent.path_of(name);
        let attributes = Attributes::of(entry);
        let Some(old) = parent.dir.find(name)? else {
            return self.new_directory(parent, name, attributes, false).map(drop);
        };
        if file_type(&old) == FileType::Directory {
            return self.describe_later(path, attributes);
        }
        if let Some(real) = self.dirlink(&path, file_type(&old))? {
            return self.describe_later(real.path.clone(), attributes);
        }
        // What was hidden below the old entry stays hidden.
        self.clear_way(parent, name)?;
        self.new_directory(parent, name, attributes, true).map(drop)
    }

    /// With `keep_dirlinks`: the directory that a symlink of this name leads to.
    fn dirlink(&mut self, path: &Path, old: FileType) -> Result<Option<Arc<Parent>>> {
        let wanted = self.options.form == Form::Plain { keep_dirlinks: true };
        if !wanted || old != FileType::Symlink || self.root.open_dir(path).is_err() {
            return Ok(None);
        }
        self.directory(path).map(Some)
    }

    fn create_file(
        &mut self,
        parent: &Arc<Parent>,
        name: &OsStr,
        entry: &Entry,
        content: Content<'_, impl BufRead>,
    ) -> Result<()> {
        let mut file = self.new_file(parent, name, entry)?;
        let mut digest = None;
        match content.holes {
            Some(segments) => write_segments(&file, content.size, segments, content.data)?,
            None if self.options.digests => {
                let mut hasher = Hasher::new(Algorithm::Sha256);
                write_all(&mut file, content.data, |bytes| hasher.update(bytes))?;
                digest = Some(hasher.finish());
            }
            None => write_all(&mut file, content.data, |_| {})?,
        }
        self.describe_open(&file, entry)?;
        if let Some(digest) = digest {
            let bare = !self.has_xattrs(entry) && !self.labels(&file)?;
            self.known.insert(parent.path_of(name), Known { digest, bare });
        }
        Ok(())
    }

    /// An empty file, of which nothing is known.
    fn new_file(&mut self, parent: &Arc<Parent>, name: &OsStr, entry: &Entry) -> Result<File> {
        if self.options.digests {
            self.known.remove(&parent.path_of(name));
        }
        let mode = if self.is_made_with_mode(entry) { entry.mode } else { 0o600 };
        self.retrying(parent, name, |_| parent.dir.create_file(name, mode))
    }

    /// Whether a file can be made with its mode from the start: the special bits would not survive being written to.
    fn is_made_with_mode(&self, entry: &Entry) -> bool {
        self.exact_modes && entry.mode & 0o7000 == 0
    }

    fn has_xattrs(&self, entry: &Entry) -> bool {
        xattr::to_disk(&entry.xattrs, &self.options, entry.uid, entry.gid).next().is_some()
    }

    /// Whether new files have extended attributes though none were set. Asked of the first one.
    fn labels(&mut self, file: &File) -> Result<bool> {
        if let Some(known) = self.labels {
            return Ok(known);
        }
        let labels = !conex_sys::path::list_xattrs(file)?.is_empty();
        self.labels = Some(labels);
        Ok(labels)
    }

    /// Metadata of an open regular file.
    fn describe_open(&self, file: &File, entry: &Entry) -> Result<()> {
        if let Some((uid, gid)) = self.new_owner(entry)? {
            conex_sys::path::chown(file, uid, gid)?;
        }
        if !self.is_made_with_mode(entry) {
            conex_sys::path::chmod(file, entry.mode)?;
        }
        for xattr in xattr::to_disk(&entry.xattrs, &self.options, entry.uid, entry.gid) {
            let result = conex_sys::path::set_xattr(file, &xattr.name, &xattr.value);
            xattr::tolerate(result, &self.options)?;
        }
        Ok(conex_sys::path::set_times(file, entry.atime.unwrap_or(entry.mtime), entry.mtime)?)
    }

    /// Metadata of anything else that is not a directory.
    fn describe(&self, parent: &Parent, name: &OsStr, entry: &Entry) -> Result<()> {
        if let Some((uid, gid)) = self.new_owner(entry)? {
            parent.dir.chown(name, uid, gid)?;
        }
        let symlink = matches!(entry.kind, Kind::Symlink { .. });
        if !symlink {
            parent.dir.chmod(name, entry.mode)?;
        }
        for xattr in xattr::to_disk(&entry.xattrs, &self.options, entry.uid, entry.gid) {
            // No filesystem has `user.*` on symlinks and special files.
            if !xattr.name.starts_with(b"user.") {
                let result = parent.dir.set_xattr(name, &xattr.name, &xattr.value);
                xattr::tolerate(result, &self.options)?;
            }
        }
        Ok(parent.dir.set_times(name, entry.atime.unwrap_or(entry.mtime), entry.mtime)?)
    }

    /// The owner to set; `None` where it is the one that new files have.
    fn new_owner(&self, entry: &Entry) -> Result<Option<(u32, u32)>> {
        let owner = self.options.owner.on_disk(entry.uid, entry.gid)?;
        Ok(owner.filter(|owner| *owner != self.creator))
    }

    fn create_node(
        &mut self,
        parent: &Arc<Parent>,
        name: &OsStr,
        entry: &Entry,
        kind: FileType,
        major: u32,
        minor: u32,
    ) -> Result<()> {
        // Device numbers are 12 and 20 bits wide.
        if major >= 1 << 12 || minor >= 1 << 20 {
            return Err(Error::new(ErrorKind::Hostile, format!("no device has the number {major}:{minor}")));
        }
        if self.options.unprivileged && kind != FileType::Fifo {
            let file = self.new_file(parent, name, entry)?;
            return self.describe_open(&file, entry);
        }
        self.retrying(parent, name, |_| parent.dir.make_node(name, kind, 0o600, major, minor))?;
        self.describe(parent, name, entry)
    }

    /// A second name for what `target` names: in this tree, or in overlay form in a layer below.
    fn create_link(&mut self, parent: &Arc<Parent>, name: &OsStr, target: &Path) -> Result<()> {
        let Some(old_name) = target.file_name() else {
            return Err(Error::new(ErrorKind::Hostile, "a hard link to the root"));
        };
        let old_parent = self.directory(target.parent().unwrap_or(Path::new("")))?;
        let old_path = old_parent.path_of(old_name);
        if old_path == parent.path_of(name) {
            return Err(Error::new(ErrorKind::Hostile, "a hard link to itself"));
        }
        let found = old_parent.dir.find(old_name)?.filter(|_| !self.whiteouts.contains(&old_path));
        let Some(stat) = found else {
            return self.link_lower(parent, name, &old_parent, old_name);
        };
        if file_type(&stat) == FileType::Directory {
            return Err(Error::new(ErrorKind::Hostile, format!("a hard link to the directory {target:?}")));
        }
        self.retrying(parent, name, |_| parent.dir.make_link(&old_parent.dir, old_name, name))?;
        match self.known.get(&old_path).cloned() {
            Some(known) => self.known.insert(parent.path_of(name), known),
            None => self.known.remove(&parent.path_of(name)),
        };
        Ok(())
    }

    /// A link to a file of a lower layer. Both names come into this layer, so that the mount shows one file.
    fn link_lower(
        &mut self,
        parent: &Arc<Parent>,
        name: &OsStr,
        old_parent: &Arc<Parent>,
        old_name: &OsStr,
    ) -> Result<()> {
        let path = old_parent.path_of(old_name);
        let missing =
            || Error::new(ErrorKind::Hostile, format!("a hard link to {path:?}, which is not there"));
        if matches!(self.options.form, Form::Plain { .. }) || self.is_hidden(&old_parent.path) {
            return Err(missing());
        }
        let found = match &self.below {
            Below::Unknown => {
                self.applied.lower_links = true;
                return Ok(());
            }
            Below::Layers(stack) => stack.find(&path)?.ok_or_else(missing)?,
        };
        if file_type(&found.stat) == FileType::Directory {
            return Err(Error::new(ErrorKind::Hostile, format!("a hard link to the directory {path:?}")));
        }
        if !self.whiteouts.contains(&path) {
            old_parent.dir.make_link(&found.dir, &found.name, old_name)?;
        }
        self.retrying(parent, name, |_| parent.dir.make_link(&found.dir, &found.name, name))
    }
}

/// Writes all that `data` yields, straight from its buffer.
fn write_all(file: &mut File, data: &mut impl BufRead, mut seen: impl FnMut(&[u8])) -> Result<()> {
    loop {
        let bytes = data.fill_buf()?;
        if bytes.is_empty() {
            return Ok(());
        }
        seen(bytes);
        file.write_all(bytes)?;
        let len = bytes.len();
        data.consume(len);
    }
}

/// Writes the stored parts of a sparse file at their places.
fn write_segments(file: &File, size: u64, segments: &[Segment], data: &mut impl BufRead) -> Result<()> {
    file.set_len(size)?;
    for segment in segments {
        let (mut at, end) = (segment.offset, segment.offset + segment.len);
        while at < end {
            let bytes = data.fill_buf()?;
            if bytes.is_empty() {
                return Err(Error::invalid("the archive ends in the middle"));
            }
            let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(bytes.len());
            file.write_all_at(&bytes[..len], at)?;
            data.consume(len);
            at += len as u64;
        }
    }
    Ok(())
}
