// SPDX-License-Identifier: Apache-2.0
//! Images over the wire: the only HTTP and TLS client of the project (distribution-spec v1.1, client side).
//!
//! ```text
//!  Settings ──► Client ──remote(reference)──► Remote ──► image::transfer::{Source, Sink}
//!  (values)      connections, tokens           one repository        tags · referrers · delete
//! ```
//! Blocking, one connection per thread that asks, kept alive and shared through the [`Client`]. The library reads
//! neither the environment nor `$HOME`: [`config`] turns the *contents* of the ecosystem's files into values, and
//! whoever owns the command line decides which files those are.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod auth;
mod client;
pub mod config;
pub mod daemon;
mod discover;
mod download;
mod http;
mod manage;
mod pull;
mod push;
mod remote;
mod repository;
mod settings;
mod sightings;

pub use client::Client;
pub use conex_image::{Error, ErrorKind, Result};
pub use remote::Remote;
pub use settings::{
    Credentials, Login, NoCredentials, OnWarning, Patience, ProxySettings, Settings, TlsSettings,
};
