// SPDX-License-Identifier: Apache-2.0
//! An OCI registry over a directory that is an OCI image layout (distribution-spec v1.1, server side). The only
//! HTTP server of the project.
//!
//! ```text
//!  Server::bind(address, options)? ──► local_addr()     a port of its own choice with ":0"
//!        └─ run()                                       blocks; `shutdown().trigger()` ends it from any thread
//!
//!  connection ──► service ──► auth ──► api/{manifests,blobs,uploads,listings} ──► storage ──► <root>/   docs/formats/registry.md
//!  server         rate, log,   who may  one answer each, as the specification       │
//!                 route        what     has it;  page/ for a person                 └──► upstream: what is missing here
//! ```
//! Bodies are streamed in both directions: the server's memory does not grow with what it stores.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod answer;
mod api;
mod auth;
mod body;
mod metrics;
mod options;
mod page;
mod rate;
mod route;
mod server;
mod service;
mod storage;
mod tls;
mod upstream;

pub use conex_image::{Error, ErrorKind, Result};
pub use options::{Access, Gc, Limits, OnAccess, OnProblem, ServeOptions, TlsFiles};
pub use server::{Server, Shutdown};
pub use upstream::Upstream;
