// SPDX-License-Identifier: Apache-2.0
//! A cache in front of another registry: what it asks for, what it keeps, what it does when nobody answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use conex_image::transfer::{BlobReader, RawManifest, Source};
use conex_serve::{Error, ErrorKind, Result, ServeOptions, Upstream};
use conex_spec::Digest;
use conex_spec::image::Descriptor;

use crate::http::{MANIFEST, Registry, sha256};

const LAYER: &[u8] = b"the layer";

/// One image, and what happened to it.
#[derive(Default)]
struct There {
    requests: AtomicUsize,
    is_down: AtomicBool,
    lies: AtomicBool,
}

fn image() -> String {
    let (config, layer) = (sha256(b"{}"), sha256(LAYER));
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{config}","size":2}},
        "layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{layer}","size":{}}}]}}"#,
        LAYER.len()
    )
}

fn manifest() -> RawManifest {
    let bytes = image().into_bytes();
    RawManifest { descriptor: Descriptor::new(MANIFEST, sha256(&bytes), bytes.len() as u64), bytes }
}

/// A handle to it, for one image.
struct Remote(Arc<There>);

impl There {
    fn asked(&self) -> Result<()> {
        self.requests.fetch_add(1, SeqCst);
        match self.is_down.load(SeqCst) {
            true => Err(Error::new(ErrorKind::Unreachable, "connection refused")),
            false => Ok(()),
        }
    }
}

impl Upstream for Remote {
    fn source(&self, repository: &str, _reference: &str) -> Result<Box<dyn Source>> {
        match repository {
            "lib/app" => Ok(Box::new(Self(self.0.clone()))),
            _ => Err(Error::new(ErrorKind::NotFound, "no such repository")),
        }
    }

    fn head(&self, _repository: &str, _tag: &str) -> Result<Descriptor> {
        self.0.asked()?;
        Ok(manifest().descriptor)
    }

    fn referrers(&self, _repository: &str, digest: &Digest) -> Result<Vec<Descriptor>> {
        self.0.asked()?;
        Ok(vec![Descriptor::new(MANIFEST, digest.clone(), 7)])
    }

    fn tags(&self, _repository: &str) -> Result<Vec<String>> {
        self.0.asked()?;
        Ok(vec!["v2".to_owned(), "v1".to_owned()])
    }
}

impl Source for Remote {
    fn resolve(&self) -> Result<RawManifest> {
        self.0.asked()?;
        Ok(manifest())
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<RawManifest> {
        manifest().only(descriptor)
    }

    fn open_blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobReader> {
        self.0.asked()?;
        let bytes: &'static [u8] = if descriptor.digest == sha256(LAYER) { LAYER } else { b"{}" };
        let bytes = if self.0.lies.load(SeqCst) { &b"an other!"[..] } else { bytes };
        Ok(BlobReader { reader: Box::new(&bytes[usize::try_from(offset).unwrap()..]), offset })
    }

    fn describe(&self) -> String {
        "there".to_owned()
    }
}

fn cache(root: &std::path::Path, there: &Arc<There>) -> Registry {
    let upstream: Arc<dyn Upstream> = Arc::new(Remote(there.clone()));
    Registry::with(ServeOptions { upstream: Some(upstream), ..ServeOptions::new(root) })
}

#[test]
fn each_thing_is_asked_for_once_and_kept() {
    let (root, there) = (tempfile::tempdir().unwrap(), Arc::new(There::default()));
    let blob = format!("/v2/lib/app/blobs/{}", sha256(LAYER));
    {
        let registry = cache(root.path(), &there);
        assert_eq!(registry.get(&blob).status, 404, "no manifest names it yet: nobody is asked");
        assert_eq!(there.requests.load(SeqCst), 0);
        assert_eq!(registry.get("/v2/lib/app/manifests/v1").body, image().into_bytes());
        assert_eq!(registry.get(&blob).body, LAYER);
        assert_eq!(there.requests.load(SeqCst), 2);
        for _ in 0..3 {
            assert_eq!(registry.get("/v2/lib/app/manifests/v1").status, 200);
            assert_eq!(registry.get(&blob).body, LAYER);
        }
        assert_eq!(there.requests.load(SeqCst), 2, "all from here");
        assert_eq!(registry.get("/v2/lib/app/tags/list").json()["tags"], serde_json::json!(["v1", "v2"]));
        let referrers = registry.get(&format!("/v2/lib/app/referrers/{}", manifest().descriptor.digest));
        assert_eq!(referrers.json()["manifests"][0]["size"], 7, "those that are there");
        assert_eq!(registry.get("/v2/lib/other/manifests/v1").status, 404);
        assert_eq!(
            registry.send("POST", "/v2/lib/app/blobs/uploads/", &[], b"").status,
            405,
            "nobody pushes here"
        );
    }
    there.is_down.store(true, SeqCst);
    let registry = cache(root.path(), &there);
    assert_eq!(
        registry.get("/v2/lib/app/manifests/v1").body,
        image().into_bytes(),
        "nobody answers: what is here"
    );
    assert_eq!(registry.get(&blob).body, LAYER);
    assert_eq!(registry.get("/v2/lib/app/tags/list").json()["tags"], serde_json::json!(["v1"]));
    assert_eq!(registry.get("/v2/lib/app/manifests/v2").status, 502, "and what is not");
}

#[test]
fn nothing_false_is_kept_or_served() {
    let (root, there) = (tempfile::tempdir().unwrap(), Arc::new(There::default()));
    let registry = cache(root.path(), &there);
    assert_eq!(registry.get("/v2/lib/app/manifests/v1").status, 200);
    there.lies.store(true, SeqCst);
    let blob = format!("/v2/lib/app/blobs/{}", sha256(LAYER));
    assert_eq!(registry.get(&blob).status, 502);
    there.lies.store(false, SeqCst);
    assert_eq!(registry.get(&blob).body, LAYER);
}

#[test]
fn many_clients_ask_once() {
    let (root, there) = (tempfile::tempdir().unwrap(), Arc::new(There::default()));
    let registry = cache(root.path(), &there);
    assert_eq!(registry.get("/v2/lib/app/manifests/v1").status, 200);
    let blob = format!("/v2/lib/app/blobs/{}", sha256(LAYER));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert_eq!(registry.get(&blob).body, LAYER));
        }
    });
    assert_eq!(there.requests.load(SeqCst), 2);
}
