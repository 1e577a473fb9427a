// SPDX-License-Identifier: Apache-2.0
//! A repository's files, by the `git` program. It may speak https, http, git and ssh, and nothing that runs a program or
//! reads the host's files; it has no configuration but what is said here, runs no hooks, and asks nobody.

use std::path::Path;
use std::process::{Command, Stdio};

use super::Remote;
use crate::{Error, ErrorKind, Result, Wrap as _};

/// What to fetch.
#[derive(Clone, Copy, Debug)]
pub struct Repository<'a> {
    /// From where.
    pub remote: &'a str,
    /// Branch, tag or commit; the remote's own choice if unset.
    pub reference: Option<&'a str>,
    /// `.git` stays.
    pub keep_git_dir: bool,
    /// What the commit must be, or begin with.
    pub checksum: Option<&'a str>,
}

/// A Containerfile is a stranger's word: neither the caller's keys nor his settings are for it, and nobody is asked.
const SSH: &str = "ssh -F none -o BatchMode=yes -o IdentityFile=none -o IdentityAgent=none";

const SETTINGS: [&str; 12] = [
    "protocol.allow=never",
    "protocol.https.allow=always",
    "protocol.http.allow=always",
    "protocol.git.allow=always",
    "protocol.ssh.allow=always",
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "credential.helper=",
    "init.defaultBranch=main",
    "init.templateDir=",
    "advice.detachedHead=false",
    "fetch.fsckObjects=true",
];

impl Remote {
    /// Fetches into `directory`, which is there and empty; the commit.
    pub fn repository(&self, repository: &Repository<'_>, directory: &Path) -> Result<String> {
        self.fetch(repository, directory).wrap(|| redacted(repository.remote))
    }

    fn fetch(&self, repository: &Repository<'_>, directory: &Path) -> Result<String> {
        let reference = repository.reference.unwrap_or("HEAD");
        if !is_reference(reference) {
            return Err(Error::new(ErrorKind::Usage, format!("{reference:?} is no branch, tag or commit")));
        }
        self.git(directory, &["init", "--quiet"])?;
        let shallow = ["fetch", "--quiet", "--depth=1", "--no-tags", "--", repository.remote, reference];
        if let Err(error) = self.git(directory, &shallow) {
            // Not every server gives a commit that no name leads to.
            if !is_commit(reference) {
                return Err(error);
            }
            self.git(directory, &["fetch", "--quiet", "--", repository.remote, "+refs/*:refs/fetched/*"])?;
            self.git(directory, &["update-ref", "FETCH_HEAD", reference])?;
        }
        let commit = self.git(directory, &["rev-parse", "FETCH_HEAD^{commit}"])?;
        let commit = commit.trim();
        if let Some(wanted) = repository.checksum.filter(|wanted| !commit.starts_with(*wanted)) {
            let message = format!("{reference} is the commit {commit}, not {wanted}");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        self.git(directory, &["checkout", "--quiet", "--detach", commit])?;
        self.git(directory, &["submodule", "--quiet", "update", "--init", "--recursive", "--depth=1"])?;
        if !repository.keep_git_dir {
            crate::container::remove_tree(&directory.join(".git"))?;
        }
        Ok(commit.to_owned())
    }

    /// What it prints.
    fn git(&self, directory: &Path, words: &[&str]) -> Result<String> {
        let program = self.git.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "there is no program git").with_hint("install git")
        })?;
        let mut command = Command::new(program);
        command.env_clear().current_dir(directory).stdin(Stdio::null());
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", "/nonexistent").env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
        command.env("GIT_SSH_COMMAND", SSH);
        command.args(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
        let output = command.args(words).output().wrap(|| format!("start {}", program.display()))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.trim().lines().last().unwrap_or("it does not say why");
        Err(Error::new(ErrorKind::Unreachable, format!("git {}: {last}", words[0])))
    }
}

/// Nothing that git could take for an option, a range or a refspec.
fn is_reference(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '-' | '+');
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(plain) && !text.contains("..")
}

/// Whether it means the same for ever.
pub(crate) fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Without the password.
fn redacted(remote: &str) -> String {
    let Some((scheme, rest)) = remote.split_once("://") else { return remote.to_owned() };
    let host = rest.find('/').unwrap_or(rest.len());
    match rest[..host].rfind('@') {
        Some(at) => format!("{scheme}://…{}", &rest[at..]),
        None => remote.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_names_and_passwords_are_not_told() {
        for text in ["main", "v1.2", "feature/x-1", "0123abc"] {
            assert!(is_reference(text), "{text}");
        }
        for text in ["--upload-pack=touch x", "-b", "a..b", "a:b", "a b", "", "/a", "+x", "a\nb"] {
            assert!(!is_reference(text), "{text}");
        }
        assert_eq!(redacted("https://me:secret@h/r.git"), "https://…@h/r.git");
        assert_eq!(redacted("git@h:r.git"), "git@h:r.git");
    }
}
