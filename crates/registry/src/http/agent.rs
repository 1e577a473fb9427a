// SPDX-License-Identifier: Apache-2.0
//! Connections: one pool per origin, with that origin's certificates and proxy.

use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use ureq::Agent;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use super::Origin;
use super::url::is_loopback;
use crate::config::HostCertificates;
use crate::settings::lock;
use crate::{Error, ErrorKind, Result, Settings};

/// Most bytes of headers in an answer.
const HEADER_CAP: usize = 64 * 1024;

/// Whether a host must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Trust {
    /// TLS with a certificate that verifies.
    Verified,
    /// The same, but plain HTTP will do where the host speaks no TLS: loopback.
    Local,
    /// Anything: marked insecure.
    Anything,
}

impl Trust {
    /// `verify` is the flag that overrides everything, `insecure` what registries.conf says.
    pub(crate) fn of(host: &str, insecure: bool, verify: Option<bool>) -> Self {
        match verify {
            Some(false) => Self::Anything,
            Some(true) => Self::Verified,
            None if insecure => Self::Anything,
            None if is_loopback(host) => Self::Local,
            None => Self::Verified,
        }
    }
}

/// All pools of a client.
#[derive(Debug, Default)]
pub(crate) struct Agents {
    pools: Mutex<HashMap<(Origin, Trust), Agent>>,
    system_roots: OnceLock<Vec<Certificate<'static>>>,
}

impl Agents {
    /// The pool for `origin`. `settings` are the same on every call.
    pub(crate) fn get(&self, origin: &Origin, trust: Trust, settings: &Settings) -> Result<Agent> {
        let key = (origin.clone(), trust);
        if let Some(agent) = lock(&self.pools).get(&key) {
            return Ok(agent.clone());
        }
        let agent = self.build(origin, trust, settings)?;
        Ok(lock(&self.pools).entry(key).or_insert(agent).clone())
    }

    fn build(&self, origin: &Origin, trust: Trust, settings: &Settings) -> Result<Agent> {
        let patience = &settings.patience;
        // To look a name up within a time takes a thread; an address needs none.
        let is_address = origin.host.parse::<IpAddr>().is_ok();
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(settings.user_agent.as_str())
            .accept_encoding("identity")
            .max_response_header_size(HEADER_CAP)
            .max_idle_connections(64)
            .max_idle_connections_per_host(16)
            .timeout_connect(Some(patience.connect))
            .timeout_resolve((!is_address).then_some(patience.connect))
            .timeout_recv_response(Some(patience.answer))
            .timeout_per_read(Some(patience.stall))
            .timeout_per_write(Some(patience.stall))
            .proxy(proxy(origin, settings)?);
        if origin.tls {
            config = config.tls_config(self.tls(origin, trust, settings)?);
        }
        Ok(Agent::new_with_config(config.build()))
    }

    fn tls(&self, origin: &Origin, trust: Trust, settings: &Settings) -> Result<TlsConfig> {
        let mut files = HostCertificates::of_host(&settings.tls.certs_dirs, &origin.authority())?;
        if let Some(directory) = &settings.tls.cert_dir {
            files.add_directory(directory)?;
        }
        let mut builder = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .disable_verification(trust == Trust::Anything);
        if trust != Trust::Anything {
            let mut roots = self.system_roots().clone();
            for path in &files.authorities {
                roots.extend(certificates(path)?);
            }
            // Without any file of the host's, the authorities compiled in.
            let roots =
                if roots.is_empty() { RootCerts::WebPki } else { RootCerts::Specific(Arc::new(roots)) };
            builder = builder.root_certs(roots);
        }
        if let Some((certificate, key)) = &files.client {
            let key = PrivateKey::from_pem(&read(key)?).map_err(|error| bad(key, &error.to_string()))?;
            let chain = certificates(certificate)?;
            builder = builder.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
        }
        Ok(builder.build())
    }

    /// The host's authorities. Read once, when first needed.
    fn system_roots(&self) -> &Vec<Certificate<'static>> {
        self.system_roots.get_or_init(|| {
            let native = rustls_native_certs::load_native_certs().certs;
            native.iter().map(|der| Certificate::from_der(der).to_owned()).collect()
        })
    }
}

fn proxy(origin: &Origin, settings: &Settings) -> Result<Option<ureq::Proxy>> {
    let wanted = if origin.tls { &settings.proxy.https } else { &settings.proxy.http };
    let Some(address) = wanted.as_deref().filter(|address| !address.is_empty()) else { return Ok(None) };
    if is_loopback(&origin.host) || settings.proxy.exempts(&origin.host, origin.port) {
        return Ok(None);
    }
    ureq::Proxy::new(address)
        .map(Some)
        .map_err(|error| Error::new(ErrorKind::Usage, format!("proxy for {}: {error}", origin.host)))
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let pem = read(path)?;
    let mut found = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| bad(path, &error.to_string()))? {
            found.push(certificate);
        }
    }
    if found.is_empty() {
        return Err(bad(path, "no certificate in it"));
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| bad(path, &error.to_string()))
}

fn bad(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::Usage, format!("{}: {what}", path.display()))
}
