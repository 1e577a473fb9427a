// SPDX-License-Identifier: Apache-2.0
//! Every kind of damage is found, and mended on request.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use conex_spec::image::media_type::Compression;

use super::*;
use crate::store::StoreSink;
use crate::testing::{Layer, Memory};
use crate::transfer::{CopyOptions, Silent, copy};

const NAME: &str = "docker.io/library/test:latest";

fn filled() -> (tempfile::TempDir, Arc<Store>, Memory) {
    let scratch = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(&scratch.path().join("store")).unwrap());
    let base =
        Layer::new().dir("etc", 0o755).file("etc/passwd", "root").link("etc/second", "etc/passwd").tar();
    // Depends on what lies below: an implied directory, a lower link.
    let top = Layer::new().file("etc/shadow", "x").link("p", "etc/passwd").tar();
    let source = Memory::image(&[base, top], Compression::Zstd);
    pull(&store, &source);
    (scratch, store, source)
}

fn pull(store: &Arc<Store>, source: &Memory) {
    let sink = StoreSink::new(Arc::clone(store), NAME).unwrap();
    copy(source, &sink, &CopyOptions::default(), &Silent).unwrap();
}

fn check(store: &Store) -> Report {
    fsck(store, FsckOptions::default()).unwrap()
}

/// Some file below `dir` of the store.
fn any(store: &Store, dir: &str, which: impl Fn(&Path) -> bool) -> std::path::PathBuf {
    let mut paths: Vec<_> =
        fs::read_dir(store.path().join(dir)).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().find(|path| which(path)).expect("a file of that kind")
}

#[test]
fn a_good_store_is_clean() {
    let (_scratch, store, _) = filled();
    let report = check(&store);
    assert!(report.is_clean(), "{:?}", report.violations);
    assert_eq!((report.names, report.blobs, report.layers), (1, 4, 3));
    assert_eq!(report.garbage, Vec::<String>::new());
}

#[test]
fn each_damage_is_found_and_mended() {
    type Damage = fn(&Store, &Memory);
    let cases: [(Class, Damage); 9] = [
        (Class::Layout, |store, _| {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(store.path(), fs::Permissions::from_mode(0o755)).unwrap();
        }),
        (Class::WrongDigest, |store, source| {
            let path = store.path().join("blobs/sha256").join(source.manifest.layers[0].digest.hex());
            let mut bytes = fs::read(&path).unwrap();
            bytes[20] ^= 1;
            fs::write(path, bytes).unwrap();
        }),
        (Class::WrongDigest, |store, source| {
            let path = store.path().join("blobs/sha256").join(source.manifest.config.digest.hex());
            fs::write(path, "").unwrap();
        }),
        (Class::Missing, |store, source| {
            let path = store.path().join("blobs/sha256").join(source.manifest.layers[1].digest.hex());
            fs::remove_file(path).unwrap();
        }),
        (Class::Foreign, |store, _| fs::write(store.path().join("blobs/sha256/README"), "x").unwrap()),
        (Class::Foreign, |store, _| fs::create_dir(store.path().join("layers/sha256/x")).unwrap()),
        (Class::IncompleteLayer, |store, _| {
            fs::remove_file(any(store, "layers/sha256", |_| true).join("layer.json")).unwrap();
        }),
        (Class::LayerContent, |store, _| {
            let has = |path: &Path| path.join("diff/etc/shadow").exists();
            fs::write(any(store, "layers/sha256", has).join("diff/etc/shadow"), "y").unwrap();
        }),
        (Class::Name, |store, _| {
            let path = store.path().join("index.json");
            let text = fs::read_to_string(&path).unwrap();
            let entry = &text[text.find("[{").unwrap() + 1..text.rfind("}]").unwrap() + 1];
            fs::write(&path, text.replace(entry, &format!("{entry},{entry}"))).unwrap();
        }),
    ];
    for (number, (class, damage)) in cases.into_iter().enumerate() {
        let (_scratch, store, source) = filled();
        damage(&store, &source);
        let report = check(&store);
        let found: Vec<Class> = report.violations.iter().map(|violation| violation.class).collect();
        assert!(found.contains(&class), "case {number}: {class:?} not among {:?}", report.violations);
        let repaired = fsck(&store, FsckOptions { repair: true }).unwrap();
        assert!(repaired.violations.iter().all(|violation| violation.repaired), "{repaired:?}");
        let after = check(&store);
        assert!(after.is_clean(), "case {number}: {:?}", after.violations);
        pull(&store, &source);
        let again = check(&store);
        assert!(again.is_clean() && again.names == 1, "case {number}: {:?}", again.violations);
    }
}

#[test]
fn repair_needs_the_store_for_itself() {
    let (_scratch, store, _) = filled();
    let shared = store.share().unwrap();
    let error = fsck(&store, FsckOptions { repair: true }).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Busy);
    assert!(check(&store).is_clean());
    drop(shared);
    assert!(fsck(&store, FsckOptions { repair: true }).unwrap().is_clean());
}

#[test]
fn leftovers_are_garbage_not_damage() {
    let (_scratch, store, _) = filled();
    fs::create_dir_all(store.path().join("ingest/sha256-00.layer/diff/x")).unwrap();
    fs::write(store.path().join("ingest/sha256-00"), "half").unwrap();
    store.untag(NAME).unwrap();
    let report = check(&store);
    assert!(report.is_clean(), "{:?}", report.violations);
    assert_eq!(report.garbage.len(), 2 + 4 + 3, "{:?}", report.garbage);
    let gone = store.gc(&[]).unwrap();
    assert_eq!((gone.blobs, gone.layers, gone.leftovers), (4, 3, 2));
    let report = check(&store);
    assert_eq!((report.blobs, report.layers, report.garbage.len()), (0, 0, 0));
}
