// SPDX-License-Identifier: Apache-2.0
//! Garbage is collected beside requests: what nothing leads to goes, what a push is about to name stays.

use std::sync::Arc;
use std::time::{Duration, Instant};

use conex_serve::{Gc, ServeOptions};

use crate::http::{Registry, manifest};

fn collecting(root: &std::path::Path, grace: Duration) -> Registry {
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

#[test]
fn a_push_under_way_loses_nothing() {
    let root = tempfile::tempdir().unwrap();
    let registry = collecting(root.path(), Duration::from_secs(3600));
    for round in 0..40 {
        let name = format!("app{round}");
        let upload = registry.begin(&name);
        assert_eq!(registry.send("PATCH", &upload, &[], b"{").status, 202);
        std::thread::sleep(Duration::from_millis(5));
        let config = crate::http::sha256(b"{}");
        assert_eq!(registry.send("PUT", &format!("{upload}?digest={config}"), &[], b"}").status, 201);
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(registry.put_manifest(&name, "v1", &manifest("")).status, 201);
    }
    for round in 0..40 {
        assert_eq!(registry.get(&format!("/v2/app{round}/manifests/v1")).status, 200);
        assert_eq!(registry.get(&format!("/v2/app{round}/blobs/{}", crate::http::sha256(b"{}"))).status, 200);
    }
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
