// SPDX-License-Identifier: Apache-2.0
//! Changing an auth file: one login more, one less, none. The rest of the file, whoever wrote it, stays as it is.
//!
//! ```text
//!  lock the directory ──► read ──► change ──► temporary file, mode 0600 ──► fsync ──► rename
//! ```
//! So that a reader sees the file before or after, and two who log in at the same time both are in it.

use std::fs::{self, File};
use std::io::{ErrorKind as IoErrorKind, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::{Error, ErrorKind, Result};

/// What to do to the logins of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthChange<'a> {
    /// Keeps user and password under a key: `host[:port][/path…]`.
    Keep {
        /// The key.
        key: &'a str,
        /// The user's name.
        user: &'a str,
        /// In the file it is only encoded: whoever reads the file knows it.
        password: &'a str,
    },
    /// Forgets one key.
    Forget {
        /// The key.
        key: &'a str,
    },
    /// Forgets all keys.
    ForgetAll,
}

impl AuthChange<'_> {
    /// Changes the file at `path`, which is made where there is none. Whether anything changed.
    pub fn apply(self, path: &Path) -> Result<bool> {
        let apply = || {
            // The file that a link leads to, not the link.
            let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let directory = directory.unwrap_or(Path::new("."));
            fs::create_dir_all(directory)?;
            let lock = File::open(directory)?;
            lock.lock()?;
            let old = match fs::read_to_string(path) {
                Err(error) if error.kind() == IoErrorKind::NotFound => String::new(),
                read => read?,
            };
            let Some(new) = self.text(&old)? else { return Ok(false) };
            let mut file = tempfile::NamedTempFile::new_in(directory)?;
            file.write_all(new.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|failed| failed.error)?;
            lock.sync_all()?;
            Ok(true)
        };
        apply().map_err(|error: Error| error.wrap(path.display()))
    }

    /// The changed text of a file; `None` where there is nothing to change.
    fn text(self, old: &str) -> Result<Option<String>> {
        let broken =
            |what: &str| Error::new(ErrorKind::Usage, format!("not an auth file, left alone: {what}"));
        let mut file: Value = match old.trim() {
            "" => json!({}),
            text => serde_json::from_str(text).map_err(|error| broken(&error.to_string()))?,
        };
        let top = file.as_object_mut().ok_or_else(|| broken("it is no JSON object"))?;
        let auths = top.entry("auths").or_insert_with(|| json!({}));
        if auths.is_null() {
            *auths = json!({});
        }
        let auths = auths.as_object_mut().ok_or_else(|| broken("its auths are no object"))?;
        if !self.change(auths) {
            return Ok(None);
        }
        let mut text = serde_json::to_string_pretty(&file).map_err(|error| broken(&error.to_string()))?;
        text.push('\n');
        Ok(Some(text))
    }

    fn change(self, auths: &mut Map<String, Value>) -> bool {
        match self {
            Self::Keep { key, user, password } => {
                let auth = STANDARD.encode(format!("{user}:{password}"));
                auths.insert(key.to_owned(), json!({ "auth": auth }));
                true
            }
            Self::Forget { key } => auths.remove(key).is_some(),
            Self::ForgetAll => {
                let any = !auths.is_empty();
                auths.clear();
                any
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::Login;
    use crate::config::AuthFile;

    const KEEP: AuthChange<'_> = AuthChange::Keep { key: "quay.io/org", user: "me", password: "p:w" };

    #[test]
    fn what_others_wrote_stays() {
        let old = r#"{"auths":{"a.io":{"auth":"eDp5","email":"x"}},"credHelpers":{"b.io":"pass"},"own":1}"#;
        let kept: Value = serde_json::from_str(&KEEP.text(old).unwrap().unwrap()).unwrap();
        assert_eq!((&kept["own"], &kept["auths"]["a.io"]["email"]), (&json!(1), &json!("x")));
        let file = AuthFile::parse(&kept.to_string()).unwrap();
        let login = Login::Basic { user: "me".to_owned(), password: "p:w".to_owned() };
        assert_eq!(file.find("quay.io", "org/app").unwrap(), Some(login));
        let gone = AuthChange::Forget { key: "quay.io/org" }.text(&kept.to_string()).unwrap().unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(&gone).unwrap(),
            serde_json::from_str::<Value>(old).unwrap()
        );
        assert_eq!(AuthChange::Forget { key: "quay.io" }.text(old).unwrap(), None);
        assert_eq!(AuthChange::ForgetAll.text("").unwrap(), None);
    }

    #[test]
    fn a_file_that_is_something_else_is_left_alone() {
        for text in ["[1]", "{", r#"{"auths":3}"#] {
            assert!(KEEP.text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn many_at_once_are_all_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("deep/auth.json"), directory.path().join("link.json"));
        std::os::unix::fs::symlink(&file, &link).unwrap();
        KEEP.apply(&file).unwrap();
        std::thread::scope(|scope| {
            for number in 0..16 {
                let path = if number % 2 == 0 { &file } else { &link };
                let key = format!("host{number}");
                scope.spawn(move || {
                    AuthChange::Keep { key: &key, user: "u", password: "p" }.apply(path).unwrap();
                });
            }
        });
        let read: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(read["auths"].as_object().unwrap().len(), 17);
        assert!(link.is_symlink());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(AuthChange::ForgetAll.apply(&file).unwrap());
        assert!(!AuthChange::ForgetAll.apply(&file).unwrap());
    }
}
