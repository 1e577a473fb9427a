// SPDX-License-Identifier: Apache-2.0
//! A layout as [`Source`] and [`Sink`].

use std::fs::File;
use std::io::{Seek, SeekFrom};

use conex_spec::image::annotation::REF_NAME;
use conex_spec::image::{Descriptor, Index, media_type};
use conex_sys::path::Dir;

use super::blob::Blobs;
use super::{LayoutName, files, index};
use crate::transfer::{BlobReader, Form, Format, LayerForm, Progress, RawManifest, Sink, Source};
use crate::{Error, ErrorKind, Result, Wrap, manifest};

/// Where a sink receives blobs; gone when it is done.
pub(super) const INGEST: &str = ".ingest";

/// Reads one image of a layout.
#[derive(Debug)]
pub struct LayoutSource {
    name: LayoutName,
    dir: Dir,
    blobs: Blobs,
}

impl LayoutSource {
    /// Opens the layout. Without a reference it must hold exactly one image.
    pub fn open(name: &LayoutName) -> Result<Self> {
        let open = || {
            let dir = Dir::open_host(&name.path)?;
            index::check_marker(&dir)?;
            let blobs = dir.open_dir("blobs")?;
            // Nothing is received here.
            let blobs = Blobs::new(blobs.reopen()?, blobs, 0o755);
            Ok(Self { name: name.clone(), dir, blobs })
        };
        open().map_err(|error: Error| error.wrap(name.describe()))
    }

    /// index.json: its entries, and its bytes.
    pub fn index(&self) -> Result<(Vec<Descriptor>, Vec<u8>)> {
        let bytes = files::read(&self.dir.open_file(index::INDEX)?, manifest::MAX_MANIFEST)?;
        Ok((manifest::parse_index(&bytes).wrap(|| index::INDEX)?.manifests, bytes))
    }

    fn pick(&self) -> Result<RawManifest> {
        match pick_entry(&index::read(&self.dir)?, self.name.reference.as_deref())? {
            Some(chosen) => self.manifest(chosen),
            None => self.whole_index(),
        }
    }

    /// index.json itself, where it is the list of one image's platforms.
    fn whole_index(&self) -> Result<RawManifest> {
        let bytes = files::read(&self.dir.open_file(index::INDEX)?, manifest::MAX_MANIFEST)?;
        manifest::verified(bytes, media_type::OCI_INDEX, None)
    }
}

/// The entry of index.json that a reference means; `None` for index.json itself, where it is the list of one image's
/// platforms. Without a reference there must be one image.
pub(crate) fn pick_entry<'a>(index: &'a Index, reference: Option<&str>) -> Result<Option<&'a Descriptor>> {
    match reference {
        Some(reference) => match reference.strip_prefix('@') {
            Some(number) => nth(index, number).map(Some),
            None => named(index, reference).map(Some),
        },
        None => match &index.manifests[..] {
            [only] => Ok(Some(only)),
            [] => Err(Error::new(ErrorKind::NotFound, "holds no image")),
            many if is_flat(many) => Ok(None),
            many => Err(ambiguous(many)),
        },
    }
}

/// Several entries without a name, each for a platform.
fn is_flat(entries: &[Descriptor]) -> bool {
    entries.iter().all(|entry| entry.platform.is_some() && index::name_of(entry).is_none())
}

fn nth<'a>(index: &'a Index, number: &str) -> Result<&'a Descriptor> {
    let entry = number.parse::<usize>().ok().and_then(|n| index.manifests.get(n));
    entry.ok_or_else(|| {
        let message = format!("there is no entry @{number}; index.json has {}", index.manifests.len());
        Error::new(ErrorKind::NotFound, message)
    })
}

fn named<'a>(index: &'a Index, name: &str) -> Result<&'a Descriptor> {
    let mut hits = index.manifests.iter().filter(|entry| index::is_named(entry, name));
    let Some(first) = hits.next() else {
        let names: Vec<&str> = index.manifests.iter().filter_map(index::name_of).collect();
        let message = format!("no image is called {name:?}; there are {}", list(&names));
        return Err(Error::new(ErrorKind::NotFound, message));
    };
    if hits.any(|other| other.digest != first.digest) {
        return Err(Error::invalid(format!("several images are called {name:?}"))
            .with_hint("choose one by its place in index.json: oci:PATH:@0"));
    }
    Ok(first)
}

fn ambiguous(entries: &[Descriptor]) -> Error {
    let names: Vec<&str> = entries.iter().filter_map(index::name_of).collect();
    Error::new(ErrorKind::Usage, format!("holds {} images: {}", entries.len(), list(&names)))
        .with_hint("choose one: oci:PATH:REFERENCE")
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "none with a name".to_owned() } else { names.join(", ") }
}

impl Source for LayoutSource {
    fn resolve(&self) -> Result<RawManifest> {
        self.pick().map_err(|error| error.wrap(self.describe()))
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<RawManifest> {
        let bytes = self.blobs.read(descriptor)?;
        Ok(RawManifest { descriptor: descriptor.clone(), bytes })
    }

    fn open_blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobReader> {
        open_at(&self.blobs, descriptor, offset)
    }

    fn describe(&self) -> String {
        self.name.describe()
    }
}

pub(crate) fn open_at(blobs: &Blobs, descriptor: &Descriptor, offset: u64) -> Result<BlobReader> {
    let mut file = blobs.open(&descriptor.digest)?;
    file.seek(SeekFrom::Start(offset))?;
    Ok(BlobReader { reader: Box::new(file), offset })
}

/// Writes one image into a layout, which is made where there is none.
#[derive(Debug)]
pub struct LayoutSink {
    name: LayoutName,
    dir: Dir,
    blobs: Blobs,
    /// Keeps gc away as long as nothing leads to what is written.
    in_use: File,
}

impl LayoutSink {
    /// Opens or makes the layout.
    pub fn open(name: &LayoutName) -> Result<Self> {
        let open = || {
            if name.reference.as_ref().is_some_and(|reference| reference.starts_with('@')) {
                return Err(Error::new(ErrorKind::Usage, "@N names an entry to read, not one to write"));
            }
            let dir = crate::host::make_dir(&name.path, 0o755)?;
            index::create(&dir)?;
            let in_use = dir.reopen()?.into_file();
            in_use.lock_shared().wrap(|| "lock the layout")?;
            let blobs = files::subdirectory(&dir, "blobs", 0o755)?;
            let blobs = Blobs::new(blobs, files::subdirectory(&dir, INGEST, 0o700)?, 0o755);
            blobs.directory(conex_spec::Algorithm::Sha256)?;
            Ok(Self { name: name.clone(), dir, blobs, in_use })
        };
        open().map_err(|error: Error| error.wrap(name.describe()))
    }
}

impl Drop for LayoutSink {
    fn drop(&mut self) {
        leave(&self.dir, &self.in_use);
    }
}

/// Whoever is the last to change a layout takes the directory for what comes in away. It stays while it holds something
/// that another attempt can continue.
pub(super) fn leave(dir: &Dir, in_use: &File) {
    if in_use.try_lock().is_ok() {
        let _ = dir.remove_dir(INGEST);
    }
}

impl Sink for LayoutSink {
    fn has_blob(&self, descriptor: &Descriptor) -> Result<bool> {
        Ok(self.blobs.size(&descriptor.digest)?.is_some())
    }

    fn put_blob(&self, descriptor: &Descriptor, from: &dyn Source, progress: &dyn Progress) -> Result<()> {
        self.blobs.copy(descriptor, from, progress)
    }

    fn form(&self) -> Form {
        Form { format: Some(Format::Oci), layers: Some(LayerForm::Packed) }
    }

    fn put_manifest(&self, manifest: &RawManifest) -> Result<()> {
        manifest::Document::parse(manifest)?;
        self.blobs.put(&manifest.descriptor.digest, &manifest.bytes)
    }

    fn commit(&self, manifest: &RawManifest) -> Result<()> {
        self.put_manifest(manifest)?;
        index::update(&self.dir, |index| {
            add_entry(index, &manifest.descriptor, self.name.reference.as_deref());
            Ok(())
        })
        .wrap(|| self.describe())
    }

    fn describe(&self) -> String {
        self.name.describe()
    }
}

/// Adds an image to index.json, under a name if it has one.
pub(crate) fn add_entry(index: &mut Index, image: &Descriptor, name: Option<&str>) {
    let mut entry = image.clone();
    // Where it comes from it may have had another.
    entry.annotations.remove(REF_NAME);
    entry.annotations.extend(name.map(|name| (REF_NAME.to_owned(), name.to_owned())));
    join(index, entry);
}

/// Adds an entry as skopeo does: an older image of that name stays, without it; the same image without a name is
/// replaced.
fn join(index: &mut Index, entry: Descriptor) {
    if let Some(name) = entry.annotations.get(REF_NAME) {
        for old in &mut index.manifests {
            if old.annotations.get(REF_NAME) == Some(name) {
                old.annotations.remove(REF_NAME);
            }
        }
    }
    let same = |old: &&mut Descriptor| old.digest == entry.digest && !old.annotations.contains_key(REF_NAME);
    match index.manifests.iter_mut().find(same) {
        Some(old) => *old = entry,
        None => index.manifests.push(entry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::sha256;

    fn entry(name: Option<&str>, bytes: &[u8]) -> Descriptor {
        let mut entry = Descriptor::new(media_type::OCI_MANIFEST, sha256(bytes), 1);
        entry.annotations.extend(name.map(|name| (REF_NAME.to_owned(), name.to_owned())));
        entry
    }

    #[test]
    fn names_are_parsed_as_skopeo_does() {
        let name = LayoutName::parse("a/b:1.0:x").unwrap();
        assert_eq!((name.path.to_str(), name.reference.as_deref()), (Some("a/b"), Some("1.0:x")));
        assert_eq!(LayoutName::parse("dir").unwrap().reference, None);
        assert!(LayoutName::parse(":x").is_err() && LayoutName::parse("x:").is_err());
    }

    #[test]
    fn a_second_name_joins_and_a_moved_one_leaves_the_old_image() {
        let scratch = tempfile::tempdir().unwrap();
        let name = LayoutName { path: scratch.path().join("new/layout"), reference: Some("a".into()) };
        let sink = LayoutSink::open(&name).unwrap();
        let add = |entry| {
            let change = |index: &mut Index| {
                join(index, entry);
                Ok(())
            };
            index::update(&sink.dir, change).unwrap();
        };
        add(entry(Some("a"), b"1"));
        add(entry(Some("b"), b"1"));
        add(entry(Some("a"), b"2"));
        let names = super::super::names(&name.path).unwrap();
        let names: Vec<_> = names.iter().map(|(name, d)| (name.as_deref(), d.digest.clone())).collect();
        assert_eq!(names, [(None, sha256(b"1")), (Some("b"), sha256(b"1")), (Some("a"), sha256(b"2"))]);
        add(entry(None, b"1"));
        assert_eq!(super::super::names(&name.path).unwrap().len(), 3);
        drop(sink);
        assert!(!name.path.join(INGEST).exists());
    }

    #[test]
    fn what_is_ambiguous_is_asked_for() {
        let index = |manifests| Index {
            schema_version: 2,
            media_type: None,
            artifact_type: None,
            manifests,
            subject: None,
            annotations: std::collections::BTreeMap::new(),
        };
        let list = index(vec![entry(Some("a"), b"1"), entry(Some("a"), b"2"), entry(Some("b"), b"2")]);
        assert!(named(&list, "a").unwrap_err().to_string().contains("several images"));
        assert_eq!(named(&list, "b").unwrap().digest, sha256(b"2"));
        assert_eq!(named(&list, "c").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(nth(&list, "1").unwrap().digest, sha256(b"2"));
        assert!(nth(&list, "3").is_err() && nth(&list, "x").is_err());
    }
}
