// SPDX-License-Identifier: Apache-2.0
//! layers.json and images.json. Other programs, and later versions of them, put more into a record than we know: records are
//! kept as they are, and read through a view.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use conex_spec::Digest;
use conex_sys::Errno;
use conex_sys::path::Dir;
use serde::Deserialize;
use serde_json::Value;

use crate::layout::files::{self, Existing};
use crate::{Error, Result, Wrap};

/// A storage of ten thousand images has some 50 MB.
const LIMIT: u64 = 256 << 20;

/// All records of one file.
#[derive(Debug)]
pub(super) struct Records {
    name: String,
    /// In their order.
    pub(super) values: Vec<Value>,
}

/// What we read of a layer's record.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct LayerRecord {
    pub(super) id: String,
    #[serde(default)]
    pub(super) parent: String,
    pub(super) compressed_diff_digest: Option<Digest>,
    pub(super) diff_digest: Option<Digest>,
    #[serde(default)]
    pub(super) diff_size: i64,
    #[serde(default)]
    flags: BTreeMap<String, Value>,
}

impl LayerRecord {
    /// Whether somebody is still unpacking it, or was killed over it.
    pub(super) fn is_incomplete(&self) -> bool {
        self.flags.get("incomplete").is_some_and(|flag| *flag == Value::Bool(true))
    }
}

/// What we read of an image's record.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct ImageRecord {
    pub(super) id: String,
    /// Of its manifest.
    pub(super) digest: Option<Digest>,
    #[serde(default)]
    pub(super) names: Vec<String>,
    /// The top one.
    #[serde(default)]
    pub(super) layer: String,
    #[serde(default)]
    pub(super) big_data_names: Vec<String>,
}

impl Records {
    pub(super) fn read(dir: &Dir, name: String) -> Result<Self> {
        let read = || -> Result<Vec<Value>> {
            let file = match dir.open_file(&name) {
                Err(error) if error.errno() == Errno::NOENT => return Ok(Vec::new()),
                other => other?,
            };
            let bytes = files::read(&file, LIMIT)?;
            serde_json::from_slice(&bytes).map_err(|error| Error::invalid(error.to_string()))
        };
        let values = read().wrap(|| name.clone())?;
        Ok(Self { name, values })
    }

    pub(super) fn write(&self, dir: &Dir) -> Result<()> {
        let bytes = serde_json::to_vec(&self.values).map_err(|error| Error::invalid(error.to_string()))?;
        files::write(dir, &self.name, &bytes, 0o600, Existing::Replace)
    }

    /// The records as we read them.
    pub(super) fn view<T: for<'de> Deserialize<'de>>(&self) -> Result<Vec<T>> {
        let view = |value| {
            T::deserialize(value).map_err(|error: serde_json::Error| Error::invalid(error.to_string()))
        };
        self.values.iter().map(view).collect::<Result<_>>().wrap(|| self.name.clone())
    }
}

/// The file that holds a document: its own name where that is plain enough.
pub(super) fn document_file(name: &str) -> String {
    let is_plain = name.bytes().all(|b| b == b'.' || b.is_ascii_digit() || b.is_ascii_lowercase());
    if is_plain { name.to_owned() } else { format!("={}", STANDARD.encode(name)) }
}

/// The manifest of this digest.
pub(super) fn manifest_document(digest: &Digest) -> String {
    format!("manifest-{digest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_have_names_that_a_directory_can_hold() {
        assert_eq!(document_file("manifest"), "manifest");
        assert_eq!(document_file("manifest-sha256:00"), "=bWFuaWZlc3Qtc2hhMjU2OjAw");
    }

    #[test]
    fn records_keep_what_we_do_not_know() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = Dir::open_host(scratch.path()).unwrap();
        assert!(Records::read(&dir, "layers.json".into()).unwrap().values.is_empty());
        let text = r#"[{"id":"a","new":{"x":[1]},"flags":{"incomplete":true}},{"id":"b","parent":"a"}]"#;
        std::fs::write(scratch.path().join("layers.json"), text).unwrap();
        let records = Records::read(&dir, "layers.json".into()).unwrap();
        let layers: Vec<LayerRecord> = records.view().unwrap();
        assert!(layers[0].is_incomplete() && !layers[1].is_incomplete());
        assert_eq!(layers[1].parent, "a");
        records.write(&dir).unwrap();
        let written = std::fs::read(scratch.path().join("layers.json")).unwrap();
        let (old, new): (Value, Value) =
            (serde_json::from_str(text).unwrap(), serde_json::from_slice(&written).unwrap());
        assert_eq!(old, new);
    }
}
