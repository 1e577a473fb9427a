// SPDX-License-Identifier: Apache-2.0
//! OpenPGP by the `gpg` program: signatures that carry what they sign.
//!
//! Keys of a policy are imported into a directory of their own, so that nothing a person has in a keyring makes a
//! signature good. What `gpg` says to people is not looked at, only its status lines (GnuPG: doc/DETAILS).

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::{Error, ErrorKind, Result, Wrap as _};

/// Which keys count.
#[derive(Debug)]
pub enum Keyring {
    /// The person's own.
    Own,
    /// These and no other.
    Only(TempDir),
}

/// The program with its keys.
#[derive(Debug)]
pub struct Gpg {
    keyring: Keyring,
}

/// What a good signature brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// What was signed.
    pub content: Vec<u8>,
    /// The fingerprint of the key, and of the primary key it belongs to.
    pub fingerprints: Vec<String>,
}

impl Gpg {
    /// With the keys that the person has.
    pub fn own() -> Self {
        Self { keyring: Keyring::Own }
    }

    /// With these keys only, each in the form that gpg exports.
    pub fn with_keys(keys: &[Vec<u8>]) -> Result<Self> {
        let home = tempfile::Builder::new().prefix("conex-gpg-").tempdir().wrap(|| "a directory for keys")?;
        let file = home.path().join("keys");
        let gpg = Self { keyring: Keyring::Only(home) };
        for key in keys {
            write(&file, key)?;
            gpg.run(&["--import"], &file).wrap(|| "import the keys of the policy")?;
        }
        Ok(gpg)
    }

    /// Verifies a signature; an error where it is not good.
    pub fn verify(&self, signature: &[u8]) -> Result<Signed> {
        let place = tempfile::Builder::new().prefix("conex-sig-").tempdir().wrap(|| "a directory")?;
        let (file, content) = (place.path().join("signature"), place.path().join("content"));
        write(&file, signature)?;
        let output = content.display().to_string();
        let words = ["--status-fd", "1", "--trust-model", "always", "--output", &output, "--decrypt"];
        let fingerprints = fingerprints(&self.run(&words, &file)?)?;
        let content = std::fs::read(content).wrap(|| "what is signed")?;
        Ok(Signed { content, fingerprints })
    }

    /// Signs with a key of the person's.
    pub fn sign(&self, content: &[u8], key: &str, passphrase_file: Option<&Path>) -> Result<Vec<u8>> {
        let place = tempfile::Builder::new().prefix("conex-sig-").tempdir().wrap(|| "a directory")?;
        let (file, signature) = (place.path().join("content"), place.path().join("signature"));
        write(&file, content)?;
        let output = signature.display().to_string();
        let mut words = vec!["--local-user", key, "--output", &output];
        let passphrase = passphrase_file.map(|file| file.display().to_string());
        if let Some(passphrase) = &passphrase {
            words.extend(["--pinentry-mode", "loopback", "--passphrase-file", passphrase]);
        }
        words.push("--sign");
        self.run(&words, &file)?;
        std::fs::read(signature).wrap(|| "the signature")
    }

    /// Its status lines.
    fn run(&self, words: &[&str], file: &Path) -> Result<String> {
        let mut command = Command::new("gpg");
        command.args(["--batch", "--no-tty"]).env("LC_ALL", "C").stdin(Stdio::null());
        if let Keyring::Only(home) = &self.keyring {
            command.arg("--homedir").arg(home.path()).args(["--no-options", "--no-autostart"]);
        }
        let denied = |what: String| Error::new(ErrorKind::Denied, format!("gpg: {what}"));
        let output = command.args(words).arg(file).output().map_err(|error| {
            denied(error.to_string()).with_hint("install gpg, which verifies and makes signatures")
        })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            // It warns of keys without trust behind the error, too.
            let is_error = |line: &&str| line.starts_with("gpg: ") && !line.starts_with("gpg: WARNING");
            let last = said.lines().rfind(is_error).unwrap_or("gpg: fails");
            let what = last.trim_start_matches("gpg: ").escape_debug();
            return Err(denied(format!("{what} ({})", output.status)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(!path.exists()).open(path).wrap(|| "a file for gpg")?;
    file.set_len(0).and_then(|()| file.write_all(bytes)).wrap(|| "a file for gpg")
}

/// Of exactly one good signature over exactly one text.
fn fingerprints(status: &str) -> Result<Vec<String>> {
    let lines = || status.lines().filter_map(|line| line.strip_prefix("[GNUPG:] "));
    let count = |word: &str| lines().filter(|line| line.split(' ').next() == Some(word)).count();
    let bad =
        ["BADSIG", "ERRSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG", "FAILURE", "NODATA", "DECRYPTION_OKAY"];
    let one_of_each = ["NEWSIG", "GOODSIG", "VALIDSIG", "PLAINTEXT"].iter().all(|word| count(word) == 1);
    if bad.iter().any(|word| count(word) > 0) || !one_of_each {
        return Err(Error::new(ErrorKind::Denied, "not one good signature by a key that counts"));
    }
    let words: Vec<&str> =
        lines().find_map(|line| line.strip_prefix("VALIDSIG ")).unwrap_or_default().split(' ').collect();
    // The key's own fingerprint comes first, the primary key's last.
    let found = [words.first(), words.get(9)].into_iter().flatten().map(|text| (*text).to_owned());
    Ok(found.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[GNUPG:] PLAINTEXT 62 0 \n[GNUPG:] NEWSIG me\n[GNUPG:] GOODSIG AB me\n\
                        [GNUPG:] VALIDSIG SUB 2026-01-01 1 0 4 0 1 10 00 PRIMARY\n";

    #[test]
    fn one_good_signature_is_good() {
        assert_eq!(fingerprints(GOOD).unwrap(), ["SUB", "PRIMARY"]);
    }

    #[test]
    fn anything_else_is_not() {
        for status in [
            "",
            "[GNUPG:] PLAINTEXT 62 0 \n",
            &format!("{GOOD}[GNUPG:] NEWSIG\n[GNUPG:] BADSIG AB me\n"),
            &format!("{GOOD}{GOOD}"),
            &GOOD.replace("GOODSIG", "EXPKEYSIG"),
            &GOOD.replace("VALIDSIG", "OTHER"),
        ] {
            assert!(fingerprints(status).is_err(), "{status}");
        }
    }
}
