// SPDX-License-Identifier: Apache-2.0

use std::sync::Arc;

use conex_spec::image::media_type::Compression;

use super::*;
use crate::testing::{Layer, Memory};
use crate::transfer::{CopyOptions, Silent, copy};

const NAME: &str = "docker.io/library/test:latest";

fn sample() -> Memory {
    let base =
        Layer::new().dir("etc", 0o755).file("etc/passwd", "root:x:0:0::/root:/bin/sh\n").file("a", "1");
    let top = Layer::new().file(".wh.a", "").dir("etc", 0o700).file("etc/shadow", "secret");
    Memory::image(&[base.tar(), top.tar()], Compression::Gzip)
}

fn store() -> (tempfile::TempDir, Arc<Store>) {
    let scratch = tempfile::tempdir().unwrap();
    let store = Store::open(&scratch.path().join("store")).unwrap();
    (scratch, Arc::new(store))
}

#[test]
fn an_image_comes_in_and_is_unpacked() {
    let (_scratch, store) = store();
    let source = sample();
    let sink = StoreSink::new(Arc::clone(&store), NAME).unwrap();
    let descriptor = copy(&source, &sink, &CopyOptions::default(), &Silent).unwrap();
    assert_eq!(store.resolve(NAME).unwrap(), descriptor);
    let image = store.image(&descriptor, &Platform::host()).unwrap();
    let snapshot = store.snapshot(&image).unwrap();
    assert_eq!(snapshot.lower.len(), 2);
    assert!(snapshot.open("etc/passwd".as_ref()).unwrap().is_some());
    assert!(snapshot.open("a".as_ref()).unwrap().is_none());
}
