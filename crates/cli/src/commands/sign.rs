// SPDX-License-Identifier: Apache-2.0
//! skopeo's `standalone-sign` and `standalone-verify`: simple signatures of manifests in files, by the person's own keys.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use conex_engine::images::verify::sha256;
use conex_engine::signature::{Claim, Gpg, Kind};

use crate::error::{CommandError, CommandResult, Context as _};
use crate::output;

/// Sign a manifest in a file with a key of yours
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  skopeo standalone-sign manifest.json quay.io/org/app:1 1D8230F6CDB6A06716E414C1DB72F2188BB46CC8 -o signature-1")]
pub(crate) struct SignArgs {
    /// The manifest
    manifest: PathBuf,
    /// What the image shall be known as
    docker_reference: String,
    /// The key
    key_fingerprint: String,
    /// Where to write the signature
    #[arg(short, long, value_name = "SIGNATURE")]
    output: PathBuf,
    /// A file with the key's passphrase
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// Verify a signature of a manifest in a file
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  skopeo standalone-verify manifest.json quay.io/org/app:1 1D8230F6CDB6A06716E414C1DB72F2188BB46CC8 signature-1")]
pub(crate) struct VerifyArgs {
    /// The manifest
    manifest: PathBuf,
    /// What the signature must call the image
    docker_reference: String,
    /// The key that must have signed
    key_fingerprint: String,
    /// The signature
    signature: PathBuf,
}

/// `standalone-sign`
pub(crate) fn sign(args: &SignArgs) -> CommandResult {
    let manifest = read("Error reading", &args.manifest)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let creator = concat!("conex ", env!("CARGO_PKG_VERSION"));
    let claim = Claim::new(Kind::Simple, &args.docker_reference, &sha256(&manifest), creator, now);
    claim.reference().context(|| "Error creating signature")?;
    let passphrase = args.passphrase_file.as_deref();
    let signature = Gpg::own()
        .sign(&claim.to_bytes(), &args.key_fingerprint, passphrase)
        .context(|| "Error creating signature")?;
    std::fs::write(&args.output, signature)
        .context(|| format!("Error writing signature to {}", args.output.display()))?;
    Ok(0)
}

/// `standalone-verify`
pub(crate) fn verify(args: &VerifyArgs) -> CommandResult {
    let manifest = read("Error reading manifest from", &args.manifest)?;
    let signature = read("Error reading signature from", &args.signature)?;
    let verified = || -> Result<_, CommandError> {
        let signed = Gpg::own().verify(&signature)?;
        let wanted = args.key_fingerprint.to_ascii_uppercase();
        if !signed.fingerprints.contains(&wanted) {
            let by = signed.fingerprints.join(" of ");
            return Err(CommandError::tool(format!("it is by {by}, not by {wanted}")));
        }
        let claim = Claim::parse(Kind::Simple, &signed.content)?;
        let digest = sha256(&manifest);
        if *claim.digest() != digest {
            let message = format!("it is for digest {}, the manifest is {digest}", claim.digest());
            return Err(CommandError::tool(message));
        }
        if claim.name() != args.docker_reference {
            let message = format!("it is for {:?}, not for {:?}", claim.name(), args.docker_reference);
            return Err(CommandError::tool(message));
        }
        Ok((wanted, digest))
    };
    let (key, digest) = verified().context(|| "Error verifying signature")?;
    output::print_line(&format!("Signature verified using fingerprint {key}, digest {digest}"))?;
    Ok(0)
}

fn read(what: &str, path: &PathBuf) -> Result<Vec<u8>, CommandError> {
    std::fs::read(path).context(|| format!("{what} {}", path.display()))
}
