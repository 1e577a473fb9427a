// SPDX-License-Identifier: Apache-2.0
//! Bearer tokens from a registry's realm (the token protocol of Docker's registry; OAuth2 for identity tokens).
//!
//! ```text
//!  GET  realm?service=…&scope=…[&account=…]   Authorization: Basic, where there is a login
//!  POST realm  grant_type=refresh_token&service=…&client_id=conex&scope=…&refresh_token=…
//!  ◄── { "token" | "access_token": "…", "expires_in": 60 }
//! ```
//! The realm is the registry's word, so it is not trusted with much: https unless both the registry
//! and the realm's own host may speak plain HTTP; no address inside our networks unless the registry is at one; and redirects carry no login.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use ureq::http::{Method, Uri};

use super::challenge::Challenge;
use super::{Scopes, basic_header};
use crate::client::Shared;
use crate::http::{Ask, Host, Origin, Sending, Trust, escape, is_internal, parse_uri, with_query};
use crate::{Error, ErrorKind, Login, Result};

/// Longest token answer that is read.
const ANSWER_CAP: u64 = 1024 * 1024;
/// `expires_in` where the server does not say.
const DEFAULT_LIFE: u64 = 60;
/// A token is renewed this long before it ends.
const MARGIN: Duration = Duration::from_secs(5);

/// Where tokens come from.
#[derive(Clone, Debug)]
pub(super) struct Bearer {
    realm: Uri,
    service: Option<String>,
    /// What the last challenge asked for.
    scope: Option<String>,
    host: Arc<Host>,
}

/// A token and its end.
pub(super) struct Token {
    /// `Bearer …`
    pub(super) header: String,
    good_until: Instant,
}

impl Token {
    pub(super) fn is_good(&self, now: Instant) -> bool {
        now < self.good_until
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Bearer {
    pub(super) fn of(shared: &Shared, challenge: &Challenge, host: &Host) -> Result<Self> {
        let registry = host.origin();
        let refuse = |what: String| Error::new(ErrorKind::Denied, format!("{registry}: token realm {what}"));
        let realm = challenge.parameter("realm").ok_or_else(|| refuse("is missing".to_owned()))?;
        let realm = parse_uri(realm).map_err(|error| refuse(error.to_string()))?;
        let origin = Origin::of(&realm).map_err(|error| refuse(error.to_string()))?;
        let trust = host.trust_of(shared, &origin);
        if !origin.tls && (registry.tls || trust == Trust::Verified) {
            return Err(refuse(format!("{origin} is not https")));
        }
        if is_internal(&origin.host) && !is_internal(&registry.host) {
            return Err(refuse(format!("{origin} is an internal address, the registry's is not")));
        }
        Ok(Self {
            realm,
            service: challenge.parameter("service").map(str::to_owned),
            scope: challenge.parameter("scope").map(str::to_owned),
            host: Arc::new(Host::at(&origin.authority(), origin.clone(), trust)),
        })
    }

    pub(super) fn fetch(&self, shared: &Shared, login: Option<&Login>, scopes: &Scopes) -> Result<Token> {
        let mut answer = match login {
            Some(Login::Bearer { token }) => return Ok(forever(token)),
            Some(Login::Identity { token }) => {
                let form = self.form(scopes, token);
                let ask = Ask::at(Method::POST, self.realm.clone(), Scopes::none())
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(Sending::Bytes(form.as_bytes()));
                self.host.send(shared, ask)?
            }
            other => self.host.send(shared, self.question(scopes, other)?)?,
        };
        let place = answer.place();
        let body = answer.read_capped(ANSWER_CAP)?;
        // Not the parser's words: they may quote the token.
        let no_token = || Error::new(ErrorKind::Invalid, format!("{place}: no token in the answer"));
        let answer: TokenAnswer = serde_json::from_slice(&body).map_err(|_| no_token())?;
        let token = answer.token.or(answer.access_token).filter(|token| is_header_text(token));
        let token = token.ok_or_else(no_token)?;
        let life = Duration::from_secs(answer.expires_in.unwrap_or(DEFAULT_LIFE).min(24 * 3600));
        let good_until = Instant::now() + life.saturating_sub(MARGIN.min(life / 2));
        Ok(Token { header: format!("Bearer {token}"), good_until })
    }

    fn question(&self, scopes: &Scopes, login: Option<&Login>) -> Result<Ask<'static>> {
        let mut uri = self.realm.clone();
        if let Some(service) = &self.service {
            uri = with_query(&uri, "service", service)?;
        }
        for scope in scopes.parameters(self.scope.as_deref()) {
            uri = with_query(&uri, "scope", &scope)?;
        }
        let Some(Login::Basic { user, password }) = login else {
            return Ok(Ask::at(Method::GET, uri, Scopes::none()));
        };
        let uri = with_query(&uri, "account", user)?;
        Ok(Ask::at(Method::GET, uri, Scopes::none()).secret(basic_header(user, password)))
    }

    fn form(&self, scopes: &Scopes, token: &str) -> String {
        let scope = scopes.parameters(self.scope.as_deref()).join(" ");
        let service = self.service.as_deref().unwrap_or_default();
        format!(
            "grant_type=refresh_token&client_id=conex&service={}&scope={}&refresh_token={}",
            escape(service),
            escape(&scope),
            escape(token)
        )
    }
}

fn forever(token: &str) -> Token {
    Token { header: format!("Bearer {token}"), good_until: Instant::now() + Duration::from_secs(24 * 3600) }
}

fn is_header_text(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::super::challenge;
    use super::*;
    use crate::{Client, Settings};

    fn realm(registry: &str, tls: bool, realm: &str) -> Result<Bearer> {
        let client = Client::new(Settings::new("test"));
        let origin = Origin::of_authority(tls, registry)?;
        let trust = Trust::of(&origin.host, !tls, None);
        let host = Host::at("r", origin, trust);
        let challenges = challenge::parse(&format!("Bearer realm=\"{realm}\""));
        Bearer::of(&client.shared, &challenges[0], &host)
    }

    #[test]
    fn a_realm_stays_outside_our_networks_and_on_tls() {
        for good in ["https://auth.example/token", "https://registry.example/token"] {
            realm("registry.example", true, good).unwrap();
        }
        for bad in [
            "http://auth.example/token",
            "https://169.254.169.254/latest",
            "https://127.0.0.1/token",
            "https://localhost/token",
            "https://10.1.2.3/token",
            "https://[::1]/token",
            "https://[::ffff:192.168.1.1]/token",
            "file:///etc/passwd",
            "https://user:pw@auth.example/",
            "",
        ] {
            let error = realm("registry.example", true, bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Denied, "{bad}: {error}");
        }
        realm("10.0.0.1:5000", true, "https://10.1.2.3/token").unwrap();
        realm("127.0.0.1:5000", false, "http://127.0.0.1:5001/token").unwrap();
        realm("plain.example", false, "http://plain.example:81/token").unwrap();
        realm("plain.example", false, "http://other.example/token").unwrap_err();
    }
}
