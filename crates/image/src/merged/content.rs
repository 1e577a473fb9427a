// SPDX-License-Identifier: Apache-2.0
//! What regular files hold, read from the layers again: all of them as one archive, or one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::vec;

use super::{Data, Merged, read_layer};
use crate::layer::tar::{Entry, Kind, Segment, Time, Writer};
use crate::transfer::Source;
use crate::{Error, ErrorKind, Image, Result, Wrap};

/// Holes of all files together, which an archive has to be filled with.
const MAX_HOLES: u64 = 64 << 30;

impl Merged {
    /// Writes the tree as one archive: first everything without content in the order of the paths, then regular files as the
    /// layers bring them, then second names. Holes are filled. Later times become `latest` (seconds since 1970).
    pub fn write<W: Write + Send>(
        &self,
        image: &Image,
        source: &dyn Source,
        output: W,
        latest: Option<i64>,
        reader: For,
    ) -> Result<W> {
        let mut writer = Writer::new(output);
        let described = |entry: &Entry, path: &Path| {
            let mtime = match latest {
                Some(latest) if entry.mtime >= (Time { sec: latest, nsec: 0 }) => {
                    Time { sec: latest, nsec: 0 }
                }
                _ => entry.mtime,
            };
            Entry { path: path.to_owned(), mtime, atime: None, ..entry.clone() }
        };
        let plan = self.plan()?;
        for path in &plan.plain {
            let inode = &self.inodes[self.names[*path]];
            writer.append_empty(&described(&inode.entry, path)).wrap(|| format!("{path:?}"))?;
        }
        for layer in 0..image.manifest.layers.len() {
            let mut member = 0;
            if !plan.layers.contains(&layer) {
                continue;
            }
            read_layer(image, source, layer, |entry, data| {
                member += 1;
                let Some(path) = plan.files.get(&(layer, member)) else { return Ok(()) };
                let mut content = Expanded::new(&entry, data);
                let whole = Entry { kind: Kind::file(content.size()), ..described(&entry, path) };
                writer.append(&whole, &mut content).wrap(|| format!("{path:?}"))
            })?;
        }
        for (path, first) in &plan.links {
            let target = Kind::Link { target: (*first).clone() };
            let entry = &self.inodes[self.names[*path]].entry;
            let link = Entry { kind: target, xattrs: Vec::new(), ..described(entry, path) };
            writer.append_empty(&link).wrap(|| format!("{path:?}"))?;
        }
        if reader == For::Tar {
            let disturbed = plan.files.values().chain(plan.links.keys()).filter_map(|path| path.parent());
            for path in disturbed.collect::<BTreeSet<_>>() {
                writer.append_empty(&described(&self.inodes[self.names[path]].entry, path))?;
            }
        }
        writer.finish()
    }

    fn plan(&self) -> Result<Plan<'_>> {
        let mut plan = Plan::default();
        let mut first: HashMap<usize, &PathBuf> = HashMap::new();
        let mut holes: u64 = 0;
        for (path, index) in &self.names {
            let inode = &self.inodes[*index];
            if let (Some(first), true) = (first.get(index), inode.entry.kind != Kind::Directory) {
                plan.links.insert(path, first);
                continue;
            }
            first.insert(*index, path);
            match (&inode.entry.kind, inode.place) {
                (Kind::File { size, holes: map }, Some(place)) => {
                    let stored =
                        map.as_ref().map_or(*size, |map| map.iter().map(|segment| segment.len).sum());
                    holes = holes.saturating_add(size.saturating_sub(stored));
                    plan.files.insert(place, path);
                    plan.layers.insert(place.0);
                }
                _ => plan.plain.push(path),
            }
        }
        if holes > MAX_HOLES {
            let message = format!("the image's files have more than {MAX_HOLES} bytes of holes in them");
            return Err(Error::new(ErrorKind::Hostile, message)
                .with_hint("unpack it instead: `conex bundle unpack` keeps holes"));
        }
        Ok(plan)
    }

    /// The layer, and the member of it, that is the regular file that a path leads to, through symlinks.
    pub fn find_file(&self, path: &Path) -> Result<(usize, u64)> {
        let missing = || Error::new(ErrorKind::NotFound, format!("the image has no file {}", path.display()));
        let real = self.resolve(path)?.ok_or_else(missing)?;
        let inode = self.at(&real).ok_or_else(missing)?;
        match (&inode.entry.kind, inode.place) {
            (Kind::File { .. }, Some(place)) => Ok(place),
            _ => Err(Error::new(ErrorKind::Usage, format!("{} is no regular file", path.display()))),
        }
    }

    /// Writes the regular file that a path leads to.
    pub fn write_file(
        &self,
        image: &Image,
        source: &dyn Source,
        path: &Path,
        output: &mut (dyn Write + Send),
    ) -> Result<()> {
        let (layer, wanted) = self.find_file(path)?;
        let mut member = 0;
        read_layer(image, source, layer, |entry, data| {
            member += 1;
            if member == wanted {
                io::copy(&mut Expanded::new(&entry, data), output).wrap(|| path.display().to_string())?;
            }
            Ok(())
        })
    }
}

/// Who is to read the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// Who applies it as a layer, and gives directories their times last.
    Layer,
    /// A program that gives a directory its time when it goes on to another one. Directories in which files were put later
    /// come again.
    Tar,
}

/// What is written, and when.
#[derive(Default)]
struct Plan<'a> {
    plain: Vec<&'a PathBuf>,
    files: HashMap<(usize, u64), &'a PathBuf>,
    layers: HashSet<usize>,
    links: BTreeMap<&'a PathBuf, &'a PathBuf>,
}

/// The content of a regular file, its holes filled.
pub(crate) struct Expanded<'a> {
    data: Data<'a>,
    segments: vec::IntoIter<Segment>,
    current: Segment,
    at: u64,
    size: u64,
}

impl<'a> Expanded<'a> {
    /// `data` yields what the archive stores of it.
    pub(crate) fn new(entry: &Entry, data: Data<'a>) -> Self {
        let Kind::File { size, holes } = &entry.kind else {
            return Self { data, segments: Vec::new().into_iter(), current: NOTHING, at: 0, size: 0 };
        };
        let whole = || vec![Segment { offset: 0, len: *size }];
        let segments = holes.clone().unwrap_or_else(whole).into_iter();
        Self { data, segments, current: NOTHING, at: 0, size: *size }
    }

    fn size(&self) -> u64 {
        self.size
    }
}

const NOTHING: Segment = Segment { offset: 0, len: 0 };

impl Read for Expanded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = |bytes: u64, buffer: &[u8]| usize::try_from(bytes).unwrap_or(usize::MAX).min(buffer.len());
        while self.at < self.size && self.current.offset + self.current.len <= self.at {
            match self.segments.next() {
                Some(next) => self.current = next,
                // A hole to the end.
                None => self.current = Segment { offset: self.size, len: 1 },
            }
        }
        if self.at >= self.size || buffer.is_empty() {
            return Ok(0);
        }
        let read = if self.at < self.current.offset {
            let len = len(self.current.offset.min(self.size) - self.at, buffer);
            buffer[..len].fill(0);
            len
        } else {
            let len = len(self.current.offset + self.current.len - self.at, buffer);
            match self.data.read(&mut buffer[..len])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                len => len,
            }
        };
        self.at += read as u64;
        Ok(read)
    }
}
