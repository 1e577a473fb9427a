// SPDX-License-Identifier: Apache-2.0
//! What to serve and how: plain data, filled in by whoever starts a server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use conex_spec::Digest;

use crate::{Error, Result, Upstream};

/// What to serve and how. Start from [`ServeOptions::new`] and set what differs.
#[derive(Clone)]
pub struct ServeOptions {
    /// The layout directory; made where it is missing. A conex store is one.
    pub root: PathBuf,
    /// Refuse every request that would change something.
    pub read_only: bool,
    /// Speak TLS only.
    pub tls: Option<TlsFiles>,
    /// What clients call this server, if it is not what they connect to: `https://registry.example`.
    pub address: Option<String>,
    /// Contents of an htpasswd file with bcrypt hashes: everyone must log in.
    pub htpasswd: Option<String>,
    /// Contents of a file of rights (docs/formats/registry.md): who may do what in which repositories. Without one,
    /// whoever is let in may do everything.
    pub rights: Option<String>,
    /// What one client may cost.
    pub limits: Limits,
    /// Remove what nothing leads to, now and then.
    pub gc: Option<Gc>,
    /// Ask this registry for what is missing here.
    pub upstream: Option<Arc<dyn Upstream>>,
    /// Count, and answer `/metrics`.
    pub metrics: bool,
    /// Hears of every answered request. Called from several threads.
    pub on_access: Option<OnAccess>,
    /// Hears of what goes wrong beside requests.
    pub on_problem: Option<OnProblem>,
}

impl ServeOptions {
    /// Plain HTTP, open to all, writable, without limits.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            read_only: false,
            tls: None,
            address: None,
            htpasswd: None,
            rights: None,
            limits: Limits::default(),
            gc: None,
            upstream: None,
            metrics: false,
            on_access: None,
            on_problem: None,
        }
    }
}

/// PEM files.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, then its intermediates.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What is refused beyond; `None` is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Bytes of one blob.
    pub blob: Option<u64>,
    /// Uploads that were begun and not ended.
    pub uploads: Option<usize>,
    /// Open connections; more wait to be accepted.
    pub connections: Option<usize>,
    /// Requests of one address in a second.
    pub requests: Option<u32>,
}

/// Garbage collection while requests are answered.
#[derive(Clone)]
pub struct Gc {
    /// From one to the next.
    pub every: Duration,
    /// A blob that no manifest names yet, and an upload that stands still, are kept for so long.
    pub grace: Duration,
    /// Names the manifests that are kept without a name, as those of containers.
    pub keep: Option<Arc<dyn Fn() -> Result<Vec<Digest>> + Send + Sync>>,
}

/// Hears of every answered request.
pub type OnAccess = Arc<dyn Fn(&Access) + Send + Sync>;

/// Hears of what goes wrong beside requests.
pub type OnProblem = Arc<dyn Fn(&Error) + Send + Sync>;

/// One answered request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Who asked.
    pub peer: SocketAddr,
    /// `GET`, …
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// The answer's status.
    pub status: u16,
    /// Bytes of the answer's body, where known.
    pub bytes: Option<u64>,
    /// What went wrong inside the registry; the client was not told.
    pub cause: Option<String>,
}
