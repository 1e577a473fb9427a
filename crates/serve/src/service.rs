// SPDX-License-Identifier: Apache-2.0
//! One request, from its head to its answer: rate, door, endpoint, and who is told of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use hyper::body::{Body, Incoming};
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::{Method, Request};

use crate::answer::{Answer, Cause, Refusal, Reply};
use crate::api::{self, Call};
use crate::auth::{Caller, Door};
use crate::metrics::{Kind, Metrics};
use crate::options::{Access, Gc, Limits, OnAccess, OnProblem, ServeOptions};
use crate::rate::Rate;
use crate::route::Route;
use crate::storage::Storage;
use crate::upstream::Behind;
use crate::{Result, page};

/// What all connections share.
pub(crate) struct Service {
    storage: Arc<Storage>,
    read_only: bool,
    door: Option<Door>,
    limits: Limits,
    rate: Option<Rate>,
    behind: Option<Arc<Behind>>,
    metrics: Option<Metrics>,
    on_access: Option<OnAccess>,
    on_problem: Option<OnProblem>,
}

impl Service {
    pub(crate) fn open(options: ServeOptions) -> Result<Self> {
        Ok(Self {
            storage: Arc::new(Storage::open(&options.root)?),
            read_only: options.read_only || options.upstream.is_some(),
            door: Door::of(&options)?,
            limits: options.limits,
            rate: options.limits.requests.map(Rate::of),
            behind: options.upstream.map(|upstream| Arc::new(Behind::of(upstream))),
            metrics: options.metrics.then(Metrics::default),
            on_access: options.on_access,
            on_problem: options.on_problem,
        })
    }

    /// The answer to a request, whatever comes.
    pub(crate) async fn call(&self, peer: SocketAddr, request: Request<Incoming>) -> Answer {
        let _running = self.metrics.as_ref().map(Metrics::begin);
        let (began, method) = (Instant::now(), request.method().clone());
        let log = self.on_access.as_ref().map(|_| (method.to_string(), request.uri().to_string()));
        let route = Route::parse(request.uri().path());
        let endpoint = route.as_ref().map_or("none", Route::word);
        let mut answer = match route {
            Ok(route) => self.answer(peer, route, request).await.unwrap_or_else(Refusal::answer),
            Err(refusal) => refusal.answer(),
        };
        let version = HeaderValue::from_static("registry/2.0");
        answer.headers_mut().insert("docker-distribution-api-version", version);
        let (status, bytes) = (answer.status().as_u16(), answer.body().size_hint().exact());
        if let Some(metrics) = &self.metrics {
            let kind = Kind { method: known(&method), endpoint, status };
            metrics.count(kind, began.elapsed(), bytes.unwrap_or_default());
        }
        if let (Some(listener), Some((method, target))) = (&self.on_access, log) {
            let cause = answer.extensions().get::<Cause>().map(|cause| cause.0.clone());
            listener(&Access { peer, method, target, status, bytes, cause });
        }
        answer
    }

    async fn answer(
        &self,
        peer: SocketAddr,
        route: Route,
        request: Request<Incoming>,
    ) -> Result<Answer, Refusal> {
        if let Some(Err(wait)) = self.rate.as_ref().map(|rate| rate.take(peer.ip(), Instant::now())) {
            let seconds = wait.as_secs() + 1;
            return Err(Refusal::new(429, "TOOMANYREQUESTS", "too many requests from this address")
                .header("retry-after", seconds.to_string()));
        }
        let (head, body) = request.into_parts();
        let reads = matches!(head.method, Method::GET | Method::HEAD);
        match (&route, &self.door) {
            (Route::Health, _) if reads => {
                Ok(Reply::new(200).header("content-type", "text/plain").bytes("ok\n"))
            }
            (Route::Token, Some(door)) if head.method == Method::GET => door.token(&head).await,
            (Route::Metrics, _) if reads => self.metrics_page(&head).await,
            (Route::Page(place), _) if reads => {
                let caller = self.reader(&head).await?;
                page::answer(self.storage.clone(), caller, place.clone()).await
            }
            (Route::Health | Route::Metrics | Route::Page(_), _) => Err(Refusal::method()),
            (Route::Token, None) => Err(Refusal::no_such_page()),
            (Route::Token, Some(_)) => Err(Refusal::method()),
            (_, door) => {
                let caller = match door {
                    Some(door) => door.admit(&head, &route).await?,
                    None => Caller::default(),
                };
                if self.read_only && !reads {
                    return Err(Refusal::new(405, "UNSUPPORTED", "this registry is read-only"));
                }
                let (storage, behind) = (self.storage.clone(), self.behind.clone());
                api::answer(Call::of(head, storage, caller, self.limits, behind), route, body).await
            }
        }
    }

    async fn reader(&self, head: &Parts) -> Result<Caller, Refusal> {
        match &self.door {
            Some(door) => door.admit_reader(head).await,
            None => Ok(Caller::default()),
        }
    }

    async fn metrics_page(&self, head: &Parts) -> Result<Answer, Refusal> {
        let metrics = self.metrics.as_ref().ok_or_else(Refusal::no_such_page)?;
        self.reader(head).await?;
        Ok(Reply::new(200).header("content-type", "text/plain; version=0.0.4").bytes(metrics.text()))
    }

    /// Removes what nothing leads to, once.
    pub(crate) async fn collect(&self, gc: &Gc) {
        let (storage, gc) = (self.storage.clone(), gc.clone());
        let Ok(collected) = tokio::task::spawn_blocking(move || storage.collect(&gc)).await else { return };
        match (collected, &self.metrics, &self.on_problem) {
            (Ok(Some(report)), Some(metrics), _) => metrics.collected(report.bytes),
            (Err(error), _, Some(listener)) => listener(&error),
            _ => {}
        }
    }
}

/// The method, if the API knows it.
fn known(method: &Method) -> &'static str {
    ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"]
        .into_iter()
        .find(|known| method == known)
        .unwrap_or("other")
}
