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

    /// Every helper that the file names.
    pub fn helpers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.cred_helpers.iter().map(|(host, helper)| (host.as_str(), helper.as_str()))
    }

    /// The login written in the file for repository `name` on `host`.
    pub fn find(&self, host: &str, name: &str) -> Result<Option<Login>> {
        let mut path = format!("{host}/{name}");
        loop {
            if let Some(entry) = self.auths.get(&path) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(user: &str, password: &str) -> Option<Login> {
        Some(Login::Basic { user: user.to_owned(), password: password.to_owned() })
    }

    fn auth(text: &str) -> String {
        STANDARD.encode(text)
    }

    #[test]
    fn the_longest_path_wins() {
        let (host, org, app) = (auth("host:1"), auth("org:2"), auth("app:with:colons"));
        let file = AuthFile::parse(&format!(
            r#"{{"auths":{{"quay.io":{{"auth":"{host}"}},"quay.io/org":{{"auth":"{org}"}},"quay.io/org/app":{{"auth":"{app}"}}}}}}"#
        ))
        .unwrap();
        assert_eq!(file.find("quay.io", "x").unwrap(), basic("host", "1"));
        assert_eq!(file.find("quay.io", "org/x").unwrap(), basic("org", "2"));
        assert_eq!(file.find("quay.io", "organic/x").unwrap(), basic("host", "1"));
        assert_eq!(file.find("quay.io", "org/app").unwrap(), basic("app", "with:colons"));
        assert_eq!(file.find("other.io", "org/app").unwrap(), None);
        assert_eq!(file.find("quay.io.evil", "org/app").unwrap(), None);
    }

    #[test]
    fn docker_hub_has_three_names() {
        for key in ["docker.io", "https://index.docker.io/v1/", "index.docker.io"] {
            let file = AuthFile::parse(&format!(r#"{{"auths":{{"{key}":{{"auth":"{}"}}}}}}"#, auth("me:x")))
                .unwrap();
            assert_eq!(file.find("docker.io", "library/alpine").unwrap(), basic("me", "x"), "{key}");
        }
        let file =
            AuthFile::parse(r#"{"auths":{"https://old.example/v1/":{"username":"u","password":"p"}}}"#)
                .unwrap();
        assert_eq!(file.find("old.example", "x").unwrap(), basic("u", "p"));
    }

    #[test]
    fn tokens_come_before_passwords() {
        let file = AuthFile::parse(&format!(
            r#"{{"auths":{{"a":{{"auth":"{}","identitytoken":"i"}},"b":{{"registrytoken":"r"}},"c":{{"auth":"{}"}}}}}}"#,
            auth("me:x"),
            auth("<token>:refresh")
        ))
        .unwrap();
        assert_eq!(file.find("a", "x").unwrap(), Some(Login::Identity { token: "i".to_owned() }));
        assert_eq!(file.find("b", "x").unwrap(), Some(Login::Bearer { token: "r".to_owned() }));
        assert_eq!(file.find("c", "x").unwrap(), Some(Login::Identity { token: "refresh".to_owned() }));
    }

    #[test]
    fn helpers_are_named_by_host_or_for_all() {
        let file = AuthFile::parse(r#"{"credHelpers":{"ghcr.io":"pass"},"credsStore":"desktop"}"#).unwrap();
        assert_eq!((file.helper("ghcr.io"), file.helper("quay.io")), (Some("pass"), Some("desktop")));
        assert_eq!(AuthFile::parse("").unwrap().helper("quay.io"), None);
    }

    #[test]
    fn mistakes_name_the_key_and_not_the_secret() {
        for bad in ["!!!", &auth("nocolon")] {
            let file = AuthFile::parse(&format!(r#"{{"auths":{{"quay.io":{{"auth":"{bad}"}}}}}}"#)).unwrap();
            let error = file.find("quay.io", "x").unwrap_err();
            assert!(error.to_string().contains("quay.io") && !error.to_string().contains(bad), "{error}");
        }
        assert!(AuthFile::parse("{").is_err());
        assert!(AuthFile::parse("[]").unwrap().find("quay.io", "x").unwrap().is_none());
    }
}
