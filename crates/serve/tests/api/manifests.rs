// SPDX-License-Identifier: Apache-2.0
//! Manifests, tags, referrers; and images that came into the store by another way.

use serde_json::json;

use crate::http::{INDEX, MANIFEST, Registry, manifest, sha256, sha512};

fn registry() -> (tempfile::TempDir, Registry) {
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(root.path());
    registry.push_blob("a", b"{}");
    (root, registry)
}

#[test]
fn a_manifest_comes_back_byte_for_byte() {
    let (_root, registry) = registry();
    let text = format!("{}\n ", manifest(""));
    let digest = sha256(text.as_bytes());
    let put = registry.put_manifest("a", "v1", &text);
    assert_eq!((put.status, put.header("docker-content-digest")), (201, Some(digest.as_str())));
    for reference in ["v1", digest.as_str()] {
        let path = format!("/v2/a/manifests/{reference}");
        let got = registry.get(&path);
        assert_eq!((got.status, got.body.as_slice()), (200, text.as_bytes()));
        assert_eq!(
            (got.header("content-type"), got.header("docker-content-digest")),
            (Some(MANIFEST), Some(digest.as_str()))
        );
        let head = registry.send("HEAD", &path, &[], b"");
        assert_eq!(
            (head.status, head.header("content-length").unwrap()),
            (200, text.len().to_string().as_str())
        );
    }
    assert_eq!(registry.get("/v2/a/manifests/v2").code(), "MANIFEST_UNKNOWN");
    assert_eq!(registry.get("/v2/zzz/manifests/v2").code(), "NAME_UNKNOWN");
    assert_eq!(
        registry.get(&format!("/v2/b/manifests/{digest}")).status,
        404,
        "other repositories do not see it"
    );
}

#[test]
fn what_is_no_manifest_is_refused() {
    let (_root, registry) = registry();
    let config = sha256(b"{}");
    let missing = sha256(b"missing");
    for (what, code) in [
        ("not json".to_owned(), "MANIFEST_INVALID"),
        ("[]".to_owned(), "MANIFEST_INVALID"),
        (r#"{"manifests":[],"layers":[],"config":null}"#.to_owned(), "MANIFEST_INVALID"),
        (manifest("").replace(MANIFEST, INDEX), "MANIFEST_INVALID"),
        (manifest("").replace(config.as_str(), missing.as_str()), "MANIFEST_BLOB_UNKNOWN"),
        (manifest("").replace(config.as_str(), "sha256:../../x"), "MANIFEST_INVALID"),
    ] {
        let answer = registry.put_manifest("a", "x", &what);
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{what}");
    }
    let wrong = registry.put_manifest("a", missing.as_str(), &manifest(""));
    assert_eq!((wrong.status, wrong.code().as_str()), (400, "DIGEST_INVALID"));
    let html = registry.send("PUT", "/v2/a/manifests/x", &[("content-type", "text/html")], b"{}");
    assert_eq!(html.code(), "MANIFEST_INVALID");
    assert_eq!(registry.get("/v2/a/manifests/x").status, 404);
}

#[test]
fn four_mebibytes_and_no_more() {
    let (_root, registry) = registry();
    let padded = |length: usize| {
        let frame = manifest(r#""annotations":{"x":""},"#).len();
        manifest(&format!(r#""annotations":{{"x":"{}"}},"#, "y".repeat(length - frame)))
    };
    assert_eq!(registry.put_manifest("a", "large", &padded(4 << 20)).status, 201);
    let answer = registry.put_manifest("a", "larger", &padded((4 << 20) + 1));
    assert_eq!((answer.status, answer.code().as_str()), (413, "SIZE_INVALID"));
}

#[test]
fn tags_are_listed_in_order_and_by_page() {
    let (_root, registry) = registry();
    for tag in ["b", "a", "C", "c"] {
        assert_eq!(registry.put_manifest("a", tag, &manifest("")).status, 201);
    }
    assert_eq!(registry.get("/v2/a/tags/list").json(), json!({"name": "a", "tags": ["C", "a", "b", "c"]}));
    let page = registry.get("/v2/a/tags/list?n=2");
    assert_eq!(page.json()["tags"], json!(["C", "a"]));
    let link = page.header("link").unwrap();
    let next = link.strip_prefix('<').unwrap().split('>').next().unwrap();
    let page = registry.get(next);
    assert_eq!((page.json()["tags"].clone(), page.header("link")), (json!(["b", "c"]), None));
    assert_eq!(registry.get("/v2/a/tags/list?n=0").json()["tags"], json!([]));
    assert_eq!(registry.get("/v2/unknown/tags/list").code(), "NAME_UNKNOWN");
    assert_eq!(registry.get("/v2/_catalog").json(), json!({"repositories": ["a"]}));
}

#[test]
fn one_push_may_set_several_tags() {
    let (_root, registry) = registry();
    let digest = sha256(manifest("").as_bytes());
    let put = registry.put_manifest("a", &format!("{digest}?tag=1.2&tag=1&tag=latest"), &manifest(""));
    assert_eq!((put.status, put.header("oci-tag")), (201, Some("1.2, 1, latest")));
    assert_eq!(registry.get("/v2/a/tags/list").json()["tags"], json!(["1", "1.2", "latest"]));
    assert_eq!(registry.put_manifest("a", &format!("{digest}?tag=..%2Fx"), &manifest("")).status, 400);
}

#[test]
fn deleting_a_tag_keeps_the_manifest_and_the_other_way_round_not() {
    let (_root, registry) = registry();
    let digest = sha256(manifest("").as_bytes());
    registry.put_manifest("a", "one", &manifest(""));
    registry.put_manifest("a", "two", &manifest(""));
    let delete =
        |reference: &str| registry.send("DELETE", &format!("/v2/a/manifests/{reference}"), &[], b"").status;
    assert_eq!((delete("one"), delete("one")), (202, 404));
    assert_eq!(registry.get(&format!("/v2/a/manifests/{digest}")).status, 200);
    assert_eq!((delete(digest.as_str()), delete(digest.as_str())), (202, 404));
    assert_eq!(registry.get("/v2/a/manifests/two").status, 404);
    assert_eq!(registry.get(&format!("/v2/a/manifests/{digest}")).status, 404);
}

#[test]
fn referrers_are_listed_and_filtered() {
    let (_root, registry) = registry();
    let subject = sha256(manifest("").as_bytes());
    let with = |more: &str| {
        manifest(&format!(r#"{more}"subject":{{"mediaType":"{MANIFEST}","digest":"{subject}","size":3}},"#))
    };
    let sbom = with(r#""artifactType":"app/sbom","annotations":{"k":"v"},"#);
    let put = registry.put_manifest("a", "sbom", &sbom);
    assert_eq!(
        (put.status, put.header("oci-subject")),
        (201, Some(subject.as_str())),
        "before its subject is there"
    );
    let plain = with("");
    assert_eq!(registry.put_manifest("a", sha256(plain.as_bytes()).as_str(), &plain).status, 201);
    let all = registry.get(&format!("/v2/a/referrers/{subject}"));
    assert_eq!((all.status, all.header("content-type")), (200, Some(INDEX)));
    let list = all.json()["manifests"].clone();
    assert_eq!(list.as_array().unwrap().len(), 2);
    let entry = list.as_array().unwrap().iter().find(|entry| entry["artifactType"] == "app/sbom").unwrap();
    assert_eq!(entry["annotations"], json!({"k": "v"}));
    assert_eq!(entry["digest"], sha256(sbom.as_bytes()).as_str());
    assert!(
        list.as_array()
            .unwrap()
            .iter()
            .any(|entry| entry["artifactType"] == "application/vnd.oci.empty.v1+json")
    );
    let some = registry.get(&format!("/v2/a/referrers/{subject}?artifactType=app%2Fsbom"));
    assert_eq!(
        (some.header("oci-filters-applied"), some.json()["manifests"].as_array().unwrap().len()),
        (Some("artifactType"), 1)
    );
    let none = registry.get(&format!("/v2/nowhere/referrers/{subject}"));
    assert_eq!((none.status, none.json()["manifests"].clone()), (200, json!([])));
    assert_eq!(registry.get("/v2/a/referrers/sha256:x").status, 400);
}

#[test]
fn sha512_manifests_are_found_by_their_digest() {
    let (_root, registry) = registry();
    let digest = sha512(manifest("").as_bytes());
    assert_eq!(registry.put_manifest("a", digest.as_str(), &manifest("")).status, 201);
    assert_eq!(registry.get(&format!("/v2/a/manifests/{digest}")).body, manifest("").as_bytes());
}

#[test]
fn what_a_store_holds_the_registry_serves() {
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(root.path());
    let put = |bytes: &[u8]| {
        let digest = sha256(bytes);
        std::fs::write(root.path().join("blobs/sha256").join(digest.hex()), bytes).unwrap();
        digest
    };
    let (config, child) = (put(b"{}"), put(manifest("").as_bytes()));
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": MANIFEST, "digest": child.as_str(), "size": manifest("").len()}]})
    .to_string();
    let top = put(index.as_bytes());
    let name = "docker.io/library/x";
    let names = json!({"schemaVersion": 2, "manifests": [{"mediaType": INDEX, "digest": top.as_str(),
        "size": index.len(), "annotations": {"org.opencontainers.image.ref.name": format!("{name}:latest")}}]});
    std::fs::write(root.path().join("index.json"), names.to_string()).unwrap();
    assert_eq!(registry.get(&format!("/v2/{name}/manifests/latest")).body, index.as_bytes());
    assert_eq!(registry.get(&format!("/v2/{name}/manifests/{child}")).body, manifest("").as_bytes());
    assert_eq!(registry.get(&format!("/v2/{name}/blobs/{config}")).body, b"{}");
    assert_eq!(registry.get(&format!("/v2/other/blobs/{config}")).status, 404);
    let delete = registry.send("DELETE", &format!("/v2/{name}/blobs/{config}"), &[], b"");
    assert_eq!(delete.code(), "UNSUPPORTED", "the image needs it");
}

#[test]
fn a_pushed_image_is_a_name_of_the_layout() {
    let (root, registry) = registry();
    registry.put_manifest("a", "v1", &manifest(""));
    let index: serde_json::Value =
        serde_json::from_slice(&std::fs::read(root.path().join("index.json")).unwrap()).unwrap();
    let names: Vec<_> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap().to_owned())
        .collect();
    let digest = sha256(manifest("").as_bytes());
    assert_eq!(names, [format!("localhost/a@{digest}"), "localhost/a:v1".to_owned()]);
    assert!(root.path().join("oci-layout").exists());
}
