// SPDX-License-Identifier: Apache-2.0
//! Who we are at one host: challenges answered, tokens kept.
//!
//! ```text
//!  request ──► 401 + challenges ──► Bearer: token from the realm ──► again with the token
//!                                   Basic:  user and password    ──► again with both
//! ```
//! What a host demanded once is remembered, so that the next repository's token is fetched before the first request
//! instead of after a refusal. One thread fetches a token, the others wait for it.

mod challenge;
mod scopes;
mod token;

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ureq::http::HeaderMap;

use challenge::Challenge;
pub(crate) use scopes::{Actions, Scopes};
use token::{Bearer, Token};

use crate::client::Shared;
use crate::http::Host;
use crate::settings::lock;
use crate::{Error, ErrorKind, Login, Result};

/// A host's demands and our tokens for it.
#[derive(Default)]
pub(crate) struct Auth {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    demand: Demand,
    tokens: HashMap<Scopes, Token>,
    logins: HashMap<String, Option<Login>>,
}

/// What the host wants, as far as it has said so.
#[derive(Clone, Default)]
enum Demand {
    #[default]
    Nothing,
    Basic,
    Bearer(Bearer),
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Auth(…)")
    }
}

impl Auth {
    /// The `Authorization` to start with, from what is known.
    pub(crate) fn ready(&self, shared: &Shared, host: &Host, scopes: &Scopes) -> Result<Option<String>> {
        if scopes.is_empty() {
            return Ok(None);
        }
        let mut state = lock(&self.state);
        match state.demand.clone() {
            Demand::Nothing => Ok(None),
            Demand::Basic => state.basic(shared, host, scopes),
            Demand::Bearer(bearer) => state.bearer(shared, host, scopes, &bearer).map(Some),
        }
    }

    /// The `Authorization` after a 401 to `used`; `None` where we have nothing better.
    pub(crate) fn challenged(
        &self,
        shared: &Shared,
        host: &Host,
        headers: &HeaderMap,
        scopes: &Scopes,
        used: Option<&str>,
    ) -> Result<Option<String>> {
        if scopes.is_empty() {
            return Ok(None);
        }
        let mut state = lock(&self.state);
        if let Some(token) = state.tokens.get(scopes).filter(|token| token.is_good(Instant::now()))
            && used != Some(token.header.as_str())
        {
            return Ok(Some(token.header.clone()));
        }
        state.tokens.remove(scopes);
        let values = headers.get_all("www-authenticate").iter().filter_map(|value| value.to_str().ok());
        let challenges: Vec<_> = values.flat_map(challenge::parse).collect();
        state.answer(shared, host, &challenges, scopes, used)
    }
}

impl State {
    fn answer(
        &mut self,
        shared: &Shared,
        host: &Host,
        challenges: &[Challenge],
        scopes: &Scopes,
        used: Option<&str>,
    ) -> Result<Option<String>> {
        if let Some(challenge) = challenges.iter().find(|challenge| challenge.scheme == "bearer") {
            let bearer = Bearer::of(shared, challenge, host)?;
            self.demand = Demand::Bearer(bearer.clone());
            let header = self.bearer(shared, host, scopes, &bearer)?;
            return Ok(Some(header));
        }
        if challenges.iter().any(|challenge| challenge.scheme == "basic") {
            self.demand = Demand::Basic;
            let header = self.basic(shared, host, scopes)?;
            return Ok(header.filter(|header| used != Some(header.as_str())));
        }
        Ok(None)
    }

    fn basic(&mut self, shared: &Shared, host: &Host, scopes: &Scopes) -> Result<Option<String>> {
        let Some(login) = self.login(shared, host, scopes)? else { return Ok(None) };
        if !host.origin().tls && !host.tolerates_plain() {
            return Err(Error::new(
                ErrorKind::Denied,
                format!("{}: asks for a password over plain HTTP", host.origin()),
            ));
        }
        Ok(match login {
            Login::Basic { user, password } => Some(basic_header(&user, &password)),
            Login::Bearer { token } => Some(format!("Bearer {token}")),
            Login::Identity { .. } => None,
        })
    }

    fn bearer(&mut self, shared: &Shared, host: &Host, scopes: &Scopes, bearer: &Bearer) -> Result<String> {
        if let Some(token) = self.tokens.get(scopes).filter(|token| token.is_good(Instant::now())) {
            return Ok(token.header.clone());
        }
        let login = self.login(shared, host, scopes)?;
        let token = bearer
            .fetch(shared, login.as_ref(), scopes)
            .map_err(|error| error.wrap(format_args!("token for {}", scopes)))?;
        let header = token.header.clone();
        self.tokens.insert(scopes.clone(), token);
        Ok(header)
    }

    /// Asked once for each repository.
    fn login(&mut self, shared: &Shared, host: &Host, scopes: &Scopes) -> Result<Option<Login>> {
        let name = scopes.repository();
        if let Some(known) = self.logins.get(name) {
            return Ok(known.clone());
        }
        let login = shared.settings.credentials.find(&host.name, name)?;
        self.logins.insert(name.to_owned(), login.clone());
        Ok(login)
    }
}

fn basic_header(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}
