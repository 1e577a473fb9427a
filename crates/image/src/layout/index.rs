// SPDX-License-Identifier: Apache-2.0
//! image-spec v1.1: image-layout.md#indexjson-file
//!
//! The names of a layout. Changes are serialised by a lock on the file `oci-layout`, which never changes, and replace
//! index.json as a whole.

use conex_spec::image::annotation::{CONTAINERD_IMAGE_NAME, REF_NAME};
use conex_spec::image::{Descriptor, Index, LAYOUT_VERSION, LayoutMarker, media_type};
use conex_sys::path::Dir;

use super::files::{self, Existing};
use crate::manifest::{self, MAX_MANIFEST};
use crate::{Error, ErrorKind, Result, Wrap};

pub(crate) const MARKER: &str = "oci-layout";
pub(crate) const INDEX: &str = "index.json";

/// Whether an entry is called `name`, in either of the two spellings.
pub(crate) fn is_named(descriptor: &Descriptor, name: &str) -> bool {
    [REF_NAME, CONTAINERD_IMAGE_NAME]
        .iter()
        .any(|key| descriptor.annotations.get(*key).is_some_and(|n| n == name))
}

/// The name of an entry: the whole reference where there is one.
pub(crate) fn name_of(descriptor: &Descriptor) -> Option<&str> {
    let annotations = &descriptor.annotations;
    annotations.get(CONTAINERD_IMAGE_NAME).or_else(|| annotations.get(REF_NAME)).map(String::as_str)
}

/// Makes `dir` a layout if it is none.
pub(crate) fn create(dir: &Dir) -> Result<()> {
    if dir.find(MARKER)?.is_some() {
        return check_marker(dir);
    }
    files::write(dir, INDEX, &json(&empty())?, 0o644, Existing::Keep)?;
    files::write(dir, MARKER, &marker()?, 0o644, Existing::Keep)
}

/// An index of nothing.
pub(crate) fn empty() -> Index {
    Index {
        schema_version: 2,
        media_type: Some(media_type::OCI_INDEX.to_owned()),
        artifact_type: None,
        manifests: Vec::new(),
        subject: None,
        annotations: std::collections::BTreeMap::new(),
    }
}

/// The content of `oci-layout`.
pub(crate) fn marker() -> Result<Vec<u8>> {
    json(&LayoutMarker { image_layout_version: LAYOUT_VERSION.to_owned() })
}

/// Checks that `dir` is a layout of a version that is understood.
pub(crate) fn check_marker(dir: &Dir) -> Result<()> {
    check_marker_bytes(&files::read(&dir.open_file(MARKER)?, MAX_MANIFEST).wrap(|| MARKER)?)
}

/// The same of the content of `oci-layout`.
pub(crate) fn check_marker_bytes(bytes: &[u8]) -> Result<()> {
    let marker: LayoutMarker =
        serde_json::from_slice(bytes).map_err(|e| Error::invalid(format!("{MARKER}: {e}")))?;
    if marker.image_layout_version != LAYOUT_VERSION {
        let version = marker.image_layout_version;
        let message = format!("{MARKER}: version {version:?} is not {LAYOUT_VERSION}");
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    Ok(())
}

/// Reads index.json.
pub(crate) fn read(dir: &Dir) -> Result<Index> {
    let bytes = files::read(&dir.open_file(INDEX)?, MAX_MANIFEST).wrap(|| INDEX)?;
    manifest::parse_index(&bytes).wrap(|| INDEX)
}

/// Changes index.json; nobody else changes it meanwhile.
pub(crate) fn update<T>(dir: &Dir, change: impl FnOnce(&mut Index) -> Result<T>) -> Result<T> {
    let lock = dir.open_file(MARKER).wrap(|| MARKER)?;
    lock.lock().wrap(|| format!("lock {MARKER}"))?;
    let mut index = read(dir)?;
    let before = index.clone();
    let result = change(&mut index)?;
    if index != before {
        let bytes = json(&index)?;
        // What grows beyond what is read, nobody could read any more.
        if bytes.len() as u64 > MAX_MANIFEST {
            let count = index.manifests.len();
            let message = format!("{INDEX}: {count} names take more than {MAX_MANIFEST} bytes");
            return Err(
                Error::new(ErrorKind::Unsupported, message).with_hint("remove names that are not needed")
            );
        }
        files::write(dir, INDEX, &bytes, 0o644, Existing::Replace)?;
    }
    Ok(result)
}

pub(crate) fn json(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::invalid(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::sha256;

    #[test]
    fn an_index_does_not_grow_beyond_what_is_read() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = Dir::open_host(scratch.path()).unwrap();
        create(&dir).unwrap();
        let named = |name: String| {
            let mut descriptor = Descriptor::new(media_type::OCI_MANIFEST, sha256(name.as_bytes()), 2);
            descriptor.annotations.insert(REF_NAME.to_owned(), name);
            descriptor
        };
        let grow = |count: u32| {
            let names = (0..count).map(|number| named(format!("name-{number}")));
            update(&dir, |index| {
                index.manifests.extend(names);
                Ok(())
            })
        };
        grow(10_000).unwrap();
        let error = grow(20_000).unwrap_err();
        assert!(error.to_string().contains("30000 names"), "{error}");
        assert_eq!(read(&dir).unwrap().manifests.len(), 10_000);
    }
}
