// SPDX-License-Identifier: Apache-2.0
//! The listening side: socket, connections, orderly end.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::options::{Gc, ServeOptions};
use crate::service::Service;
use crate::{Error, ErrorKind, Result, tls};

/// Longest wait for a request's headers, and for a TLS handshake.
const HEADERS: Duration = Duration::from_secs(30);
/// How long running requests may go on after the end was asked for.
const FAREWELL: Duration = Duration::from_secs(10);

/// A connection with its place among those that may be open.
type Accepted = (OwnedSemaphorePermit, TcpStream, SocketAddr);

/// A registry with its socket open.
pub struct Server {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    /// One for each connection that may be open.
    places: Arc<Semaphore>,
    gc: Option<Gc>,
    stop: watch::Sender<bool>,
    service: Arc<Service>,
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
        let tls = options.tls.as_ref().map(tls::acceptor).transpose()?;
        let places = Arc::new(Semaphore::new(options.limits.connections.unwrap_or(Semaphore::MAX_PERMITS)));
        let gc = options.gc.clone();
        let service = Arc::new(Service::open(options)?);
        let listener = TcpListener::bind(address)
            .map_err(|error| Error::new(ErrorKind::Os, format!("listen on {address}: {error}")))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, tls, places, gc, stop: watch::Sender::new(false), service })
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
        let _ends_with_the_runtime = self.gc.map(|gc| tokio::spawn(collect(self.service.clone(), gc)));
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                accepted = next(&listener, &self.places) => match accepted {
                    Ok((place, stream, peer)) => {
                        let (tls, service, stop) = (self.tls.clone(), self.service.clone(), self.stop.subscribe());
                        connections.spawn(async move {
                            connection(stream, peer, tls, service, stop).await;
                            drop(place);
                        });
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

/// The next connection, once there is a place for it.
async fn next(listener: &tokio::net::TcpListener, places: &Arc<Semaphore>) -> io::Result<Accepted> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((place, stream, peer))
}

/// Removes what nothing leads to, for as long as the server runs.
async fn collect(service: Arc<Service>, gc: Gc) {
    loop {
        tokio::time::sleep(gc.every).await;
        service.collect(&gc).await;
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody is left who could ask for the end: the server itself is going.
    let _sender_gone = stop.wait_for(|stop| *stop).await;
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
