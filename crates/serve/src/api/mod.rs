// SPDX-License-Identifier: Apache-2.0
//! The API: one function for each endpoint and method.

mod blobs;
mod listings;
mod manifests;
mod uploads;

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method};

use crate::answer::{Answer, Refusal, Reply};
use crate::auth::Caller;
use crate::options::Limits;
use crate::route::Route;
use crate::storage::Storage;
use crate::upstream::Behind;

/// What every handler gets.
pub(crate) struct Call {
    storage: Arc<Storage>,
    caller: Caller,
    limits: Limits,
    behind: Option<Arc<Behind>>,
    method: Method,
    query: String,
    headers: HeaderMap,
}

impl Call {
    pub(crate) fn of(
        head: Parts,
        storage: Arc<Storage>,
        caller: Caller,
        limits: Limits,
        behind: Option<Arc<Behind>>,
    ) -> Self {
        let query = head.uri.query().unwrap_or_default().to_owned();
        Self { storage, caller, limits, behind, method: head.method, query, headers: head.headers }
    }

    /// A header's value, where it is text.
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }
}

/// Answers a request that has been let in.
pub(crate) async fn answer(call: Call, route: Route, body: Incoming) -> Result<Answer, Refusal> {
    match (route, call.method.as_str()) {
        (Route::Base, "GET" | "HEAD") => {
            Ok(Reply::new(200).header("content-type", "application/json").bytes("{}"))
        }
        (Route::Catalog, "GET") => listings::catalog(call).await,
        (Route::Tags(name), "GET") => listings::tags(call, name).await,
        (Route::Referrers(name, digest), "GET") => listings::referrers(call, name, digest).await,
        (Route::Manifest(name, target), "GET" | "HEAD") => manifests::get(call, name, target).await,
        (Route::Manifest(name, target), "PUT") => manifests::put(call, name, target, body).await,
        (Route::Manifest(name, target), "DELETE") => manifests::delete(call, name, target).await,
        (Route::Blob(name, digest), "GET" | "HEAD") => blobs::get(call, name, digest).await,
        (Route::Blob(name, digest), "DELETE") => blobs::delete(call, name, digest).await,
        (Route::Uploads(name), "POST") => uploads::begin(call, name, body).await,
        (Route::Upload(name, id), "GET" | "HEAD") => uploads::status(call, name, id).await,
        (Route::Upload(name, id), "PATCH") => uploads::patch(call, name, id, body).await,
        (Route::Upload(name, id), "PUT") => uploads::close(call, name, id, body).await,
        (Route::Upload(_, id), "DELETE") => uploads::cancel(call, id).await,
        _ => Err(Refusal::method()),
    }
}
