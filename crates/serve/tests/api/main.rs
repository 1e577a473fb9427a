// SPDX-License-Identifier: Apache-2.0
//! The registry as the distribution-spec wants it, over plain sockets: nothing of the project on the other side.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod blobs;
mod durability;
mod hostile;
mod http;
mod login;
mod manifests;
mod peers;
