// SPDX-License-Identifier: Apache-2.0
//! One repository on one host. What can be done with it is in [`pull`](crate::pull), [`push`](crate::push),
//! [`discover`](crate::discover) and [`manage`](crate::manage): the four categories of the distribution-spec.

use std::fmt;
use std::sync::Arc;

use ureq::http::Method;

use crate::Result;
use crate::auth::{Actions, Scopes};
use crate::client::Shared;
use crate::http::{Answer, Ask, Host};

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Repository {
    pub(crate) shared: Arc<Shared>,
    pub(crate) host: Arc<Host>,
    pub(crate) name: String,
}

impl Repository {
    /// `/v2/<name>/<rest>`
    pub(crate) fn path(&self, rest: impl fmt::Display) -> String {
        format!("/v2/{}/{rest}", self.name)
    }

    pub(crate) fn ask<'a>(&self, method: Method, rest: impl fmt::Display, actions: Actions) -> Ask<'a> {
        Ask::new(method, self.path(rest), self.scopes(actions))
    }

    pub(crate) fn scopes(&self, actions: Actions) -> Scopes {
        Scopes::of(&self.name, actions)
    }

    pub(crate) fn send(&self, ask: Ask<'_>) -> Result<Answer> {
        self.host.send(&self.shared, ask)
    }
}
