// SPDX-License-Identifier: Apache-2.0
//! Who may come in: an htpasswd file with bcrypt hashes (`htpasswd -B`).

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use conex_image::verify::sha256;
use conex_spec::Digest;

use crate::{Error, ErrorKind, Result};

/// Users and their hashes. Checking one takes a deliberate while, so what was right is remembered.
pub(crate) struct Logins {
    hashes: HashMap<String, String>,
    right: Mutex<HashSet<Digest>>,
}

impl Logins {
    /// Reads an htpasswd file's contents.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut hashes = HashMap::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let fail =
                |what: &str| Error::new(ErrorKind::Usage, format!("htpasswd line {}: {what}", number + 1));
            let (user, hash) = line.trim().split_once(':').ok_or_else(|| fail("no colon"))?;
            if !hash.starts_with("$2") || !hash.is_ascii() {
                return Err(fail("not a bcrypt hash").with_hint("make it with: htpasswd -nB <user>"));
            }
            hashes.insert(user.to_owned(), hash.to_owned());
        }
        Ok(Self { hashes, right: Mutex::default() })
    }

    /// Whom an `Authorization` header lets in. Blocks for the time of a bcrypt.
    pub(crate) fn user(&self, header: &str) -> Option<String> {
        let (user, password) = credentials(header)?;
        let key = sha256(header.as_bytes());
        if self.right.lock().unwrap_or_else(PoisonError::into_inner).contains(&key) {
            return Some(user);
        }
        // Who does not exist takes as long as who does, with another's hash: the time tells nobody.
        let known = self.hashes.get(&user);
        let is_right = bcrypt::verify(password, known.or(self.hashes.values().next())?).unwrap_or(false);
        if known.is_none() || !is_right {
            return None;
        }
        self.right.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        Some(user)
    }
}

/// RFC 7617: `Basic base64(user:password)`.
fn credentials(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_password_and_no_other() {
        let hash = bcrypt::hash("secret", 4).unwrap();
        let logins = Logins::parse(&format!("me:{hash}\n\n")).unwrap();
        let header = |text: &str| format!("Basic {}", STANDARD.encode(text));
        assert_eq!(logins.user(&header("me:secret")).as_deref(), Some("me"));
        assert_eq!(logins.user(&header("me:secret")).as_deref(), Some("me"), "and from memory");
        for wrong in
            [header("me:Secret"), header("you:secret"), header("me"), "Bearer x".to_owned(), String::new()]
        {
            assert_eq!(logins.user(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn other_hashes_are_refused_with_advice() {
        for bad in ["me:{SHA}x", "me", "me:$apr1$x"] {
            assert!(Logins::parse(bad).is_err(), "{bad}");
        }
    }
}
