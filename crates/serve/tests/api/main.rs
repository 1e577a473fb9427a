// SPDX-License-Identifier: Apache-2.0
//! The registry as the distribution-spec wants it, over plain sockets: nothing of the project on the other side.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod auth;
mod blobs;
mod durability;
mod gc;
mod hostile;
mod http;
mod limits;
mod login;
mod manifests;
mod pages;
mod peers;
mod upstream;
