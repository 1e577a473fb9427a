// SPDX-License-Identifier: Apache-2.0
//! A request, before it is known how many exchanges it takes.

use std::io::Read;

use ureq::http::{Method, Uri};

use crate::auth::Scopes;

/// What to ask a host.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Sending<'a>,
    /// What a token must allow.
    pub(crate) scopes: Scopes,
    /// Statuses from 400 on that are answers, not failures.
    pub(crate) expected: &'static [u16],
    /// An `Authorization` of its own.
    pub(crate) secret: Option<String>,
}

/// Where to ask.
pub(crate) enum Target {
    /// A path with query, on the host.
    Path(String),
    /// What a `Location` or a challenge said.
    Address(Uri),
}

/// A request's body.
pub(crate) enum Sending<'a> {
    Nothing,
    Bytes(&'a [u8]),
    /// Can be sent once: whoever asks tries again.
    Stream(&'a mut (dyn Read + Send), u64),
}

impl<'a> Ask<'a> {
    pub(crate) fn new(method: Method, path: impl Into<String>, scopes: Scopes) -> Self {
        Self {
            method,
            target: Target::Path(path.into()),
            headers: Vec::new(),
            body: Sending::Nothing,
            scopes,
            expected: &[],
            secret: None,
        }
    }

    pub(crate) fn at(method: Method, address: Uri, scopes: Scopes) -> Self {
        Self { target: Target::Address(address), ..Self::new(method, "", scopes) }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn body(mut self, body: Sending<'a>) -> Self {
        self.body = body;
        self
    }

    /// Sends this `Authorization` to the host itself.
    pub(crate) fn secret(mut self, secret: String) -> Self {
        self.secret = Some(secret);
        self
    }

    pub(crate) fn expect(mut self, statuses: &'static [u16]) -> Self {
        self.expected = statuses;
        self
    }
}
