// SPDX-License-Identifier: Apache-2.0
//! Bearer tokens: JSON Web Tokens (RFC 7519) signed with HMAC-SHA256 (RFC 7518 §3.2), in the shape that Docker's
//! token authentication specification gives them.
//!
//! ```text
//!  base64url({"alg":"HS256","typ":"JWT"}) . base64url(claims) . base64url(HMAC(key, all before))
//! ```
//! The key is made when the server starts and leaves it never: a restart voids all tokens, and clients ask anew.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;
use serde::{Deserialize, Serialize};

use super::rights::Action;
use crate::{Error, ErrorKind, Result};

/// How long a token is good.
pub(crate) const LIFETIME: Duration = Duration::from_secs(300);
/// Who made the token, and whom it is for.
pub(crate) const SERVICE: &str = "conex";

/// The scope of the list of repositories.
pub(crate) const CATALOG: &str = "registry:catalog:*";

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    /// The user; empty without a login.
    pub(crate) sub: String,
    pub(crate) aud: String,
    /// Seconds since 1970.
    pub(crate) iat: u64,
    pub(crate) exp: u64,
    pub(crate) access: Vec<Grant>,
}

/// What may be done in one repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) actions: Vec<String>,
}

impl Grant {
    pub(crate) fn catalog() -> Self {
        Self { kind: "registry".to_owned(), name: "catalog".to_owned(), actions: vec!["*".to_owned()] }
    }
}

impl Claims {
    pub(crate) fn grant_catalog(&self) -> bool {
        self.access.contains(&Grant::catalog())
    }

    pub(crate) fn user(&self) -> Option<&str> {
        (!self.sub.is_empty()).then_some(&self.sub)
    }

    pub(crate) fn grant(&self, repository: &str, action: Action) -> bool {
        let covers = |grant: &&Grant| grant.kind == "repository" && grant.name == repository;
        let mut grants = self.access.iter().filter(covers);
        grants.any(|grant| grant.actions.iter().any(|word| word == action.word()))
    }
}

/// `repository:team/app:pull,push`; `None` for scopes of another kind.
pub(crate) fn parse_scope(scope: &str) -> Option<(&str, Vec<Action>)> {
    let (name, words) = scope.strip_prefix("repository:")?.rsplit_once(':')?;
    let is_asked = |action: &Action| words.split(',').any(|word| word == action.word() || word == "*");
    Some((name, Action::ALL.into_iter().filter(is_asked).collect()))
}

/// Signs tokens, and reads its own.
pub(crate) struct Tokens {
    key: hmac::Key,
}

impl Tokens {
    pub(crate) fn new() -> Result<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| Error::new(ErrorKind::Os, "the kernel has no random bytes"))?;
        Ok(Self { key })
    }

    pub(crate) fn sign(&self, claims: &Claims) -> String {
        let claims = serde_json::to_vec(claims).expect("claims have only string keys");
        let header = URL_SAFE_NO_PAD.encode(br#"{"alg":"HS256","typ":"JWT"}"#);
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let tag = hmac::sign(&self.key, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// A token of this server that is good at `now`, in seconds since 1970. The header is not asked what signed it.
    pub(crate) fn read(&self, token: &str, now: u64) -> Option<Claims> {
        let (signed, tag) = token.rsplit_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        hmac::verify(&self.key, signed.as_bytes(), &tag).ok()?;
        let (_, claims) = signed.split_once('.')?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        (claims.aud == SERVICE && now < claims.exp).then_some(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        let grant =
            Grant { kind: "repository".to_owned(), name: "a/b".to_owned(), actions: vec!["pull".to_owned()] };
        let own = || SERVICE.to_owned();
        Claims { iss: own(), sub: "me".to_owned(), aud: own(), iat: 100, exp: 400, access: vec![grant] }
    }

    #[test]
    fn only_an_own_whole_and_young_token_is_read() {
        let tokens = Tokens::new().unwrap();
        let token = tokens.sign(&claims());
        assert_eq!(tokens.read(&token, 399), Some(claims()));
        assert_eq!(tokens.read(&token, 400), None, "too old");
        assert_eq!(Tokens::new().unwrap().read(&token, 200), None, "of another server");
        let none = URL_SAFE_NO_PAD.encode(br#"{"alg":"none","typ":"JWT"}"#);
        let (_, rest) = token.split_once('.').unwrap();
        assert_eq!(tokens.read(&format!("{none}.{rest}"), 200), None);
        let (signed, _) = token.rsplit_once('.').unwrap();
        for other in [signed.to_owned(), format!("{signed}."), String::new(), "..".to_owned()] {
            assert_eq!(tokens.read(&other, 200), None, "{other}");
        }
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(bytes).unwrap();
            // The last letter holds bits that stand for nothing.
            assert!(at + 1 == token.len() || tokens.read(&other, 200).is_none(), "{at}");
        }
    }

    #[test]
    fn scopes_are_read_from_the_end() {
        let (name, actions) = parse_scope("repository:host:5000/a/b:pull,push,fly").unwrap();
        assert_eq!((name, actions), ("host:5000/a/b", vec![Action::Pull, Action::Push]));
        assert_eq!(parse_scope("repository:a:*").unwrap().1, Action::ALL);
        assert_eq!(parse_scope("registry:catalog:*"), None);
        assert!(claims().grant("a/b", Action::Pull) && !claims().grant("a/b", Action::Push));
        assert!(!claims().grant("a", Action::Pull));
    }
}
