// SPDX-License-Identifier: Apache-2.0
//! The client and registries that are not of this project, or that are: the same walk through both.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::Read;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use conex_image::layout::{LayoutName, LayoutSink, LayoutSource};
use conex_image::transfer::{CopyOptions, Outcome, Progress, Select, Silent, Sink, Source, copy};
use conex_registry::{Client, Credentials, ErrorKind, Login, Remote, Settings};
use conex_serve::{ServeOptions, Server, Shutdown, TlsFiles};
use conex_spec::image::{Descriptor, Manifest};
use conex_testkit::require::program;
use conex_testkit::run::Run;
use conex_testkit::server::Registry;
use conex_testkit::tar::{directory, file};
use conex_testkit::{Image, Layer, Layout, Sandbox, needs};

fn image() -> Image {
    let noise: Vec<u8> = (0..400_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    Image::new(vec![Layer::new(&[directory("d"), file("d/noise", noise)]), Layer::new(&[file("x", "y")])])
}

fn named(layout: &Layout, name: &str) -> LayoutName {
    LayoutName::parse(&format!("{}:{name}", layout.path.display())).unwrap()
}

fn all() -> CopyOptions {
    CopyOptions { select: Select::All, ..CopyOptions::default() }
}

#[derive(Default)]
struct Heard(Mutex<Vec<Outcome>>);

impl Progress for Heard {
    fn finish(&self, _blob: &Descriptor, outcome: Outcome) {
        self.0.lock().unwrap().push(outcome);
    }
}

/// Push, look, pull, pull from the middle, mount, delete: whatever the registry.
fn walk(sandbox: &Sandbox, host: &str) -> Remote {
    let client = Client::new(Settings::new("conex-test"));
    let remote = |text: &str| client.remote(&format!("{host}/{text}").parse().unwrap());
    let made = sandbox.layout("layout");
    made.add("one", &image());
    made.add_index(
        "multi",
        &[("amd64", image()), ("arm64", Image::new(vec![Layer::new(&[file("arm", "64")])]))],
    );

    let source = LayoutSource::open(&named(&made, "one")).unwrap();
    let pushed = copy(&source, &remote("team/app:1"), &all(), &Silent).unwrap();
    let head = remote("team/app:1").head().unwrap();
    assert_eq!(
        (head.digest, head.size, head.media_type),
        (pushed.digest.clone(), pushed.size, pushed.media_type)
    );
    let heard = Heard::default();
    copy(&source, &remote("team/app:2"), &all(), &heard).unwrap();
    assert!(
        heard.0.into_inner().unwrap().iter().all(|outcome| *outcome == Outcome::Exists),
        "no blob is sent twice"
    );
    let mut tags = remote("team/app").tags().unwrap();
    tags.sort();
    assert_eq!(tags, ["1", "2"]);

    let multi = LayoutSource::open(&named(&made, "multi")).unwrap();
    let index = copy(&multi, &remote("team/multi:latest"), &all(), &Silent).unwrap();
    let back = LayoutSink::open(&named(&made, "back")).unwrap();
    assert_eq!(copy(&remote("team/multi"), &back, &all(), &Silent).unwrap().digest, index.digest);

    let raw = remote(&format!("team/app@{}", pushed.digest)).resolve().unwrap();
    let manifest: Manifest = serde_json::from_slice(&raw.bytes).unwrap();
    let layer = &manifest.layers[0];
    let mut whole = Vec::new();
    remote("team/app:1").open_blob(layer, 0).unwrap().reader.read_to_end(&mut whole).unwrap();
    let mut part = remote("team/app:1").open_blob(layer, 1000).unwrap();
    let mut rest = Vec::new();
    part.reader.read_to_end(&mut rest).unwrap();
    assert_eq!((part.offset, rest.as_slice()), (1000, &whole[1000..]));

    let heard = Heard::default();
    copy(&remote("team/app:1"), &remote("other/app:1"), &all(), &heard).unwrap();
    let outcomes = heard.0.into_inner().unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Mounted), "{outcomes:?}");

    assert_eq!(remote("team/app:none").resolve().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(remote("no/such").tags().unwrap_err().kind(), ErrorKind::NotFound);
    remote(&format!("other/app@{}", pushed.digest)).delete().unwrap();
    assert_eq!(remote("other/app:1").head().unwrap_err().kind(), ErrorKind::NotFound);
    remote("team/app:1")
}

/// Pushes something that refers to `subject`, and finds it again.
fn attach(remote: &Remote) {
    let subject = remote.head().unwrap();
    let raw = remote.resolve().unwrap();
    let text = String::from_utf8(raw.bytes).unwrap();
    let subject_json = serde_json::to_string(&subject).unwrap();
    let referrer =
        text.replacen('{', &format!(r#"{{"artifactType":"app/sbom","subject":{subject_json},"#), 1);
    let manifest = conex_image::manifest::verified(referrer.into_bytes(), &subject.media_type, None).unwrap();
    Sink::put_manifest(remote, &manifest).unwrap();
    let found = remote.referrers(&subject.digest, Some("app/sbom")).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].digest, manifest.descriptor.digest);
    assert!(remote.referrers(&subject.digest, Some("other")).unwrap().is_empty());
}

#[test]
fn debians_docker_registry() {
    needs!(program("docker-registry"));
    let sandbox = Sandbox::new();
    let registry = needs!(Registry::debian(&sandbox));
    let remote = walk(&sandbox, &registry.address);
    attach(&remote);
    assert!(remote.tags().unwrap().iter().any(|tag| tag.starts_with("sha256-")), "kept by the fallback tag");
    // It deletes by digest only.
    remote.delete_tag().unwrap();
    assert_eq!(remote.head().unwrap_err().kind(), ErrorKind::NotFound);
    assert!(remote.tags().unwrap().contains(&"2".to_owned()), "the image keeps its other tags");
    assert_eq!(remote.delete_tag().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(remote.delete().unwrap_err().kind(), ErrorKind::NotFound);
}

/// The project's own, in a thread.
struct Own {
    address: String,
    shutdown: Shutdown,
    thread: Option<JoinHandle<conex_serve::Result<()>>>,
}

impl Own {
    fn start(options: ServeOptions) -> Self {
        let server = Server::bind("127.0.0.1:0", options).unwrap();
        let (address, shutdown) = (server.local_addr().unwrap().to_string(), server.shutdown());
        Self { address, shutdown, thread: Some(std::thread::spawn(move || server.run())) }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.shutdown.trigger();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }
}

#[test]
fn the_projects_own() {
    let sandbox = Sandbox::new();
    let registry = Own::start(ServeOptions::new(sandbox.path("registry")));
    let remote = walk(&sandbox, &registry.address);
    attach(&remote);
    assert_eq!(remote.tags().unwrap(), ["1", "2"], "no fallback tag where there is the API");
    remote.delete_tag().unwrap();
    assert_eq!(remote.tags().unwrap(), ["2"]);
    drop(registry);
    let store = conex_image::store::Store::open(&sandbox.path("registry")).unwrap();
    let report = conex_image::fsck::fsck(&store, conex_image::fsck::FsckOptions::default()).unwrap();
    assert!(report.is_clean(), "{report:?}");
}

/// A certificate for 127.0.0.1 that is its own authority, below `certs.d/<host>` once the host is known.
fn certificate(sandbox: &Sandbox) -> TlsFiles {
    let (key, certificate) = (sandbox.path("tls.key"), sandbox.path("tls.crt"));
    let mut openssl = sandbox.command("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]);
    openssl.args([
        "-subj",
        "/CN=test",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ]);
    openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate).run().success();
    TlsFiles { certificate, key }
}

struct Password(&'static str);

impl Credentials for Password {
    fn find(&self, _host: &str, _name: &str) -> conex_registry::Result<Option<Login>> {
        Ok(Some(Login::Basic { user: "me".to_owned(), password: self.0.to_owned() }))
    }
}

#[test]
fn the_projects_own_with_tls_and_a_password() {
    needs!(program("openssl"));
    let sandbox = Sandbox::new();
    let tls = certificate(&sandbox);
    let registry = Own::start(ServeOptions {
        tls: Some(tls.clone()),
        htpasswd: Some(format!("me:{}", bcrypt::hash("secret", 4).unwrap())),
        ..ServeOptions::new(sandbox.path("registry"))
    });
    let certs = sandbox.path("certs.d");
    std::fs::create_dir_all(certs.join(&registry.address)).unwrap();
    std::fs::copy(&tls.certificate, certs.join(&registry.address).join("ca.crt")).unwrap();
    let remote = |password, certs_dirs| {
        let mut settings = Settings::new("conex-test");
        settings.tls.certs_dirs = certs_dirs;
        settings.credentials = Arc::new(Password(password));
        Client::new(settings).remote(&format!("{}/app:1", registry.address).parse().unwrap())
    };
    let made = sandbox.layout("layout");
    made.add("one", &image());
    let source = LayoutSource::open(&named(&made, "one")).unwrap();
    copy(&source, &remote("secret", vec![certs.clone()]), &all(), &Silent).unwrap();
    remote("secret", vec![certs.clone()]).resolve().unwrap();
    let wrong = remote("guess", vec![certs]).resolve().unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::Denied, "{wrong}");
    let strange = remote("secret", vec![]).resolve().unwrap_err();
    assert!(strange.to_string().contains("certificate"), "{strange}");
}
