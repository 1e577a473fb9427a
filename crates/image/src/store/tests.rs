// SPDX-License-Identifier: Apache-2.0
//! Bringing images in: whole, interrupted, damaged, at the same time. Every test ends in fsck.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use conex_spec::image::media_type::{self, Compression};

use super::*;
use crate::fsck::{FsckOptions, fsck};
use crate::testing::{Layer, Memory};
use crate::transfer::{CopyOptions, Outcome, Progress, Select, Silent, Sink, copy};

const NAME: &str = "docker.io/library/test:latest";

/// Bytes that do not compress: a layer is stored as long as it is.
fn noise(len: usize) -> String {
    let mut state: u32 = 7;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'!' + u8::try_from(state >> 25).unwrap_or(0) % 90)
    };
    (0..len).map(|_| next()).collect()
}

fn sample() -> Memory {
    let base =
        Layer::new().dir("etc", 0o755).file("etc/passwd", "root:x:0:0::/root:/bin/sh\n").file("a", "1");
    let top = Layer::new().file(".wh.a", "").dir("etc", 0o700).file("big", &noise(900_000));
    Memory::image(&[base.tar(), top.tar()], Compression::Gzip)
}

struct Scratch {
    _dir: tempfile::TempDir,
    store: Arc<Store>,
}

impl Scratch {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&dir.path().join("store")).unwrap());
        Self { _dir: dir, store }
    }

    fn pull(&self, source: &Memory) -> Result<Descriptor> {
        let sink = StoreSink::new(Arc::clone(&self.store), NAME).unwrap();
        copy(source, &sink, &CopyOptions::default(), &Silent)
    }

    fn check(&self) {
        let report = fsck(&self.store, FsckOptions::default()).unwrap();
        assert!(report.is_clean(), "{:?}", report.violations);
    }

    fn ingest(&self) -> Vec<String> {
        let mut names: Vec<_> = self.store.blobs.ingest_dir().entries().unwrap();
        names.sort_by(|a, b| a.name.cmp(&b.name));
        names.into_iter().map(|entry| entry.name.into_string().unwrap()).collect()
    }
}

/// Bytes that came over the wire, and what became of the blobs.
#[derive(Default)]
struct Counting {
    bytes: std::sync::atomic::AtomicU64,
    resumed: std::sync::atomic::AtomicU64,
    existed: std::sync::atomic::AtomicU64,
}

impl Progress for Counting {
    fn begin(&self, _: &Descriptor, done: u64) {
        self.resumed.fetch_add(done, Ordering::Relaxed);
    }

    fn advance(&self, _: &Descriptor, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn finish(&self, _: &Descriptor, outcome: Outcome) {
        self.existed.fetch_add(u64::from(outcome == Outcome::Exists), Ordering::Relaxed);
    }
}

#[test]
fn an_image_comes_in_and_is_unpacked() {
    let scratch = Scratch::new();
    for source in [sample(), sample().in_index()] {
        let descriptor = scratch.pull(&source).unwrap();
        assert_eq!(scratch.store.resolve(NAME).unwrap(), descriptor);
        let image = scratch.store.image(&descriptor, &Platform::host()).unwrap();
        let snapshot = scratch.store.snapshot(&image).unwrap();
        assert_eq!(snapshot.lower.len(), 2);
        assert!(snapshot.lower.iter().all(|dir| dir.is_absolute() && dir.is_dir()));
        assert!(snapshot.open("etc/passwd".as_ref()).unwrap().is_some());
        assert!(snapshot.open("a".as_ref()).unwrap().is_none());
    }
    assert_eq!(scratch.ingest(), Vec::<String>::new());
    scratch.check();
}

#[test]
fn all_platforms_are_stored_and_none_unpacked() {
    let scratch = Scratch::new();
    let source = sample().in_index();
    let sink = StoreSink::new(Arc::clone(&scratch.store), NAME).unwrap().without_unpacking();
    let options = CopyOptions { select: Select::All, jobs: 2, ..CopyOptions::default() };
    let top = copy(&source, &sink, &options, &Silent).unwrap();
    assert_eq!(top.media_type, media_type::OCI_INDEX);
    assert!(scratch.store.layers.entries().unwrap().is_empty());
    let image = scratch.store.image(&top, &Platform::host()).unwrap();
    assert_eq!(image.walk.len(), 2);
    assert_eq!(scratch.store.snapshot(&image).unwrap().lower.len(), 2);
    scratch.check();
}

#[test]
fn names_come_and_go() {
    let scratch = Scratch::new();
    let descriptor = scratch.pull(&sample()).unwrap();
    scratch.store.tag("localhost/other:1", &descriptor).unwrap();
    let names: Vec<_> = scratch.store.images().unwrap().into_iter().map(|named| named.name).collect();
    assert_eq!(names, [NAME, "localhost/other:1"]);
    assert_eq!(scratch.store.untag(NAME).unwrap(), descriptor);
    assert_eq!(scratch.store.untag(NAME).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(scratch.store.resolve(NAME).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(scratch.store.gc(&[]).unwrap(), GcReport::default());
    scratch.store.untag("localhost/other:1").unwrap();
    assert_eq!(scratch.store.gc(std::slice::from_ref(&descriptor.digest)).unwrap(), GcReport::default());
    assert_eq!(scratch.store.gc(&[]).unwrap().blobs, 4);
    let error = scratch.store.tag(NAME, &descriptor).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    scratch.check();
}

#[test]
fn gc_waits_for_nobody_and_takes_nothing_in_use() {
    let scratch = Scratch::new();
    let source = sample();
    let sink = StoreSink::new(Arc::clone(&scratch.store), NAME).unwrap();
    sink.put_blob(&source.manifest.layers[0], &source, &Silent).unwrap();
    assert_eq!(scratch.store.gc(&[]).unwrap_err().kind(), ErrorKind::Busy);
    drop(sink);
    assert_eq!(scratch.store.gc(&[]).unwrap().blobs, 1);
    scratch.check();
}

#[test]
fn a_cut_connection_is_resumed() {
    for seeks in [true, false] {
        let scratch = Scratch::new();
        let mut source = sample();
        source.seeks = seeks;
        source.cuts = [300_000, 1, 200_000].to_vec().into();
        let counting = Counting::default();
        let sink = StoreSink::new(Arc::clone(&scratch.store), NAME).unwrap();
        copy(&source, &sink, &CopyOptions { jobs: 1, ..CopyOptions::default() }, &counting).unwrap();
        let total: u64 = source.manifest.layers.iter().map(|l| l.size).sum();
        let total = total + source.manifest.config.size;
        assert_eq!(counting.bytes.load(Ordering::Relaxed), total, "seeks: {seeks}");
        scratch.check();
    }
}

#[test]
fn the_next_process_continues_where_one_was_cut_off() {
    let scratch = Scratch::new();
    let mut source = sample();
    let layer = source.manifest.layers[1].clone();
    // Never more than this, until the source is whole again.
    let whole = source.blobs[&layer.digest].clone();
    source.blobs.insert(layer.digest.clone(), whole[..400_000].to_vec());
    let truncated = scratch.pull(&source).unwrap_err();
    assert!(truncated.to_string().contains("400000 bytes instead of"), "{truncated}");
    // A lie about the content is not kept. What a killed process leaves is.
    let name = format!("sha256-{}", layer.digest.hex());
    let mut partial = scratch.store.blobs.ingest_dir().open_or_create_file(&name, 0o600).unwrap();
    std::io::Write::write_all(&mut partial, &whole[..500_000]).unwrap();
    drop(partial);
    scratch.store.blobs.ingest_dir().make_dir(format!("{name}.layer"), 0o700).unwrap();
    source.blobs.insert(layer.digest, whole);
    let counting = Counting::default();
    let sink = StoreSink::new(Arc::clone(&scratch.store), NAME).unwrap();
    copy(&source, &sink, &CopyOptions::default(), &counting).unwrap();
    let there = source.manifest.layers[0].size + source.manifest.config.size;
    assert_eq!(counting.resumed.load(Ordering::Relaxed), 500_000 + there);
    assert_eq!(counting.bytes.load(Ordering::Relaxed), source.manifest.layers[1].size - 500_000);
    assert_eq!(scratch.ingest(), Vec::<String>::new());
    scratch.check();
}

#[test]
fn what_arrived_before_the_server_went_away_is_kept() {
    let scratch = Scratch::new();
    let source = sample();
    // The first attempt and the three without progress after it all break.
    *source.cuts.lock().unwrap() = vec![0, 0, 0, 300_000];
    let sink = StoreSink::new(Arc::clone(&scratch.store), NAME).unwrap();
    let layer = &source.manifest.layers[1];
    let error = sink.put_blob(layer, &source, &Silent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    assert_eq!(
        scratch.ingest(),
        [format!("sha256-{}", layer.digest.hex())],
        "the partial blob, and only that"
    );
    let counting = Counting::default();
    sink.put_blob(layer, &source, &counting).unwrap();
    assert_eq!(counting.resumed.load(Ordering::Relaxed), 300_000);
    // Where nothing has arrived, nothing stays.
    *source.cuts.lock().unwrap() = vec![0; 4];
    assert!(sink.put_blob(&source.manifest.layers[0], &source, &Silent).is_err());
    assert_eq!(scratch.ingest(), Vec::<String>::new());
    scratch.check();
}

#[test]
fn a_damaged_beginning_is_thrown_away() {
    let scratch = Scratch::new();
    let source = sample();
    let name = format!("sha256-{}", source.manifest.layers[1].digest.hex());
    let mut partial = scratch.store.blobs.ingest_dir().open_or_create_file(&name, 0o600).unwrap();
    std::io::Write::write_all(&mut partial, &[0; 10_000]).unwrap();
    drop(partial);
    scratch.pull(&source).unwrap();
    scratch.check();
}

#[test]
fn wrong_content_does_not_come_in() {
    type Lie = fn(&mut Memory);
    let cases: [(&str, &str, Lie); 7] = [
        ("wrong bytes", "has the digest", |m| {
            let digest = m.manifest.layers[0].digest.clone();
            m.blobs.get_mut(&digest).unwrap()[30] ^= 1;
        }),
        ("too short", "bytes instead of", |m| {
            let digest = m.manifest.layers[1].digest.clone();
            m.blobs.get_mut(&digest).unwrap().truncate(1000);
        }),
        ("size lies", "bytes that were promised", |m| {
            m.manifest.layers[1].size -= 1;
            m.reseal();
        }),
        ("layers swapped", "the configuration says", |m| {
            m.manifest.layers.swap(0, 1);
            m.reseal();
        }),
        ("a layer less", "the manifest has 1 layers", |m| {
            m.manifest.layers.pop();
            m.reseal();
        }),
        ("missing blob", "no such blob", |m| {
            let digest = m.manifest.layers[0].digest.clone();
            m.blobs.remove(&digest);
        }),
        ("manifest of the wrong type", "says that it is", |m| {
            let bytes = m.top.bytes.clone();
            m.serve(bytes, media_type::OCI_INDEX);
        }),
    ];
    for (name, complaint, lie) in cases {
        let scratch = Scratch::new();
        let mut source = sample();
        lie(&mut source);
        let error = scratch.pull(&source).expect_err(name).to_string();
        assert!(error.contains(complaint), "{name}: {error}");
        assert!(scratch.store.images().unwrap().is_empty(), "{name}");
        scratch.check();
        scratch.store.gc(&[]).unwrap();
        scratch.pull(&sample()).unwrap();
        scratch.check();
    }
}

#[test]
fn hostile_layers_do_not_come_in() {
    let scratch = Scratch::new();
    let cases = [
        Layer::new().link("x", "/nowhere"),
        Layer::new().symlink("", "/etc"),
        Layer::new().file(".wh..", ""),
    ];
    for layer in cases {
        let source = Memory::image(&[layer.tar()], Compression::Gzip);
        assert_eq!(scratch.pull(&source).unwrap_err().kind(), ErrorKind::Hostile);
        assert_eq!(scratch.ingest(), Vec::<String>::new());
        scratch.check();
    }
}

#[test]
fn many_pull_one_image_and_each_blob_comes_once() {
    let scratch = Scratch::new();
    let source = sample();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| scratch.pull(&source).unwrap());
        }
    });
    // Three blobs, and for each pull the configuration is read back from the store.
    assert_eq!(source.opened.load(Ordering::Relaxed), 3);
    assert_eq!(scratch.store.images().unwrap().len(), 1);
    scratch.check();
}

#[test]
fn one_layer_in_two_blobs_is_unpacked_once() {
    let scratch = Scratch::new();
    let tar = Layer::new().file("x", "y").tar();
    for compression in [Compression::Gzip, Compression::Zstd, Compression::None] {
        scratch.pull(&Memory::image(std::slice::from_ref(&tar), compression)).unwrap();
    }
    assert_eq!(scratch.store.layers.entries().unwrap().len(), 1);
    scratch.check();
}

#[test]
fn the_same_layer_on_other_layers_gets_a_twin() {
    let scratch = Scratch::new();
    let upper = Layer::new().file("d/x", "").tar();
    let mode_of_d = |mode: u32| {
        let lower = Layer::new().dir("d", mode).tar();
        let descriptor = scratch.pull(&Memory::image(&[lower, upper.clone()], Compression::Gzip)).unwrap();
        let image = scratch.store.image(&descriptor, &Platform::host()).unwrap();
        let top = scratch.store.snapshot(&image).unwrap().lower[0].clone();
        std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(top.join("d")).unwrap()) & 0o7777
    };
    assert_eq!((mode_of_d(0o711), mode_of_d(0o1770)), (0o711, 0o1770));
    scratch.check();
}

#[test]
fn uploads_arrive_in_pieces() {
    let scratch = Scratch::new();
    let digest = crate::verify::sha256(b"hello world");
    let held = Arc::new(scratch.store.share().unwrap());
    let mut upload = scratch.store.begin_upload(&held).unwrap();
    upload.append(&mut &b"hello "[..]).unwrap();
    let id = upload.id().to_owned();
    assert_eq!(scratch.store.resume_upload(&id, &held).unwrap_err().kind(), ErrorKind::Busy);
    drop(upload);
    let mut upload = scratch.store.resume_upload(&id, &held).unwrap();
    assert_eq!(upload.len(), 6);
    upload.append(&mut &b"world"[..]).unwrap();
    assert_eq!(upload.finish(&digest).unwrap(), 11);
    assert_eq!(scratch.store.blob_size(&digest).unwrap(), Some(11));
    for bad in [id.as_str(), "../../index", "", "zz"] {
        assert_eq!(
            scratch.store.resume_upload(bad, &held).unwrap_err().kind(),
            ErrorKind::NotFound,
            "{bad:?}"
        );
    }
    let mut upload = scratch.store.begin_upload(&held).unwrap();
    upload.append(&mut &b"other"[..]).unwrap();
    assert_eq!(upload.finish(&digest).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(scratch.ingest(), Vec::<String>::new());
    scratch.check();
}

#[test]
fn blobs_and_manifests_are_checked_on_their_own() {
    let scratch = Scratch::new();
    let source = sample();
    let layer = &source.manifest.layers[0];
    let bytes = &source.blobs[&layer.digest];
    let put = |descriptor: &Descriptor, mut bytes: &[u8]| scratch.store.put_blob(descriptor, &mut bytes);
    assert!(put(layer, &bytes[1..]).is_err());
    assert!(put(layer, &[bytes, &b"x"[..]].concat()).is_err());
    let error = scratch.store.put_manifest(&source.top).unwrap_err();
    assert!(error.to_string().contains("is not in the store"), "{error}");
    for descriptor in source.manifest.layers.iter().chain([&source.manifest.config]) {
        put(descriptor, &source.blobs[&descriptor.digest]).unwrap();
    }
    scratch.store.put_manifest(&source.top).unwrap();
    scratch.store.tag(NAME, &source.top.descriptor).unwrap();
    let image = scratch.store.image(&source.top.descriptor, &Platform::host()).unwrap();
    assert_eq!(scratch.store.snapshot(&image).unwrap().lower.len(), 2);
    scratch.check();
}

#[test]
fn stores_are_private_and_versioned() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    let path = scratch.store.path();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(Store::open_existing(&path.join("none")).unwrap_err().kind(), ErrorKind::NotFound);
    std::fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert_eq!(Store::open(path).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn a_layout_and_a_store_exchange_images() {
    use crate::layout::{LayoutName, LayoutSink, LayoutSource};
    let scratch = Scratch::new();
    scratch.pull(&sample()).unwrap();
    let name = LayoutName { path: scratch.store.path().join("../layout"), reference: Some("v1".into()) };
    let from = StoreSource::new(Arc::clone(&scratch.store), NAME);
    let sink = LayoutSink::open(&name).unwrap();
    let descriptor = copy(&from, &sink, &CopyOptions::default(), &Silent).unwrap();
    drop(sink);
    let back = LayoutSource::open(&name).unwrap();
    assert_eq!(back.resolve().unwrap().descriptor.digest, descriptor.digest);
    let other = Scratch::new();
    let sink = StoreSink::new(Arc::clone(&other.store), NAME).unwrap();
    let counting = Counting::default();
    assert_eq!(copy(&back, &sink, &CopyOptions::default(), &counting).unwrap().digest, descriptor.digest);
    assert_eq!(counting.existed.load(Ordering::Relaxed), 0);
    copy(&back, &sink, &CopyOptions::default(), &counting).unwrap();
    assert_eq!(counting.existed.load(Ordering::Relaxed), 3);
    drop(sink);
    other.check();
    scratch.check();
}
