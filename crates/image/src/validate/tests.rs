// SPDX-License-Identifier: Apache-2.0
//! A document for each rule, and an image for each lie.

use conex_spec::image::media_type::{self, Compression};
use serde_json::{Value, json};

use super::*;
use crate::testing::{Layer, Memory, compressed};
use crate::verify::sha256;

const DIGEST: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

fn broken(kind: Kind, value: &Value) -> Vec<(String, String)> {
    let found = document("x", value.to_string().as_bytes(), kind);
    found.into_iter().map(|violation| (violation.pointer, violation.message)).collect()
}

fn pointers(kind: Kind, value: &Value) -> Vec<String> {
    broken(kind, value).into_iter().map(|(pointer, _)| pointer).collect()
}

fn manifest() -> Value {
    let descriptor = |kind: &str| json!({ "mediaType": kind, "digest": DIGEST, "size": 2 });
    json!({ "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
        "config": descriptor(media_type::OCI_CONFIG), "layers": [descriptor(media_type::OCI_LAYER)] })
}

fn config() -> Value {
    json!({ "architecture": "amd64", "os": "linux", "created": "2024-02-29T12:00:00.5+01:00",
        "rootfs": { "type": "layers", "diff_ids": [DIGEST] },
        "config": { "Env": ["A=b"], "ExposedPorts": { "80/tcp": {} }, "Cmd": ["x"], "Labels": null },
        "history": [{ "created_by": "x" }, { "empty_layer": true }] })
}

#[test]
fn what_is_right_breaks_no_rule() {
    assert_eq!(broken(Kind::Manifest, &manifest()), []);
    assert_eq!(broken(Kind::Config, &config()), []);
    let mut index = json!({ "schemaVersion": 2, "manifests": [manifest()["config"].clone()] });
    index["manifests"][0]["platform"] = json!({ "architecture": "arm64", "os": "linux" });
    index["manifests"][0]["data"] = json!("e30=");
    assert_eq!(broken(Kind::Index, &index), []);
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let mut wrong = manifest();
    wrong["schemaVersion"] = json!(1);
    wrong["mediaType"] = json!(media_type::OCI_INDEX);
    wrong["config"]["size"] = json!(-1);
    wrong["layers"][0]["digest"] = json!("sha256:../etc");
    wrong["layers"][0]["mediaType"] = json!("tar");
    wrong["annotations"] = json!({ "a": 1 });
    wrong["subject"] = json!({});
    assert_eq!(
        pointers(Kind::Manifest, &wrong),
        [
            "/schemaVersion",
            "/mediaType",
            "/config/size",
            "/layers/0/mediaType",
            "/layers/0/digest",
            "/annotations",
            "/subject/mediaType",
            "/subject/digest",
            "/subject/size",
        ]
    );
    let mut wrong = config();
    wrong["created"] = json!("yesterday");
    wrong["rootfs"]["diff_ids"] = json!([DIGEST, "md5:1"]);
    wrong["config"]["Env"] = json!(["A", "=b"]);
    wrong["config"]["ExposedPorts"] = json!({ "http": {} });
    wrong["config"]["Cmd"] = json!("x");
    wrong["os"] = Value::Null;
    assert_eq!(
        pointers(Kind::Config, &wrong),
        [
            "/os",
            "/created",
            "/rootfs/diff_ids/1",
            "/config/Cmd",
            "/config/Env/0",
            "/config/Env/1",
            "/config/ExposedPorts",
            "/history",
        ]
    );
    let mut index = json!({ "schemaVersion": 2, "config": {}, "manifests": {} });
    assert_eq!(pointers(Kind::Index, &index), ["/config", "/manifests"]);
    index = json!({ "schemaVersion": 2, "manifests": [manifest()["config"].clone()] });
    index["manifests"][0]["data"] = json!("fX0=");
    index["manifests"][0]["platform"] = json!({ "os": "linux" });
    assert_eq!(pointers(Kind::Index, &index), ["/manifests/0/platform/architecture", "/manifests/0/data"]);
    for text in ["[]", "{", ""] {
        assert_eq!(document("x", text.as_bytes(), Kind::Index).len(), 1, "{text}");
    }
}

#[test]
fn a_key_that_comes_twice_and_an_address_that_is_none_are_told() {
    let mut text = manifest().to_string();
    text.truncate(text.len() - 1);
    text.push_str(",\"layers\":[]}");
    let found = document("x", text.as_bytes(), Kind::Manifest);
    assert!(found.len() == 1 && found[0].message.contains("\"layers\" comes twice"), "{found:?}");
    let mut foreign = manifest();
    for (url, wrong) in [("https://a.example/b?c", 0), ("urn:x", 0), ("no uri", 1), ("a b:c", 1), ("/x", 1)] {
        foreign["layers"][0]["urls"] = json!([url]);
        assert_eq!(pointers(Kind::Manifest, &foreign).len(), wrong, "{url}");
    }
}

fn below(memory: &Memory) -> Vec<String> {
    let found = layout(memory, std::slice::from_ref(&memory.top.descriptor));
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn an_image_is_followed_to_its_last_byte() {
    let tars = [Layer::new().file("a", "1").tar(), Layer::new().file("b", "2").tar()];
    let fresh = || Memory::image(&tars, Compression::Gzip);
    assert_eq!(below(&fresh()), [""; 0]);
    assert_eq!(below(&fresh().in_index()), [""; 0]);

    let mut lying = fresh();
    let layer = lying.manifest.layers[0].digest.clone();
    lying.blobs.insert(layer.clone(), compressed(&tars[1], Compression::Gzip));
    let found = below(&lying);
    assert!(found.len() == 1 && found[0].starts_with(layer.as_str()), "{found:?}");

    let mut lying = fresh();
    lying.blobs.remove(&lying.manifest.layers[1].digest);
    lying.blobs.remove(&lying.manifest.config.digest);
    assert_eq!(
        below(&lying).len(),
        3,
        "config gone, its diff_ids with it, a layer gone: {:?}",
        below(&lying)
    );

    // Layers in the wrong order are all there, and not what the configuration says.
    let mut lying = fresh();
    lying.manifest.layers.reverse();
    lying.reseal();
    let found = below(&lying);
    assert!(found.len() == 2 && found.iter().all(|said| said.contains("the content is")), "{found:?}");

    let mut lying = fresh();
    let junk = compressed(
        b"this is no tar file, though long enough to be looked at".repeat(20).as_slice(),
        Compression::Gzip,
    );
    lying.manifest.layers[0].digest = sha256(&junk);
    lying.manifest.layers[0].size = junk.len() as u64;
    lying.blobs.insert(sha256(&junk), junk);
    lying.reseal();
    let found = below(&lying);
    assert!(found.len() == 1 && found[0].contains("tar member 1"), "{found:?}");
}
