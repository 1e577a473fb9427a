// SPDX-License-Identifier: Apache-2.0
//! Layers that were made here, from the directory to every place that asks for their bytes.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use conex_spec::image::{Manifest, Platform};

use super::*;
use crate::fsck::{Class, FsckOptions, Report, fsck};
use crate::layout::{LayoutName, LayoutSink, LayoutSource};
use crate::manifest::verified;
use crate::mutate::{Draft, NewLayer};
use crate::store::{StoreSink, StoreSource};
use crate::transfer::{self, CopyOptions, Form, LayerForm, Silent};

const NAME: &str = "localhost/made:1";

struct Scratch {
    dir: tempfile::TempDir,
    store: Arc<Store>,
}

impl Scratch {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&dir.path().join("store")).unwrap());
        Self { dir, store }
    }

    /// A directory with something of everything that needs no rights.
    fn written(&self, name: &str) -> PathBuf {
        let path = self.store.path().join(name);
        let diff = path.join("diff");
        std::fs::create_dir_all(diff.join("etc")).unwrap();
        std::fs::write(diff.join("etc/big"), vec![7; 300_000]).unwrap();
        std::fs::hard_link(diff.join("etc/big"), diff.join("etc/same")).unwrap();
        symlink("big", diff.join("etc/link")).unwrap();
        path
    }

    fn make(&self) -> Made {
        let path = self.written("work");
        let made = self.store.describe_layer(&path, Times::All(5)).unwrap();
        self.store.adopt_layer(&path, &made).unwrap();
        assert!(!path.exists(), "it is the layer now");
        made
    }

    /// An image of this one layer.
    fn name(&self, made: &Made) -> Descriptor {
        let mut draft = Draft::new(&Platform::host(), "2020-01-01T00:00:00Z".parse().unwrap());
        let layer = NewLayer { descriptor: made.descriptor(), diff_id: made.diff_id.clone() };
        draft.append(layer, None);
        let config = serde_json::to_vec(&draft.config).unwrap();
        let mut manifest: Manifest = draft.manifest;
        manifest.config =
            Descriptor::new(media_type::OCI_CONFIG, verify::sha256(&config), config.len() as u64);
        self.store.put_blob(&manifest.config, &mut &config[..]).unwrap();
        let raw = verified(serde_json::to_vec(&manifest).unwrap(), media_type::OCI_MANIFEST, None).unwrap();
        self.store.put_manifest(&raw).unwrap();
        self.store.tag(NAME, &raw.descriptor).unwrap();
        raw.descriptor
    }

    fn fsck(&self) -> Report {
        fsck(&self.store, FsckOptions::default()).unwrap()
    }

    fn blob(&self, made: &Made) -> PathBuf {
        self.store.path().join("blobs/sha256").join(made.diff_id.0.hex())
    }
}

#[test]
fn a_directory_becomes_a_layer_and_no_blob() {
    let scratch = Scratch::new();
    let made = scratch.make();
    let descriptor = scratch.name(&made);
    assert!(!scratch.blob(&made).exists());
    assert_eq!(scratch.store.blob_size(&made.diff_id.0).unwrap(), Some(made.size));
    let image = scratch.store.image(&descriptor, &Platform::host()).unwrap();
    let snapshot = scratch.store.snapshot(&image).unwrap();
    assert_eq!(snapshot.lower, [scratch.store.made_layer(&made.diff_id)]);
    let report = scratch.fsck();
    assert!(report.is_clean() && report.garbage.is_empty(), "{report:?}");
    assert_eq!(scratch.store.gc(&[]).unwrap(), crate::store::GcReport::default());
    assert!(!scratch.blob(&made).exists());
}

#[test]
fn its_bytes_are_made_for_those_who_ask() {
    let scratch = Scratch::new();
    let made = scratch.make();
    scratch.name(&made);
    let source = StoreSource::new(scratch.store.clone(), NAME);
    for (name, layers) in [("plain", None), ("packed", Some(LayerForm::Packed))] {
        let layout = LayoutName { path: scratch.dir.path().join(name), reference: Some("x".to_owned()) };
        let sink = LayoutSink::open(&layout).unwrap();
        let form = Form { layers, ..Form::default() };
        let options = CopyOptions { form, ..CopyOptions::default() };
        transfer::copy(&source, &sink, &options, &Silent).unwrap();
        assert!(!scratch.blob(&made).exists(), "a stream leaves nothing");
        // Elsewhere it is a layer as any other.
        let other = Arc::new(Store::open(&scratch.dir.path().join(format!("{name}-store"))).unwrap());
        let sink = StoreSink::new(other.clone(), NAME).unwrap();
        let options = CopyOptions::default();
        transfer::copy(&LayoutSource::open(&layout).unwrap(), &sink, &options, &Silent).unwrap();
        assert!(other.has_layer(&made.diff_id).unwrap());
        assert!(fsck(&other, FsckOptions::default()).unwrap().is_clean());
    }
    let mut file = scratch.store.open_blob(&made.diff_id.0).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    assert_eq!(verify::sha256(&bytes), made.diff_id.0);
    assert!(scratch.blob(&made).exists(), "who needs a file makes it a blob");
    assert!(scratch.fsck().is_clean());
}

#[test]
fn equal_files_are_one_layer() {
    let scratch = Scratch::new();
    let made = scratch.make();
    let again = scratch.written("again");
    assert_eq!(scratch.store.describe_layer(&again, Times::All(5)).unwrap(), made);
    scratch.store.adopt_layer(&again, &made).unwrap();
    assert!(again.join("diff").exists(), "left to the caller");
    let other = scratch.store.describe_layer(&again, Times::All(6)).unwrap();
    assert_ne!(other.diff_id, made.diff_id, "times count");
}

#[test]
fn a_layer_that_came_from_a_blob_and_is_made_again_has_its_archive() {
    let scratch = Scratch::new();
    let made = scratch.make();
    scratch.name(&made);
    let layout = LayoutName { path: scratch.dir.path().join("layout"), reference: Some("x".to_owned()) };
    let form = Form { layers: Some(LayerForm::Packed), ..Form::default() };
    let options = CopyOptions { form, ..CopyOptions::default() };
    let source = StoreSource::new(scratch.store.clone(), NAME);
    transfer::copy(&source, &LayoutSink::open(&layout).unwrap(), &options, &Silent).unwrap();
    let store = Arc::new(Store::open(&scratch.dir.path().join("other")).unwrap());
    let sink = StoreSink::new(store.clone(), NAME).unwrap();
    transfer::copy(&LayoutSource::open(&layout).unwrap(), &sink, &CopyOptions::default(), &Silent).unwrap();
    drop(sink);
    let other = Scratch { dir: scratch.dir, store };
    let again = other.written("again");
    let found = other.store.describe_layer(&again, Times::All(5)).unwrap();
    assert_eq!(found, made);
    assert_eq!(other.store.blob_size(&made.diff_id.0).unwrap(), None);
    other.store.adopt_layer(&again, &made).unwrap();
    assert_eq!(other.store.blob_size(&made.diff_id.0).unwrap(), Some(made.size));
    assert!(other.fsck().is_clean());
}

#[test]
fn a_damaged_layer_is_found_and_never_sent() {
    let scratch = Scratch::new();
    let made = scratch.make();
    scratch.name(&made);
    std::fs::write(scratch.store.made_layer(&made.diff_id).join("etc/big"), "other").unwrap();
    assert!(scratch.store.open_blob(&made.diff_id.0).is_err());
    let layout = LayoutName { path: scratch.dir.path().join("layout"), reference: Some("x".to_owned()) };
    let source = StoreSource::new(scratch.store.clone(), NAME);
    let sink = LayoutSink::open(&layout).unwrap();
    transfer::copy(&source, &sink, &CopyOptions::default(), &Silent).unwrap_err();
    let report = scratch.fsck();
    let classes: Vec<Class> = report.violations.iter().map(|violation| violation.class).collect();
    assert_eq!(classes, [Class::LayerContent, Class::Missing], "{report:?}");
    let repaired = fsck(&scratch.store, FsckOptions { repair: true }).unwrap();
    assert!(repaired.violations.iter().all(|violation| violation.repaired));
    assert!(scratch.fsck().is_clean());
}

#[test]
fn gc_takes_what_nothing_keeps() {
    let scratch = Scratch::new();
    let made = scratch.make();
    let keep = [made.diff_id.0.clone()];
    assert_eq!(scratch.store.gc(&keep).unwrap().layers, 0);
    assert_eq!(scratch.store.gc(&[]).unwrap().layers, 1);
    assert!(!scratch.store.made_layer(&made.diff_id).exists());
    assert!(scratch.store.describe_layer(Path::new("/nowhere"), Times::Kept).is_err());
}
