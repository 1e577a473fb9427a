// SPDX-License-Identifier: Apache-2.0
//! What verbs that copy say about signatures, in skopeo's words; and passphrases, which never stand on a command line.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use conex_engine::signature::{PrivateKey, Signer, Wishes};
use conex_engine::terminal;
use conex_spec::distribution::Reference;

use crate::error::{CommandError, Context as _};
use crate::session::Session;

/// Who is said to have made a signature.
pub(crate) const CREATOR: &str = concat!("conex ", env!("CARGO_PKG_VERSION"));

/// Options about signatures.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Signatures")]
pub(crate) struct SigningArgs {
    /// Leave the image's signatures behind
    #[arg(long)]
    remove_signatures: bool,
    /// Sign with this key of yours, by gpg
    #[arg(long, value_name = "FINGERPRINT")]
    sign_by: Option<String>,
    /// Sign with this private key: cosign's format, or PKCS #8
    #[arg(long, value_name = "FILE")]
    sign_by_sigstore_private_key: Option<PathBuf>,
    /// The key's passphrase
    #[arg(long, value_name = "FILE")]
    sign_passphrase_file: Option<PathBuf>,
}

impl SigningArgs {
    /// As the copy takes it. Keys are read now, so that nothing is copied with a wrong one.
    pub(crate) fn wishes(
        &self,
        session: &Session,
        identity: Option<Reference>,
    ) -> Result<Arc<Wishes>, CommandError> {
        if self.sign_by.is_some()
            && self.sign_by_sigstore_private_key.is_some()
            && self.sign_passphrase_file.is_some()
        {
            return Err(CommandError::usage(
                "Only one of --sign-by and --sign-by-sigstore-private-key can be used with --sign-passphrase-file",
            ));
        }
        let mut signers = Vec::new();
        if let Some(key) = &self.sign_by {
            let passphrase_file = self.sign_passphrase_file.clone();
            signers.push(Signer::OpenPgp { key: key.clone(), passphrase_file });
        }
        if let Some(file) = &self.sign_by_sigstore_private_key {
            signers.push(Signer::Key(private_key(session, file, self.sign_passphrase_file.as_deref())?));
        }
        let remove = self.remove_signatures;
        let creator = CREATOR.to_owned();
        Ok(Arc::new(Wishes { remove, signers, identity, creator, timestamp: now() }))
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A private key in a file.
pub(crate) fn private_key(
    session: &Session,
    file: &Path,
    passphrase_file: Option<&Path>,
) -> Result<PrivateKey, CommandError> {
    let named = || format!("private key {}", file.display());
    let text = std::fs::read(file).context(named)?;
    let passphrase = match PrivateKey::is_sealed(&text) {
        true => passphrase(session, passphrase_file, file)?,
        false => String::new(),
    };
    PrivateKey::parse(&text, passphrase.as_bytes()).context(named)
}

/// The passphrase of `key`: the first line of a file, $COSIGN_PASSWORD, or what the person types.
fn passphrase(session: &Session, file: Option<&Path>, key: &Path) -> Result<String, CommandError> {
    match written(session, file)? {
        Some(found) => Ok(found),
        None => typed(key, &format!("Passphrase for key {}: ", key.display())),
    }
}

/// One for a new key: typed twice, because nobody opens a key with a slip of the finger.
pub(crate) fn new_passphrase(
    session: &Session,
    file: Option<&Path>,
    key: &Path,
) -> Result<String, CommandError> {
    if let Some(found) = written(session, file)? {
        return Ok(found);
    }
    let first = typed(key, &format!("Passphrase for key {}: ", key.display()))?;
    match typed(key, "The same again: ")? == first {
        true => Ok(first),
        false => Err(CommandError::usage("the two passphrases differ; no key was made")),
    }
}

/// What needs no person.
fn written(session: &Session, file: Option<&Path>) -> Result<Option<String>, CommandError> {
    if let Some(file) = file {
        let text = std::fs::read_to_string(file).context(|| format!("passphrase file {}", file.display()))?;
        return Ok(Some(text.lines().next().unwrap_or_default().to_owned()));
    }
    Ok(session.environment.secret("COSIGN_PASSWORD"))
}

fn typed(key: &Path, words: &str) -> Result<String, CommandError> {
    if !std::io::stdin().is_terminal() {
        let message = format!("private key {}: no terminal to ask for its passphrase on", key.display());
        return Err(
            CommandError::usage(message).with_hint("name a file with the passphrase, or set COSIGN_PASSWORD")
        );
    }
    let mut stderr = std::io::stderr();
    write!(stderr, "{words}")?;
    stderr.flush()?;
    Ok(terminal::read_secret()?)
}
