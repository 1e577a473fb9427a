// SPDX-License-Identifier: Apache-2.0
//! What a walk comes by, put into a tree, and hashed on the way.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use conex_spec::Digest;
use conex_sys::Errno;
use conex_sys::path::{self, Dir, FileType, Root, Stat, Time, device_number};

use super::content::{self, Attributes, Content};
use super::directory::{find_directory, make, make_directory};
use super::select::Selected;
use super::walk::{Visit, Visitor};
use super::{CopyOptions, Origin, Owners, inside, unpack};
use crate::{Error, ErrorKind, Result, Wrap as _};

const BUFFER: usize = 1 << 20;

/// Where files go.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// In the tree.
    path: PathBuf,
    /// It is a directory even if it is not there yet.
    is_directory: bool,
}

impl Target {
    /// `several` sources need a directory, and so does what ends like one.
    pub(crate) fn of(path: &Path, several: bool) -> Self {
        let text = path.to_string_lossy();
        let says_so = ["/", "/.", "/.."].iter().any(|end| text.ends_with(end));
        Self { path: inside(path), is_directory: several || says_so }
    }
}

/// Puts files into a tree.
pub(crate) struct Copier<'a> {
    tree: &'a Root,
    target: Target,
    options: &'a CopyOptions,
    /// `--chown`, looked up.
    owner: Option<(u32, u32)>,
    scratch: &'a Path,
    content: Content,
    buffer: Vec<u8>,
}

impl<'a> Copier<'a> {
    /// `scratch` is a directory for archives, made and removed here.
    pub(crate) fn new(
        tree: &'a Root,
        target: Target,
        options: &'a CopyOptions,
        scratch: &'a Path,
    ) -> Result<Self> {
        let owner = options.chown.as_deref().map(|who| super::owner(who, tree)).transpose()?;
        let content = Content::new();
        Ok(Self { tree, target, options, owner, scratch, content, buffer: vec![0; BUFFER] })
    }

    /// From now on others, but for `--chown`.
    pub(crate) fn options(&mut self, options: &'a CopyOptions) {
        self.options = options;
    }

    /// All that `work` copies is said by a text.
    pub(crate) fn known_as(&mut self, text: &str, work: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.content.add(text);
        let content = self.content.clone();
        work(self)?;
        self.content = content;
        Ok(())
    }

    /// What was copied.
    pub(crate) fn finish(self) -> Content {
        self.content
    }

    /// A file, what is in a directory, or what is in an archive.
    pub(crate) fn path(&mut self, origin: &Origin, selected: &Selected) -> Result<()> {
        self.content.place(selected.place.as_os_str());
        if self.options.unpack && unpack::is_archive(selected)? {
            return self.archive(origin, selected);
        }
        let target = match selected.is_dir() {
            true => self.target.path.join(&selected.place),
            false => self.file_target(&selected.place)?,
        };
        self.put(origin, selected, target)
    }

    /// A file with this text.
    pub(crate) fn text(&mut self, name: &str, text: &str) -> Result<()> {
        let target = self.file_target(Path::new(name))?;
        let (uid, gid) = self.owner.unwrap_or((0, 0));
        let (dir, name) = self.room(&target)?;
        let mut file = dir.create_file(&name, 0o600)?;
        file.write_all(text.as_bytes()).wrap(|| format!("write /{}", target.display()))?;
        path::chown(&file, uid, gid)?;
        let mode = self.options.chmod.as_ref().map_or(0o644, |chmod| chmod.apply(0o644, false));
        Ok(path::chmod(&file, mode)?)
    }

    /// What is in an archive keeps its owners.
    fn archive(&mut self, origin: &Origin, selected: &Selected) -> Result<()> {
        let visit =
            Visit { path: Path::new(""), dir: &selected.dir, name: &selected.name, stat: &selected.stat };
        let file = content::open(&visit)?;
        let attributes = content::attributes(&file)?;
        let digest = unpack::extract(file, self.scratch)?;
        self.content.file(&visit, origin.owners, &attributes, Some(&digest))?;
        let inside = Origin::image(Root::open_host(self.scratch)?);
        let content = self.content.clone();
        for everything in inside.select("", false)? {
            self.put(&inside, &everything, self.target.path.clone())?;
        }
        // The archive's own bytes say all about what is in it.
        self.content = content;
        crate::container::remove_tree(self.scratch)
    }

    fn put(&mut self, origin: &Origin, selected: &Selected, target: PathBuf) -> Result<()> {
        let options = self.options;
        let mut putting =
            Putting { owners: origin.owners, copier: self, target, open: Vec::new(), links: HashMap::new() };
        origin.walk(selected, &options.exclude, &mut putting)
    }

    /// Into the target under a name, or as the target.
    fn file_target(&self, place: &Path) -> Result<PathBuf> {
        let into = self.target.is_directory || find_directory(self.tree, &self.target.path)?.is_some();
        // `--parents` has a path, even where the target is not there.
        let into = into || place.components().count() > 1;
        Ok(if into { self.target.path.join(place) } else { self.target.path.clone() })
    }

    /// The open directory for what is no directory, nothing of its name in it.
    fn room(&self, target: &Path) -> Result<(Dir, OsString)> {
        let Some(name) = target.file_name() else {
            return Err(Error::new(ErrorKind::Usage, "a file cannot take the place of /"));
        };
        let above = target.parent().unwrap_or(Path::new(""));
        let dir = make_directory(self.tree, above, self.owner.unwrap_or((0, 0)))?;
        make_room(&dir, name)?;
        Ok((dir, name.to_owned()))
    }
}

/// Copies one source.
struct Putting<'c, 'a> {
    copier: &'c mut Copier<'a>,
    owners: Owners,
    target: PathBuf,
    /// Directories of the tree that are written to, the innermost last.
    open: Vec<Open>,
    /// What is there already of files with several names, by device and inode.
    links: HashMap<(u64, u64), (PathBuf, Digest)>,
}

struct Open {
    dir: Dir,
    /// What it is to be like once everything is in it.
    like: Option<(Stat, Attributes)>,
}

impl Visitor for Putting<'_, '_> {
    fn visit(&mut self, visit: &Visit<'_>) -> Result<()> {
        let target = self.target.join(visit.path);
        let put = match visit.kind() {
            FileType::Directory => self.directory(visit, &target),
            FileType::RegularFile => self.file(visit, &target),
            // Nobody listens in an image.
            FileType::Socket | FileType::Unknown => Ok(()),
            _ => self.special(visit, &target),
        };
        put.wrap(|| format!("copy to /{}", target.display()))
    }

    fn leave(&mut self) -> Result<()> {
        match self.open.pop() {
            Some(Open { dir, like: Some((stat, attributes)) }) => self.finish(&dir, &stat, &attributes),
            _ => Ok(()),
        }
    }
}

impl Putting<'_, '_> {
    fn directory(&mut self, visit: &Visit<'_>, target: &Path) -> Result<()> {
        let attributes = content::attributes(&content::open_dir(visit)?)?;
        self.copier.content.file(visit, self.owners, &attributes, None)?;
        let name = target.file_name().unwrap_or_default();
        let there = match self.open.last() {
            Some(above) => above.dir.find(name)?.map(|stat| FileType::from_raw_mode(stat.st_mode)),
            None => None,
        };
        let (dir, new) = match (self.open.last(), there) {
            (Some(above), None) => (make(&above.dir, name)?, true),
            (Some(above), Some(FileType::Directory)) => (above.dir.open_dir(name)?, false),
            // A link to a directory is followed, inside of the tree.
            _ => {
                let new = find_directory(self.copier.tree, target)?.is_none();
                let owner = self.copier.owner.unwrap_or((0, 0));
                (make_directory(self.copier.tree, target, owner)?, new)
            }
        };
        // The target itself stays what it is, if it was there.
        let like = (new || !visit.path.as_os_str().is_empty()).then_some((*visit.stat, attributes));
        self.open.push(Open { dir, like });
        Ok(())
    }

    fn file(&mut self, visit: &Visit<'_>, target: &Path) -> Result<()> {
        let mut source = content::open(visit)?;
        let attributes = content::attributes(&source)?;
        let (dir, name) = self.room(target)?;
        let inode = (visit.stat.st_dev, visit.stat.st_ino);
        if let Some((first, digest)) = self.links.get(&inode) {
            self.copier.content.file(visit, self.owners, &attributes, Some(digest))?;
            let (first_dir, first_name) = self.copier.tree.parent(first)?;
            return Ok(dir.make_link(&first_dir, &first_name, &name)?);
        }
        let mut file = dir.create_file(&name, 0o600)?;
        let digest = content::digest(&mut source, &mut self.copier.buffer, &mut |bytes| {
            file.write_all(bytes).wrap(|| "write")
        })?;
        self.copier.content.file(visit, self.owners, &attributes, Some(&digest))?;
        self.finish(&file, visit.stat, &attributes)?;
        if visit.stat.st_nlink > 1 {
            self.links.insert(inode, (target.to_owned(), digest));
        }
        Ok(())
    }

    /// A link, a pipe or a device.
    fn special(&mut self, visit: &Visit<'_>, target: &Path) -> Result<()> {
        self.copier.content.file(visit, self.owners, &Attributes::new(), None)?;
        let (dir, name) = self.room(target)?;
        let kind = visit.kind();
        match kind {
            FileType::Symlink => dir.make_symlink(&visit.dir.read_link(visit.name)?, &name)?,
            _ => {
                let (major, minor) = device_number(visit.stat);
                dir.make_node(&name, kind, 0o600, major, minor)?;
            }
        }
        let (uid, gid) = self.owner_of(visit.stat);
        dir.chown(&name, uid, gid)?;
        if kind != FileType::Symlink {
            dir.chmod(&name, self.mode(visit.stat))?;
        }
        let (accessed, modified) = times(visit.stat);
        Ok(dir.set_times(&name, accessed, modified)?)
    }

    /// The open directory for what is no directory, nothing of its name in it.
    fn room(&self, target: &Path) -> Result<(Dir, OsString)> {
        match (self.open.last(), target.file_name()) {
            (Some(above), Some(name)) => {
                make_room(&above.dir, name)?;
                Ok((above.dir.try_clone()?, name.to_owned()))
            }
            _ => self.copier.room(target),
        }
    }

    /// Owner first: a change of it takes set-user-id bits and capabilities away.
    fn finish(&self, to: impl std::os::fd::AsFd, stat: &Stat, attributes: &Attributes) -> Result<()> {
        let (uid, gid) = self.owner_of(stat);
        path::chown(&to, uid, gid)?;
        path::chmod(&to, self.mode(stat))?;
        for (name, value) in attributes {
            match path::set_xattr(&to, name, value) {
                // A file system, or a namespace, that has none of these.
                Err(error) if matches!(error.errno(), Errno::NOTSUP | Errno::PERM) => {}
                set => set?,
            }
        }
        let (accessed, modified) = times(stat);
        Ok(path::set_times(&to, accessed, modified)?)
    }

    fn owner_of(&self, stat: &Stat) -> (u32, u32) {
        self.copier.owner.unwrap_or_else(|| self.owners.of(stat))
    }

    fn mode(&self, stat: &Stat) -> u32 {
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let mode = stat.st_mode & 0o7777;
        self.copier.options.chmod.as_ref().map_or(mode, |wanted| wanted.apply(mode, is_directory))
    }
}

/// A file takes the place of another one, and never of a directory.
fn make_room(dir: &Dir, name: &OsStr) -> Result<()> {
    match dir.find(name)? {
        Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
            Err(Error::new(ErrorKind::Usage, format!("{} is a directory", name.display())))
        }
        Some(_) => Ok(dir.remove_file(name)?),
        None => Ok(()),
    }
}

fn times(stat: &Stat) -> (Time, Time) {
    let time = |sec, nsec: u64| Time { sec, nsec: u32::try_from(nsec).unwrap_or(0) };
    (time(stat.st_atime, stat.st_atime_nsec), time(stat.st_mtime, stat.st_mtime_nsec))
}
