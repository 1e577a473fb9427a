// SPDX-License-Identifier: Apache-2.0
//! A layout that is changed in place: new blobs come in, names move.
//!
//! ```text
//!  blobs first (each by rename) ──► one replacement of index.json
//! ```
//! Until the last step nothing leads to what is new, so a process that is killed leaves the layout as it was, with
//! blobs that [`super::gc`] removes. Whoever changes the layout holds a shared lock on its directory; gc wants it alone.

use std::fs::File;
use std::path::Path;

use conex_spec::Algorithm;
use conex_spec::image::Descriptor;
use conex_spec::image::annotation::{CONTAINERD_IMAGE_NAME, REF_NAME};
use conex_sys::path::Dir;

use super::blob::Blobs;
use super::port::INGEST;
use super::{files, index};
use crate::transfer::{Silent, Source};
use crate::verify::sha256;
use crate::{Error, ErrorKind, Result, Wrap, host};

/// An open layout.
#[derive(Debug)]
pub struct Layout {
    pub(super) dir: Dir,
    pub(crate) blobs: Blobs,
    in_use: File,
}

impl Layout {
    /// Makes a layout of nothing. Of kind `Exists` where there is something of that name.
    pub fn init(path: &Path) -> Result<()> {
        let make = || {
            let (parent, name) = host::parent(path)?;
            if parent.find(&name)?.is_some() {
                return Err(Error::new(ErrorKind::Exists, "path already exists"));
            }
            // Gets its name when it is whole.
            let temporary = files::temporary_name();
            parent.make_dir(&temporary, 0o755)?;
            let dir = parent.open_dir(&temporary)?;
            index::create(&dir)?;
            files::subdirectory(
                &files::subdirectory(&dir, "blobs", 0o755)?,
                Algorithm::Sha256.name(),
                0o755,
            )?;
            let named = parent.rename_new(&temporary, &parent, &name);
            if named.is_err() {
                // The failure is what to tell.
                let _ = parent.remove_all(&temporary);
            }
            named?;
            Ok(parent.sync()?)
        };
        make().wrap(|| format!("make the layout {}", path.display()))
    }

    /// Opens a layout that is there.
    pub fn open(path: &Path) -> Result<Self> {
        let open = || {
            let dir = Dir::open_host(path)?;
            index::check_marker(&dir)?;
            let in_use = dir.reopen()?.into_file();
            in_use.lock_shared().wrap(|| "lock the layout")?;
            let blobs = files::subdirectory(&dir, "blobs", 0o755)?;
            let blobs = Blobs::new(blobs, files::subdirectory(&dir, INGEST, 0o700)?, 0o755);
            Ok(Self { dir, blobs, in_use })
        };
        open().map_err(|error: Error| error.wrap(format!("layout {}", path.display())))
    }

    /// The lock, for whoever wants the layout alone: of kind `Busy` while another process changes it.
    pub(super) fn alone(&self) -> Result<()> {
        self.in_use
            .try_lock()
            .map_err(|error| Error::new(ErrorKind::Busy, format!("the layout is in use: {error}")))
    }

    /// Stores a document.
    pub(crate) fn put(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor> {
        let digest = sha256(bytes);
        self.blobs.put(&digest, bytes)?;
        Ok(Descriptor::new(media_type, digest, bytes.len() as u64))
    }

    /// Takes a blob over from another place, verified. One that is there stays.
    pub fn take(&self, blob: &Descriptor, from: &dyn Source) -> Result<()> {
        match self.blobs.size(&blob.digest)? {
            Some(_) => Ok(()),
            None => self.blobs.copy(blob, from, &Silent),
        }
    }

    /// The bytes of an index: a blob, or index.json itself where that is the list of one image's platforms.
    pub(crate) fn index_bytes(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        if self.blobs.size(&descriptor.digest)?.is_some() {
            return self.blobs.read(descriptor);
        }
        crate::verify::read_small(self.dir.open_file(index::INDEX)?, descriptor).wrap(|| index::INDEX)
    }

    /// Lets `name` mean this image and nothing else.
    pub fn set_name(&self, name: &str, image: &Descriptor) -> Result<()> {
        check_name(name)?;
        let mut entry = image.clone();
        // Another name that the image came under.
        entry.annotations.remove(CONTAINERD_IMAGE_NAME);
        entry.annotations.insert(REF_NAME.to_owned(), name.to_owned());
        index::update(&self.dir, |index| {
            index.manifests.retain(|old| !index::is_named(old, name));
            index.manifests.push(entry);
            Ok(())
        })
    }

    /// Gives the image that is called `old` another name besides.
    pub fn tag(&self, old: &str, new: &str) -> Result<()> {
        let index = index::read(&self.dir)?;
        match super::pick_entry(&index, Some(old))? {
            Some(entry) => self.set_name(new, entry),
            None => Err(Error::new(ErrorKind::NotFound, format!("no image is called {old:?}"))),
        }
    }

    /// Takes a name away, and says whether there was one. What it meant stays until [`super::gc`].
    pub fn remove(&self, name: &str) -> Result<bool> {
        index::update(&self.dir, |index| {
            let before = index.manifests.len();
            index.manifests.retain(|entry| !index::is_named(entry, name));
            Ok(index.manifests.len() < before)
        })
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        super::port::leave(&self.dir, &self.in_use);
    }
}

/// What a name may look like (image-spec annotations.md, `org.opencontainers.image.ref.name`).
pub fn check_name(name: &str) -> Result<()> {
    let component = |part: &str| {
        let alphanumeric = |at: usize| part.as_bytes().get(at).is_some_and(u8::is_ascii_alphanumeric);
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:@+".contains(&byte);
        alphanumeric(0) && alphanumeric(part.len() - 1) && part.bytes().all(known)
    };
    if name.split('/').all(component) {
        return Ok(());
    }
    let message = format!("{name:?} is no name for an image: letters and digits, divided by - . _ : @ + /");
    Err(Error::new(ErrorKind::Usage, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::names;

    #[test]
    fn names_move_and_go() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("layout");
        Layout::init(&path).unwrap();
        assert_eq!(Layout::init(&path).unwrap_err().kind(), ErrorKind::Exists);
        let layout = Layout::open(&path).unwrap();
        let one = layout.put("application/octet-stream", b"1").unwrap();
        let two = layout.put("application/octet-stream", b"2").unwrap();
        layout.set_name("a", &one).unwrap();
        layout.tag("a", "b").unwrap();
        layout.set_name("a", &two).unwrap();
        assert!(!layout.remove("c").unwrap());
        assert_eq!(layout.tag("c", "d").unwrap_err().kind(), ErrorKind::NotFound);
        let digests = || -> Vec<_> { names(&path).unwrap().into_iter().map(|(_, d)| d.digest).collect() };
        assert_eq!(digests(), [one.digest, two.digest.clone()]);
        assert!(layout.remove("b").unwrap());
        assert_eq!(digests(), [two.digest]);
        drop(layout);
        assert!(!path.join(INGEST).exists());
    }

    #[test]
    fn only_names_of_the_grammar_are_given() {
        for good in ["a", "1.0", "docker.io/library/alpine:3", "a--b", "v1+x@y"] {
            check_name(good).unwrap();
        }
        for bad in ["", "a/", "/a", ".a", "a b", "a\n", "ä", "a:"] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
