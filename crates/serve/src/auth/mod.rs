// SPDX-License-Identifier: Apache-2.0
//! The door: who a request comes from, and whether it may do what it asks. Docker's token authentication and HTTP's
//! Basic; distribution-spec leaves both to the registry.
//!
//! ```text
//!  GET /v2/app/…  ──► 401  WWW-Authenticate: Bearer realm="…/token",service="conex",scope="repository:app:pull"
//!  GET /token?scope=repository:app:pull   Authorization: Basic …   ──► {"token": …}   what is asked and allowed
//!  GET /v2/app/…           Authorization: Bearer …                 ──► 200
//! ```
//! Where everyone has to log in and then may do everything, the challenge is Basic: one request fewer.

mod logins;
mod rights;
mod token;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::Method;
use hyper::http::request::Parts;
use serde_json::json;

use crate::answer::{Answer, Refusal, Reply};
use crate::body::blocking;
use crate::route::{Route, query_values};
use crate::{Result, ServeOptions};
use logins::Logins;
use rights::Rights;
use token::{CATALOG, Claims, Grant, LIFETIME, SERVICE, Tokens};

pub(crate) use rights::Action;

/// Who asks.
#[derive(Clone, Default)]
pub(crate) struct Caller {
    /// `None` where nobody has to say, or has said.
    user: Option<String>,
    /// `None` where everybody may do everything.
    rights: Option<Arc<Rights>>,
    /// What the token that came along is good for.
    token: Option<Claims>,
}

impl Caller {
    /// Whether this request may do it.
    pub(crate) fn may(&self, action: Action, repository: &str) -> bool {
        self.has_right(action, repository)
            && self.token.as_ref().is_none_or(|token| token.grant(repository, action))
    }

    /// Whether its sender may do it, with another token perhaps.
    pub(crate) fn has_right(&self, action: Action, repository: &str) -> bool {
        self.rights.as_ref().is_none_or(|rights| rights.allow(self.user.as_deref(), repository, action))
    }

    /// Whether it may read every repository. No token is good for that.
    pub(crate) fn may_read_all(&self) -> bool {
        let user = self.user.as_deref();
        self.token.is_none()
            && self.rights.as_ref().is_none_or(|rights| rights.allow_everywhere(user, Action::Pull))
    }

    fn is_known(&self) -> bool {
        self.user.is_some() || self.token.is_some()
    }
}

/// Lets requests in.
pub(crate) struct Door {
    logins: Arc<Logins>,
    rights: Arc<Rights>,
    tokens: Tokens,
    /// Whether the challenge asks for a token.
    wants_token: bool,
    scheme: &'static str,
    /// As clients know it, where something stands in between.
    address: Option<String>,
}

impl Door {
    /// `None` where everybody may come in.
    pub(crate) fn of(options: &ServeOptions) -> Result<Option<Self>> {
        let (users, file) = (options.htpasswd.as_deref(), options.rights.as_deref());
        if users.is_none() && file.is_none() {
            return Ok(None);
        }
        let rights = file.map_or_else(|| Ok(Rights::of_the_logged_in()), Rights::parse)?;
        Ok(Some(Self {
            logins: Arc::new(Logins::parse(users.unwrap_or_default())?),
            wants_token: file.is_some() || rights.know_strangers(),
            rights: Arc::new(rights),
            tokens: Tokens::new()?,
            address: options.address.as_ref().map(|address| address.trim_end_matches('/').to_owned()),
            scheme: if options.tls.is_some() { "https" } else { "http" },
        }))
    }

    /// Lets a request to the API in, or says how to get in.
    pub(crate) async fn admit(&self, head: &Parts, route: &Route) -> Result<Caller, Refusal> {
        let caller = self.caller(head).await?.ok_or_else(|| self.challenge(head, route, None))?;
        let Some((action, repository)) = needed(route, &head.method) else {
            let lists = *route != Route::Catalog || caller.token.as_ref().is_none_or(Claims::grant_catalog);
            return match caller.is_known() {
                true if lists => Ok(caller),
                _ => Err(self.challenge(head, route, None)),
            };
        };
        if caller.may(action, repository) {
            return Ok(caller);
        }
        if caller.has_right(action, repository) {
            return Err(self.challenge(head, route, Some("insufficient_scope")));
        }
        match caller.user {
            Some(_) => {
                let what = format!("you may not {} in repository {repository}", action.word());
                Err(Refusal::new(403, "DENIED", what))
            }
            None => Err(self.challenge(head, route, None)),
        }
    }

    /// Lets a person with a browser in.
    pub(crate) async fn admit_reader(&self, head: &Parts) -> Result<Caller, Refusal> {
        let caller = self.caller(head).await?.ok_or_else(|| log_in(BASIC))?;
        let known = caller.is_known() || self.rights.know_strangers();
        if known { Ok(caller) } else { Err(log_in(BASIC)) }
    }

    /// `GET /token`: what is asked for and allowed.
    pub(crate) async fn token(&self, head: &Parts) -> Result<Answer, Refusal> {
        // A token is good for what it says, and not for another one.
        let caller = self.caller(head).await?.filter(|caller| caller.token.is_none());
        let caller = caller.ok_or_else(|| log_in(BASIC))?;
        let query = head.uri.query().unwrap_or_default();
        let scopes = query_values(query, "scope");
        let grant = |scope: &str| {
            if scope == CATALOG {
                return Some(Grant::catalog());
            }
            let (name, mut actions) = token::parse_scope(scope)?;
            actions.retain(|action| caller.has_right(*action, name));
            let actions = actions.into_iter().map(|action| action.word().to_owned()).collect();
            Some(Grant { kind: "repository".to_owned(), name: name.to_owned(), actions })
        };
        let access = scopes.iter().flat_map(|scopes| scopes.split(' ')).filter_map(grant).collect();
        let (now, own) = (now(), || SERVICE.to_owned());
        let sub = caller.user.clone().unwrap_or_default();
        let claims = Claims { iss: own(), sub, aud: own(), iat: now, exp: now + LIFETIME.as_secs(), access };
        let token = self.tokens.sign(&claims);
        Ok(Reply::new(200)
            .header("content-type", "application/json")
            .header("cache-control", "no-store")
            .json(&json!({"token": token, "access_token": token, "expires_in": LIFETIME.as_secs()})))
    }

    /// Who it is; `None` where that is not true.
    async fn caller(&self, head: &Parts) -> Result<Option<Caller>, Refusal> {
        let rights = Some(self.rights.clone());
        let header = head.headers.get("authorization").and_then(|value| value.to_str().ok());
        let Some((scheme, credentials)) = header.and_then(|header| header.split_once(' ')) else {
            return Ok(Some(Caller { rights, ..Caller::default() }));
        };
        if scheme.eq_ignore_ascii_case("bearer") {
            let token = self.tokens.read(credentials.trim(), now());
            return Ok(token.map(|token| Caller {
                user: token.user().map(str::to_owned),
                rights,
                token: Some(token),
            }));
        }
        let (logins, header) = (self.logins.clone(), header.unwrap_or_default().to_owned());
        let user = blocking(move || Ok(logins.user(&header))).await?;
        Ok(user.map(|user| Caller { user: Some(user), rights, token: None }))
    }

    fn challenge(&self, head: &Parts, route: &Route, error: Option<&str>) -> Refusal {
        if !self.wants_token {
            return log_in(BASIC);
        }
        let host = head.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or("localhost");
        let address = self.address.clone().unwrap_or_else(|| format!("{}://{host}", self.scheme));
        let mut challenge = format!("Bearer realm=\"{address}/token\",service=\"{SERVICE}\"");
        if let Some((action, repository)) = needed(route, &head.method) {
            // Who pushes asks what is there first.
            let actions = if action == Action::Push { "pull,push" } else { action.word() };
            challenge += &format!(",scope=\"repository:{repository}:{actions}\"");
        } else if *route == Route::Catalog {
            challenge += &format!(",scope=\"{CATALOG}\"");
        }
        if let Some(error) = error {
            challenge += &format!(",error=\"{error}\"");
        }
        log_in(&challenge)
    }
}

const BASIC: &str = "Basic realm=\"conex\"";

fn log_in(challenge: &str) -> Refusal {
    Refusal::new(401, "UNAUTHORIZED", "log in first").header("www-authenticate", challenge)
}

/// What a request does, and to which repository.
fn needed<'a>(route: &'a Route, method: &Method) -> Option<(Action, &'a str)> {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    match route {
        Route::Tags(name) | Route::Referrers(name, _) => Some((Action::Pull, name)),
        Route::Uploads(name) | Route::Upload(name, _) => Some((Action::Push, name)),
        Route::Manifest(name, _) | Route::Blob(name, _) => Some(match *method {
            _ if reads => (Action::Pull, name),
            Method::DELETE => (Action::Delete, name),
            _ => (Action::Push, name),
        }),
        _ => None,
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
