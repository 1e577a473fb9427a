// SPDX-License-Identifier: Apache-2.0
//! Who is logged in where (containers-auth.json(5)): looked up when a registry asks, kept by `login`, forgotten by
//! `logout`. A file may hand a registry over to a credential helper, for reading and writing alike.

use std::fs;
use std::path::{Path, PathBuf};

use conex_engine::images::Result;
use conex_engine::registry::config::{AUTH_FILES, AuthChange, AuthFile, CredentialHelper};
use conex_engine::registry::{Credentials, Login};

/// Docker Hub's name in docker's own file and with credential helpers.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// The files with logins, in the order in which they are asked.
pub(crate) struct Logins {
    /// The first is the one that is written to.
    pub files: Vec<PathBuf>,
    /// registries.conf's `credential-helpers`: who else is asked, and when. None: only the files.
    pub helpers: Vec<String>,
}

impl Credentials for Logins {
    /// One that fails is told only if nobody behind it knows the login.
    fn find(&self, host: &str, name: &str) -> Result<Option<Login>> {
        if self.helpers.is_empty() {
            return self.in_files(host, name);
        }
        let mut failure = None;
        for helper in &self.helpers {
            let found = match helper.as_str() {
                AUTH_FILES => self.in_files(host, name),
                helper => CredentialHelper::named(helper).and_then(|helper| helper.get(host)),
            };
            match found {
                Ok(None) => {}
                Ok(login) => return Ok(login),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(None), Err)
    }
}

impl Logins {
    fn in_files(&self, host: &str, name: &str) -> Result<Option<Login>> {
        for path in &self.files {
            let file = read(path)?;
            // A helper that fails is an error: the next file's login may be another person's.
            let login = match file.helper(host) {
                Some(helper) => CredentialHelper::named(helper)?.get(server_name(host))?,
                None => None,
            };
            let login = match login {
                Some(login) => Some(login),
                None => file.find(host, name).map_err(|error| error.wrap(path.display()))?,
            };
            if login.is_some() {
                return Ok(login);
            }
        }
        Ok(None)
    }
}

fn read(path: &Path) -> Result<AuthFile> {
    let read = || match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(AuthFile::default()),
        text => AuthFile::parse(&text?),
    };
    read().map_err(|error: conex_engine::images::Error| error.wrap(path.display()))
}

/// One file, to write to.
pub(crate) struct LoginFile {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it is docker's own, which calls Docker Hub by another name.
    pub is_dockers: bool,
}

impl LoginFile {
    /// Keeps a login for `host[:port][/path…]`.
    pub(crate) fn keep(&self, key: &str, user: &str, password: &str) -> Result<()> {
        if let Some(helper) = self.helper(key)? {
            return helper.store(server_name(key), user, password);
        }
        AuthChange::Keep { key: self.key(key), user, password }.apply(&self.path).map(|_| ())
    }

    /// Forgets a login. Whether there was one.
    pub(crate) fn forget(&self, key: &str) -> Result<bool> {
        let by_helper = match self.helper(key)? {
            Some(helper) => helper.erase(server_name(key))?,
            None => false,
        };
        Ok(AuthChange::Forget { key: self.key(key) }.apply(&self.path)? || by_helper)
    }

    /// Forgets all logins.
    pub(crate) fn forget_all(&self) -> Result<()> {
        for (host, helper) in read(&self.path)?.helpers() {
            CredentialHelper::named(helper)?.erase(server_name(host))?;
        }
        AuthChange::ForgetAll.apply(&self.path).map(|_| ())
    }

    fn helper(&self, key: &str) -> Result<Option<CredentialHelper>> {
        let host = key.split('/').next().unwrap_or(key);
        read(&self.path)?.helper(host).map(CredentialHelper::named).transpose()
    }

    fn key<'a>(&self, key: &'a str) -> &'a str {
        if self.is_dockers { server_name(key) } else { key }
    }
}

/// Docker Hub's name with credential helpers.
fn server_name(host: &str) -> &str {
    if host == "docker.io" { DOCKER_HUB } else { host }
}
