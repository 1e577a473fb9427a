// SPDX-License-Identifier: Apache-2.0
//! The listening side: socket, TLS, connections, orderly end.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use crate::{Error, ErrorKind, Result};

/// What to serve and how. Start from [`ServeOptions::new`] and set what differs.
#[derive(Clone)]
pub struct ServeOptions {
    /// The layout directory; made where it is missing. A conex store is one.
    pub root: PathBuf,
    /// Refuse every request that would change something.
    pub read_only: bool,
    /// Speak TLS only.
    pub tls: Option<TlsFiles>,
    /// Contents of an htpasswd file with bcrypt hashes: everyone must log in.
    pub htpasswd: Option<String>,
    /// Hears of every answered request. Called from several threads.
    pub on_access: Option<OnAccess>,
}

impl ServeOptions {
    /// Plain HTTP, open to all, writable.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), read_only: false, tls: None, htpasswd: None, on_access: None }
    }
}

/// Hears of every answered request.
pub type OnAccess = Arc<dyn Fn(&Access) + Send + Sync>;

/// PEM files.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, then its intermediates.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

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
    /// `Content-Length` of the answer, where it has one.
    pub bytes: Option<u64>,
}

/// A registry with its socket open.
pub struct Server {
    listener: TcpListener,
    #[expect(dead_code, reason = "skeleton")]
    options: ServeOptions,
}

/// Ends a running server.
#[derive(Clone, Debug)]
pub struct Shutdown {
    #[expect(dead_code, reason = "skeleton")]
    sender: Arc<tokio::sync::watch::Sender<bool>>,
}

impl Shutdown {
    /// Accept nothing more, let running requests end (for ten seconds), then return from [`Server::run`].
    pub fn trigger(&self) {}
}

impl Server {
    /// Opens the socket and the directory. `address`: `127.0.0.1:5000`, `[::]:0`, …
    pub fn bind(address: &str, options: ServeOptions) -> Result<Self> {
        let listener = TcpListener::bind(address)
            .map_err(|error| Error::new(ErrorKind::Os, format!("listen on {address}: {error}")))?;
        Ok(Self { listener, options })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// A handle that ends [`run`](Self::run).
    pub fn shutdown(&self) -> Shutdown {
        Shutdown { sender: Arc::new(tokio::sync::watch::channel(false).0) }
    }

    /// Serves until [`Shutdown::trigger`]. Blocks; starts its own threads.
    pub fn run(self) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "registry server: not there yet"))
    }
}
