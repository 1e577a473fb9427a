// SPDX-License-Identifier: Apache-2.0
//! An image's record and its documents.

use conex_spec::Digest;
use conex_sys::Errno;
use conex_sys::path::Dir;
use serde_json::{Map, Value, json};

use super::super::records::{LayerRecord, document_file};
use super::super::{Area, Share, Storage, remove_temporaries};
use crate::layout::files::{self, Existing};
use crate::verify::sha256;
use crate::{Error, ErrorKind, Result, Wrap};

/// What is to be recorded.
pub(super) struct NewImage<'a> {
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    pub(super) manifest: &'a Digest,
    /// The top layer; an image may have none.
    pub(super) top: Option<&'a str>,
    /// When its configuration says that it was made.
    pub(super) created: Option<&'a str>,
    /// Name and content.
    pub(super) documents: &'a [(String, &'a [u8])],
}

impl NewImage<'_> {
    /// Writes the documents, then the record. The name is this image's alone from then on.
    pub(super) fn publish(&self, storage: &Storage) -> Result<()> {
        // Nobody takes the layers away before the record says that they are used.
        let layers = storage.layers(Share::Readers)?;
        let known: Vec<LayerRecord> = layers.records.view()?;
        if self.top.is_some_and(|top| !known.iter().any(|layer| layer.id == top)) {
            let message = "its layers have been removed by somebody";
            return Err(Error::new(ErrorKind::Busy, message).with_hint("try again"));
        }
        let mut images = storage.images(Share::Nobody)?;
        let dir = files::subdirectory(&images.dir, self.id, 0o700)?;
        remove_temporaries(&dir)?;
        for (name, bytes) in self.documents {
            put(&dir, &document_file(name), bytes)?;
        }
        self.take_name(&mut images);
        self.record(&mut images)?;
        images.write()
    }

    fn take_name(&self, images: &mut Area) {
        for image in images.records.values.iter_mut().filter(|image| image["id"] != self.id) {
            if let Some(names) = image.get_mut("names").and_then(Value::as_array_mut) {
                names.retain(|name| name != self.name);
            }
        }
    }

    /// Adds to the record that is there, or a new one.
    fn record(&self, images: &mut Area) -> Result<()> {
        let values = &mut images.records.values;
        let at = match values.iter().position(|image| image["id"] == self.id) {
            Some(at) => at,
            None => {
                values.push(json!({ "id": self.id, "metadata": "{}" }));
                values.len() - 1
            }
        };
        let record = values[at].as_object_mut().ok_or_else(|| Error::invalid("images.json: no object"))?;
        if let Some(top) = self.top {
            record.entry("layer").or_insert_with(|| top.into());
        }
        record.entry("created").or_insert_with(|| self.created.unwrap_or("1970-01-01T00:00:00Z").into());
        record.insert("digest".to_owned(), self.manifest.as_str().into());
        for list in ["names", "names-history"] {
            add_first(record, list, self.name);
        }
        for (name, bytes) in self.documents {
            let names = record.entry("big-data-names").or_insert_with(|| json!([]));
            let names = names.as_array_mut().ok_or_else(|| Error::invalid("images.json: big-data-names"))?;
            if !names.iter().any(|known| known == name) {
                names.push(name.as_str().into());
            }
            for (list, value) in
                [("big-data-sizes", json!(bytes.len())), ("big-data-digests", json!(sha256(bytes).as_str()))]
            {
                record.entry(list).or_insert_with(|| json!({}))[name.as_str()] = value;
            }
        }
        Ok(())
    }
}

fn add_first(record: &mut Map<String, Value>, list: &str, name: &str) {
    let names = record.entry(list).or_insert_with(|| json!([]));
    if !names.is_array() {
        *names = json!([]);
    }
    if let Some(names) = names.as_array_mut() {
        names.retain(|known| known != name);
        names.insert(0, name.into());
    }
}

/// What is there with these bytes stays: another image's reader may have it open.
fn put(dir: &Dir, file: &str, bytes: &[u8]) -> Result<()> {
    match dir.open_file(file) {
        Ok(there) if files::read(&there, bytes.len() as u64).is_ok_and(|there| there == bytes) => Ok(()),
        Err(error) if error.errno() != Errno::NOENT => Err(error.into()),
        _ => files::write(dir, file, bytes, 0o600, Existing::Replace).wrap(|| "document"),
    }
}
