// SPDX-License-Identifier: Apache-2.0
//! The client against registries that break, lie, stall and ask for more than they should.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod auth;
mod image;
mod listing;
mod manifest;
mod mirror;
mod pull;
mod push;
mod redirect;
mod server;
mod tls;
