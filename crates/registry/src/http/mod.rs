// SPDX-License-Identifier: Apache-2.0
//! HTTP as a registry client needs it: one exchange with a host, whatever it takes.
//!
//! ```text
//!  Host::send(ask)       again after 429, 5xx, a broken connection     retry.rs
//!   └ authorized         a 401 is answered once, with a fresh token    ../auth
//!      └ follow          redirects, by hand: no secret leaves its origin
//!         └ first        TLS, or plain HTTP where that is allowed
//!            └ once      one request on a pooled connection            agent.rs
//! ```

mod agent;
mod answer;
mod ask;
mod failure;
mod host;
mod retry;
mod url;

pub(crate) use agent::{Agents, Trust};
pub(crate) use answer::Answer;
pub(crate) use ask::{Ask, Sending};
pub(crate) use failure::{Failure, printable};
pub(crate) use host::Host;
pub(crate) use retry::Pauses;
pub(crate) use url::{Origin, escape, is_internal, join, parse as parse_uri, with_query};
