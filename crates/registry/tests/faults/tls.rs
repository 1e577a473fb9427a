// SPDX-License-Identifier: Apache-2.0
//! Certificates: good, unknown, expired, for another name, and a client's own. Made by `openssl`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use conex_image::transfer::Source;
use conex_registry::{ErrorKind, Settings};
use conex_testkit::needs;
use conex_testkit::require::{Requirement, program};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

use crate::image::{Image, hasty, pull, remote_with};
use crate::server::{Reply, Server, Spoil};

/// A directory with an authority and what it signs.
struct Authority {
    directory: tempfile::TempDir,
}

impl Authority {
    fn new() -> Requirement<Self> {
        program("openssl")?;
        let made = Self { directory: tempfile::tempdir().unwrap() };
        made.openssl(
            &["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"],
            &["-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.crt"],
        );
        Ok(made)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn openssl(&self, first: &[&str], rest: &[&str]) {
        let done = Command::new("openssl")
            .args(first)
            .args(rest)
            .current_dir(self.directory.path())
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// Signs `<name>.crt` for an address, `days` from now.
    fn sign(&self, name: &str, alternative: &str, days: &str) {
        std::fs::write(self.path("ext"), format!("subjectAltName={alternative}\n")).unwrap();
        let (key, request, certificate) =
            (format!("{name}.key"), format!("{name}.csr"), format!("{name}.crt"));
        self.openssl(
            &["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"],
            &["-keyout", &key, "-out", &request],
        );
        self.openssl(
            &["x509", "-req", "-in", &request, "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"],
            &["-days", days, "-extfile", "ext", "-out", &certificate],
        );
    }

    fn server_config(&self, name: &str, wants_client: bool) -> Arc<rustls::ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = vec![certificate(&self.path(&format!("{name}.crt")))];
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
        let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if wants_client {
            let mut roots = RootCertStore::empty();
            roots.add(certificate(&self.path("ca.crt"))).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        Arc::new(builder.with_single_cert(chain, key).unwrap())
    }

    /// Settings with `certs.d/<host>/ca.crt`.
    fn trusting(&self, host: &str) -> Settings {
        let directory = self.path("certs.d").join(host);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::copy(self.path("ca.crt"), directory.join("ca.crt")).unwrap();
        let mut settings = hasty();
        settings.tls.certs_dirs = vec![self.path("certs.d")];
        settings
    }
}

fn certificate(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).unwrap()
}

fn serve(authority: &Authority, name: &str, wants_client: bool) -> (Server, Image) {
    let image = Image::new();
    let own = image.clone();
    (Server::start_tls(authority.server_config(name, wants_client), move |seen| own.reply(seen)), image)
}

#[test]
fn an_authority_in_certs_d_is_trusted_and_no_other() {
    let authority = needs!(Authority::new());
    authority.sign("server", "IP:127.0.0.1", "2");
    let (server, image) = serve(&authority, "server", false);
    pull(&remote_with(authority.trusting(&server.host()), &server.host()), &image).unwrap();
    let error = remote_with(hasty(), &server.host()).resolve().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(error.to_string().contains("signed by an unknown authority"), "{error}");
    assert!(error.hint().unwrap().contains("certs.d"), "{error}");
}

#[test]
fn expired_and_misnamed_certificates_are_refused() {
    let authority = needs!(Authority::new());
    authority.sign("other", "DNS:other.example", "2");
    let (server, _) = serve(&authority, "other", false);
    let error = remote_with(authority.trusting(&server.host()), &server.host()).resolve().unwrap_err();
    assert!(error.to_string().contains("made for another host than 127.0.0.1"), "{error}");
    authority.sign("old", "IP:127.0.0.1", "-1");
    let (server, _) = serve(&authority, "old", false);
    let error = remote_with(authority.trusting(&server.host()), &server.host()).resolve().unwrap_err();
    assert!(error.to_string().contains("expired"), "{error}");
    assert_eq!(server.seen().len(), 0, "no request before the certificate is good");
}

#[test]
fn a_host_marked_insecure_needs_no_certificate() {
    let authority = needs!(Authority::new());
    authority.sign("server", "DNS:other.example", "2");
    let (server, image) = serve(&authority, "server", false);
    let mut settings = hasty();
    settings.tls.verify = Some(false);
    pull(&remote_with(settings, &server.host()), &image).unwrap();
    let mut settings = hasty();
    settings
        .registries
        .add(&format!("[[registry]]\nlocation = \"{}\"\ninsecure = true", server.host()))
        .unwrap();
    pull(&remote_with(settings, &server.host()), &image).unwrap();
}

#[test]
fn a_client_certificate_is_shown_where_wanted() {
    let authority = needs!(Authority::new());
    authority.sign("server", "IP:127.0.0.1", "2");
    authority.sign("client", "DNS:me", "2");
    let (server, image) = serve(&authority, "server", true);
    let settings = authority.trusting(&server.host());
    assert!(remote_with(settings.clone(), &server.host()).resolve().is_err(), "without one");
    let directory = authority.path("certs.d").join(server.host());
    std::fs::copy(authority.path("client.crt"), directory.join("client.cert")).unwrap();
    std::fs::copy(authority.path("client.key"), directory.join("client.key")).unwrap();
    pull(&remote_with(settings, &server.host()), &image).unwrap();
}

#[test]
fn plain_http_is_for_loopback_or_by_wish() {
    let image = Image::new();
    let own = image.clone();
    let server = Server::start(move |seen| own.reply(seen));
    pull(&remote_with(hasty(), &server.host()), &image).unwrap();
    let mut strict = hasty();
    strict.tls.verify = Some(true);
    let error = remote_with(strict, &server.host()).resolve().unwrap_err();
    assert!(error.to_string().contains("server gave HTTP response to HTTPS client"), "{error}");
    let hint = error.hint().unwrap();
    assert!(hint.contains("--tls-verify=false") && hint.contains("insecure = true"), "{hint}");
}

#[test]
fn an_end_without_farewell_is_no_end() {
    let authority = needs!(Authority::new());
    authority.sign("server", "IP:127.0.0.1", "2");
    let image = Image::new();
    let own = image.clone();
    // The scripted server never says goodbye in TLS: a cut looks like an end to whoever trusts the connection.
    let server = Server::start_tls(authority.server_config("server", false), move |seen| {
        let reply = own.reply(seen);
        let cut = seen.target.contains("/blobs/") && seen.before == 0;
        if cut { reply.header("content-length", "none").spoil(Spoil::Cut(1000)) } else { reply }
    });
    pull(&remote_with(authority.trusting(&server.host()), &server.host()), &image).unwrap();
    assert_eq!(server.seen().last().unwrap().range(), Some(1000));
}

#[test]
fn tls_never_leads_to_plain_http() {
    let authority = needs!(Authority::new());
    authority.sign("server", "IP:127.0.0.1", "2");
    let plain = Server::start(|_| Reply::new(200, ""));
    let elsewhere = plain.host();
    let server = Server::start_tls(authority.server_config("server", false), move |seen| {
        if seen.target.contains("/manifests/") {
            return Reply::new(307, "").header("location", format!("http://{elsewhere}/x"));
        }
        let realm = format!("Bearer realm=\"http://{elsewhere}/token\"");
        Reply::new(401, "").header("www-authenticate", realm)
    });
    let remote = remote_with(authority.trusting(&server.host()), &server.host());
    let error = remote.resolve().unwrap_err();
    assert!(error.to_string().contains("from https to http://"), "{error}");
    let error = remote.tags().unwrap_err();
    assert!(error.to_string().contains("is not https"), "{error}");
    assert_eq!(plain.seen().len(), 0);
}
