// SPDX-License-Identifier: Apache-2.0
//! Garbage is collected beside requests: what nothing leads to goes, what a push is about to name stays.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use conex_serve::{Gc, ServeOptions};

use conex_spec::Digest;

use crate::http::{INDEX, MANIFEST, Registry, manifest, sha256};

fn collecting(root: &Path, grace: Duration) -> Registry {
    let gc = Gc { every: Duration::from_millis(20), grace, keep: None };
    Registry::with(ServeOptions { gc: Some(gc), metrics: true, ..ServeOptions::new(root) })
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_nothing_leads_to_goes_and_the_rest_stays() {
    let root = tempfile::tempdir().unwrap();
    let registry = collecting(root.path(), Duration::ZERO);
    let orphan = registry.push_blob("app", b"nobody's");
    wait_until("the orphan goes", || registry.get(&format!("/v2/app/blobs/{orphan}")).status == 404);
    let upload = registry.begin("app");
    wait_until("the upload goes", || registry.send("PATCH", &upload, &[], b"x").status == 404);
    wait_until("its link goes", || {
        !root.path().join("repositories/app/_blobs/sha256").join(orphan.hex()).exists()
    });
    let text = String::from_utf8(registry.get("/metrics").body).unwrap();
    let bytes = text.lines().find_map(|line| line.strip_prefix("conex_registry_collected_bytes_total "));
    assert!(bytes.unwrap().parse::<u64>().unwrap() >= 8, "{text}");
}

/// Makes a link look as if nobody had reckoned with the blob for a day.
fn age(root: &Path, name: &str, digest: &Digest) {
    let link = root.join(format!("repositories/{name}/_blobs/sha256/{}", digest.hex()));
    let yesterday = SystemTime::now() - Duration::from_secs(86_400);
    File::options().write(true).open(link).unwrap().set_modified(yesterday).unwrap();
}

#[test]
fn a_push_under_way_loses_nothing() {
    let root = tempfile::tempdir().unwrap();
    let registry = collecting(root.path(), Duration::from_secs(3600));
    let config = sha256(b"{}");
    for round in 0..20 {
        let name = format!("app{round}");
        let upload = registry.begin(&name);
        assert_eq!(registry.send("PATCH", &upload, &[], b"{").status, 202);
        collected(root.path(), &registry, round * 2);
        assert_eq!(registry.send("PUT", &format!("{upload}?digest={config}"), &[], b"}").status, 201);
        collected(root.path(), &registry, round * 2 + 1);
        assert_eq!(registry.put_manifest(&name, "v1", &manifest("")).status, 201);
    }
    for round in 0..20 {
        assert_eq!(registry.get(&format!("/v2/app{round}/manifests/v1")).status, 200);
        assert_eq!(registry.get(&format!("/v2/app{round}/blobs/{config}")).status, 200);
    }
}

/// Waits until garbage has been collected.
fn collected(root: &Path, registry: &Registry, number: u32) {
    let orphan = registry.push_blob("orphans", format!("old {number}").as_bytes());
    age(root, "orphans", &orphan);
    wait_until("the orphan goes", || registry.get(&format!("/v2/orphans/blobs/{orphan}")).status == 404);
}

#[test]
fn who_is_told_that_a_blob_is_there_finds_it_there() {
    let root = tempfile::tempdir().unwrap();
    let registry = collecting(root.path(), Duration::from_secs(3600));
    let config = registry.push_blob("app", b"{}");
    assert_eq!(registry.put_manifest("app", "v1", &manifest("")).status, 201);
    age(root.path(), "app", &config);
    assert_eq!(registry.send("HEAD", &format!("/v2/app/blobs/{config}"), &[], b"").status, 200);
    let digest = sha256(manifest("").as_bytes());
    assert_eq!(registry.send("DELETE", &format!("/v2/app/manifests/{digest}"), &[], b"").status, 202);
    collected(root.path(), &registry, 0);
    assert_eq!(registry.put_manifest("app", "v1", &manifest("")).status, 201);
}

#[test]
fn what_only_looks_like_an_image_keeps_nothing_else_from_being_collected() {
    let root = tempfile::tempdir().unwrap();
    let registry = collecting(root.path(), Duration::from_secs(3600));
    let chart = br#"{"name":"web"}"#;
    let (config, size) = (registry.push_blob("app", chart), chart.len());
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":{size}}},"layers":[]}}"#
    );
    assert_eq!(registry.put_manifest("app", "v1", &manifest).status, 201);
    age(root.path(), "app", &config);
    collected(root.path(), &registry, 0);
    assert_eq!(registry.get(&format!("/v2/app/blobs/{config}")).status, 200);
}

#[test]
fn an_image_that_somebody_called_something_else_keeps_its_layers() {
    let root = tempfile::tempdir().unwrap();
    let registry = collecting(root.path(), Duration::from_secs(3600));
    let image = manifest("");
    let digest = sha256(image.as_bytes());
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{{"mediaType":"x/y","digest":"{digest}","size":{}}}]}}"#,
        image.len()
    );
    let put = registry.send("PUT", "/v2/a/manifests/v1", &[("content-type", INDEX)], index.as_bytes());
    assert_eq!(put.status, 201);
    let config = registry.push_blob("b", b"{}");
    assert_eq!(registry.put_manifest("b", "v1", &image).status, 201);
    age(root.path(), "b", &config);
    collected(root.path(), &registry, 0);
    assert_eq!(registry.get(&format!("/v2/b/blobs/{config}")).status, 200);
}

#[test]
fn what_is_kept_by_others_stays() {
    let root = tempfile::tempdir().unwrap();
    let (kept, gone) = {
        let registry = Registry::start(root.path());
        (registry.push_blob("app", b"a container's"), registry.push_blob("app", b"nobody's"))
    };
    let container = kept.clone();
    let keep = Arc::new(move || Ok(vec![container.clone()]));
    let gc = Gc { every: Duration::from_millis(20), grace: Duration::ZERO, keep: Some(keep) };
    let registry = Registry::with(ServeOptions { gc: Some(gc), ..ServeOptions::new(root.path()) });
    wait_until("the orphan goes", || registry.get(&format!("/v2/app/blobs/{gone}")).status == 404);
    assert_eq!(registry.get(&format!("/v2/app/blobs/{kept}")).status, 200);
}
