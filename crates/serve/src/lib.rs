// SPDX-License-Identifier: Apache-2.0
//! An OCI registry over a directory that is an OCI image layout (distribution-spec v1.1, server side). The only
//! HTTP server of the project.
//!
//! ```text
//!  Server::bind(address, options)? ──► local_addr()     a port of its own choice with ":0"
//!        └─ run()                                       blocks; `shutdown().trigger()` ends it from any thread
//!
//!  connection ──► route ──► api/{manifests,blobs,uploads,listings} ──► storage ──► <root>/   docs/formats/registry.md
//!  server.rs      pure      one answer each, as the specification has it
//! ```
//! Bodies are streamed in both directions: the server's memory does not grow with what it stores.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod answer;
mod api;
mod body;
mod login;
mod route;
mod server;
mod storage;

pub use conex_image::{Error, ErrorKind, Result};
pub use server::{Access, OnAccess, ServeOptions, Server, Shutdown, TlsFiles};
