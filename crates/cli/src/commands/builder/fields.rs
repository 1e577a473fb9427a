// SPDX-License-Identifier: Apache-2.0
//! Templates of `inspect` name the fields of buildah's structures, not the keys of its JSON: `.OCIv1.RootFS.DiffIDs` is what
//! the document calls `rootfs.diff_ids`. What is not set is there all the same, and empty. Pure.
//!
//! ```text
//!  document ── keys renamed, zeroes filled in ──► what a template walks over
//! ```

use serde_json::{Map, Value, json};

/// A key in the document, the field's name, and its value where there is none.
type Field = (&'static str, &'static str, fn() -> Value);

const TEXT: fn() -> Value = || json!("");
const LIST: fn() -> Value = || json!([]);
const MAP: fn() -> Value = || json!({});
const NO: fn() -> Value = || json!(false);

const IMAGE: &[Field] = &[
    ("created", "Created", TEXT),
    ("author", "Author", TEXT),
    ("architecture", "Architecture", TEXT),
    ("os", "OS", TEXT),
    ("os.version", "OSVersion", TEXT),
    ("os.features", "OSFeatures", LIST),
    ("variant", "Variant", TEXT),
    ("config", "Config", MAP),
    ("container_config", "ContainerConfig", MAP),
    ("rootfs", "RootFS", MAP),
    ("history", "History", LIST),
];

const CONFIG: &[Field] = &[
    ("User", "User", TEXT),
    ("ExposedPorts", "ExposedPorts", MAP),
    ("Env", "Env", LIST),
    ("Entrypoint", "Entrypoint", LIST),
    ("Cmd", "Cmd", LIST),
    ("Volumes", "Volumes", MAP),
    ("WorkingDir", "WorkingDir", TEXT),
    ("Labels", "Labels", MAP),
    ("StopSignal", "StopSignal", TEXT),
];

const ROOTFS: &[Field] = &[("type", "Type", TEXT), ("diff_ids", "DiffIDs", LIST)];

const STEP: &[Field] = &[
    ("created", "Created", TEXT),
    ("created_by", "CreatedBy", TEXT),
    ("author", "Author", TEXT),
    ("comment", "Comment", TEXT),
    ("empty_layer", "EmptyLayer", NO),
];

/// The document with the names that templates use.
pub(super) fn named(mut document: Value) -> Value {
    for spelling in ["OCIv1", "Docker"] {
        if let Some(image) = document.get_mut(spelling) {
            *image = image_of(image.take());
        }
    }
    document
}

fn image_of(document: Value) -> Value {
    let mut image = renamed(document, IMAGE);
    for key in ["Config", "ContainerConfig"] {
        image[key] = renamed(image[key].take(), CONFIG);
    }
    image["RootFS"] = renamed(image["RootFS"].take(), ROOTFS);
    if let Some(steps) = image["History"].as_array_mut() {
        for step in steps {
            *step = renamed(step.take(), STEP);
        }
    }
    image
}

/// Keys that no field has stay as they are.
fn renamed(value: Value, fields: &[Field]) -> Value {
    let Value::Object(mut keys) = value else { return value };
    let mut out = Map::new();
    for (key, name, zero) in fields {
        let value = keys.remove(*key).filter(|value| !value.is_null());
        out.insert((*name).to_owned(), value.unwrap_or_else(zero));
    }
    out.extend(keys);
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_fields_and_what_is_missing_is_empty() {
        let document = json!({"Container": "c", "OCIv1": {
            "os": "linux", "config": {"Env": ["A=b"], "Shell": ["sh"]}, "rootfs": {"diff_ids": ["sha256:a"]},
            "history": [{"created_by": "me"}],
        }});
        let named = named(document);
        assert_eq!(named["Container"], "c");
        let image = &named["OCIv1"];
        assert_eq!((&image["OS"], &image["Author"]), (&json!("linux"), &json!("")));
        assert_eq!((&image["Config"]["Env"], &image["Config"]["Cmd"]), (&json!(["A=b"]), &json!([])));
        assert_eq!(image["Config"]["Shell"], json!(["sh"]), "what has no name of its own stays");
        assert_eq!(image["RootFS"]["DiffIDs"], json!(["sha256:a"]));
        assert_eq!(
            (&image["History"][0]["CreatedBy"], &image["History"][0]["EmptyLayer"]),
            (&json!("me"), &json!(false))
        );
    }
}
