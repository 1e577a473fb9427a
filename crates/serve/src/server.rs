// SPDX-License-Identifier: Apache-2.0
//! The listening side: socket, TLS, connections, orderly end.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::answer::{Answer, Cause, Refusal};
use crate::body::blocking;
use crate::login::Logins;
use crate::storage::Storage;
use crate::{Error, ErrorKind, Result, api};

/// Longest wait for a request's headers, and for a TLS handshake.
const HEADERS: Duration = Duration::from_secs(30);
/// How long running requests may go on after the end was asked for.
const FAREWELL: Duration = Duration::from_secs(10);

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
    /// Bytes of the answer's body, where known.
    pub bytes: Option<u64>,
    /// What went wrong inside the registry; the client was not told.
    pub cause: Option<String>,
}

/// A registry with its socket open.
pub struct Server {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    stop: watch::Sender<bool>,
    service: Arc<Service>,
}

/// What all connections share.
struct Service {
    storage: Arc<Storage>,
    read_only: bool,
    logins: Option<Arc<Logins>>,
    on_access: Option<OnAccess>,
}

/// Ends a running server.
#[derive(Clone, Debug)]
pub struct Shutdown {
    stop: watch::Sender<bool>,
}

impl Shutdown {
    /// Accept nothing more, let running requests end (for ten seconds), then return from [`Server::run`].
    pub fn trigger(&self) {
        self.stop.send_replace(true);
    }
}

impl Server {
    /// Opens the socket and the directory. `address`: `127.0.0.1:5000`, `[::]:0`, …
    pub fn bind(address: &str, options: ServeOptions) -> Result<Self> {
        let storage = Arc::new(Storage::open(&options.root)?);
        let tls = options.tls.as_ref().map(acceptor).transpose()?;
        let logins = options.htpasswd.as_deref().map(Logins::parse).transpose()?.map(Arc::new);
        let listener = TcpListener::bind(address)
            .map_err(|error| Error::new(ErrorKind::Os, format!("listen on {address}: {error}")))?;
        listener.set_nonblocking(true)?;
        let service = Service { storage, read_only: options.read_only, logins, on_access: options.on_access };
        Ok(Self { listener, tls, stop: watch::Sender::new(false), service: Arc::new(service) })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// A handle that ends [`run`](Self::run).
    pub fn shutdown(&self) -> Shutdown {
        Shutdown { stop: self.stop.clone() }
    }

    /// Serves until [`Shutdown::trigger`]. Blocks; starts its own threads.
    pub fn run(self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(self.accept())
    }

    async fn accept(self) -> Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let mut stop = self.stop.subscribe();
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        let (tls, service, stop) = (self.tls.clone(), self.service.clone(), self.stop.subscribe());
                        connections.spawn(connection(stream, peer, tls, service, stop));
                    }
                    // Out of descriptors, or the client is gone already: neither is the end.
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
        drop(listener);
        let farewell = async { while connections.join_next().await.is_some() {} };
        let _cut_off = tokio::time::timeout(FAREWELL, farewell).await;
        Ok(())
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody is left who could ask for the end: the server itself is going.
    let _sender_gone = stop.wait_for(|stop| *stop).await;
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor> {
    let bad =
        |path: &PathBuf, what: String| Error::new(ErrorKind::Usage, format!("{}: {what}", path.display()));
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|error| bad(&files.certificate, error.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| bad(&files.key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| bad(&files.certificate, error.to_string()))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    service: Arc<Service>,
    stop: watch::Receiver<bool>,
) {
    // Nothing is lost without it but some latency.
    let _slower = stream.set_nodelay(true);
    let Some(tls) = tls else { return serve(stream, peer, service, stop).await };
    if let Ok(Ok(stream)) = tokio::time::timeout(HEADERS, tls.accept(stream)).await {
        serve(stream, peer, service, stop).await;
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    service: Arc<Service>,
    mut stop: watch::Receiver<bool>,
) {
    let handler = service_fn(move |request| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(service.call(peer, request).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADERS).half_close(true);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), handler));
    // How a connection ends is the client's affair: its requests were answered and logged one by one.
    tokio::select! {
        _ended = connection.as_mut() => {}
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            let _ended = connection.await;
        }
    }
}

impl Service {
    async fn call(&self, peer: SocketAddr, request: Request<Incoming>) -> Answer {
        let log = self.on_access.as_ref().map(|_| (request.method().to_string(), request.uri().to_string()));
        let mut answer = self.answer(request).await.unwrap_or_else(Refusal::answer);
        answer.headers_mut().insert(
            "docker-distribution-api-version",
            hyper::header::HeaderValue::from_static("registry/2.0"),
        );
        if let (Some(listener), Some((method, target))) = (&self.on_access, log) {
            let (status, bytes) = (answer.status().as_u16(), answer.body().size_hint().exact());
            let cause = answer.extensions().get::<Cause>().map(|cause| cause.0.clone());
            listener(&Access { peer, method, target, status, bytes, cause });
        }
        answer
    }

    async fn answer(&self, request: Request<Incoming>) -> std::result::Result<Answer, Refusal> {
        if let Some(logins) = &self.logins {
            let header = request.headers().get("authorization").and_then(|value| value.to_str().ok());
            let header = header.map(str::to_owned).ok_or_else(unauthorized)?;
            let logins = logins.clone();
            if !blocking(move || Ok(logins.admits(&header))).await? {
                return Err(unauthorized());
            }
        }
        api::answer(self.storage.clone(), self.read_only, request).await
    }
}

fn unauthorized() -> Refusal {
    Refusal::new(401, "UNAUTHORIZED", "log in first").header("www-authenticate", "Basic realm=\"conex\"")
}
