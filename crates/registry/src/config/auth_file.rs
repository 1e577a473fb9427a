// SPDX-License-Identifier: Apache-2.0
//! containers-auth.json(5), and docker's `config.json`, which has the same shape: who is logged in where.
//!
//! ```json
//! { "auths":       { "quay.io/org": { "auth": "<base64 user:password>", "identitytoken": "…" } },
//!   "credHelpers": { "ghcr.io": "secretservice" },
//!   "credsStore":  "pass" }
//! ```
//! Keys of `auths` are `host[:port][/path…]`; the longest that is a path prefix of the image wins. Docker Hub's key
//! is `https://index.docker.io/v1/` for docker, `docker.io` for everyone else.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::{Error, ErrorKind, Login, Result};

/// One file's logins.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthFile {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

impl AuthFile {
    /// Reads a file's contents.
    pub fn parse(text: &str) -> Result<Self> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_str(text)
            .map_err(|error| Error::new(ErrorKind::Usage, format!("auth file: {error}")))
    }

    /// The name of the helper program (`docker-credential-<name>`) that knows `host`'s login.
    pub fn helper(&self, host: &str) -> Option<&str> {
        let named = names_of(host).into_iter().find_map(|name| self.cred_helpers.get(name));
        named.or((!self.creds_store.is_empty()).then_some(&self.creds_store)).map(String::as_str)
    }

    /// The login written in the file for repository `name` on `host`.
    pub fn find(&self, host: &str, name: &str) -> Result<Option<Login>> {
        let mut path = format!("{host}/{name}");
        loop {
            if let Some(entry) = self.entry(&path) {
                return entry.login(&path);
            }
            match path.rfind('/') {
                Some(slash) => path.truncate(slash),
                None => break,
            }
        }
        for host in names_of(host) {
            let known = self.auths.iter().find(|(key, _)| host_of(key) == Some(host));
            if let Some((key, entry)) = known {
                return entry.login(key);
            }
        }
        Ok(None)
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        self.auths.get(key)
    }
}

impl Entry {
    fn login(&self, key: &str) -> Result<Option<Login>> {
        if !self.identitytoken.is_empty() {
            return Ok(Some(Login::Identity { token: self.identitytoken.clone() }));
        }
        if !self.registrytoken.is_empty() {
            return Ok(Some(Login::Bearer { token: self.registrytoken.clone() }));
        }
        if !self.username.is_empty() {
            return Ok(Some(Login::Basic { user: self.username.clone(), password: self.password.clone() }));
        }
        if self.auth.is_empty() {
            return Ok(None);
        }
        let bad = || {
            Error::new(
                ErrorKind::Usage,
                format!("auth file: auths[{key:?}].auth is not base64 of user:password"),
            )
        };
        let bytes = STANDARD.decode(self.auth.trim()).map_err(|_| bad())?;
        let text = String::from_utf8(bytes).map_err(|_| bad())?;
        let (user, password) = text.split_once(':').ok_or_else(bad)?;
        Ok(Some(login_of(user, password.trim_end_matches('\0'))))
    }
}

/// Helpers and files mark a refresh token by the user name `<token>`.
pub(super) fn login_of(user: &str, secret: &str) -> Login {
    if user == "<token>" {
        return Login::Identity { token: secret.to_owned() };
    }
    Login::Basic { user: user.to_owned(), password: secret.to_owned() }
}

/// The names one host goes by in these files.
fn names_of(host: &str) -> Vec<&str> {
    match host {
        "docker.io" => vec!["docker.io", "index.docker.io", "https://index.docker.io/v1/"],
        other => vec![other],
    }
}

/// The host of a key in docker's old form, `https://host/v1/`.
fn host_of(key: &str) -> Option<&str> {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let host = rest.split('/').next()?;
    let path = &rest[host.len()..];
    (matches!(path, "" | "/" | "/v1/" | "/v2/" | "/v1" | "/v2")).then_some(host)
}
