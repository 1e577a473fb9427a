// SPDX-License-Identifier: Apache-2.0
//! An OCI registry over a directory that is an OCI image layout (distribution-spec v1.1, server side). The only
//! HTTP server of the project.
//!
//! ```text
//!  Server::bind(address, options)? ──► local_addr()     a port of its own choice with ":0"
//!        └─ run()                                           blocks; `shutdown().trigger()` ends it from any thread
//! ```
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod server;

pub use conex_image::{Error, ErrorKind, Result};
pub use server::{Access, OnAccess, ServeOptions, Server, Shutdown, TlsFiles};
