// SPDX-License-Identifier: Apache-2.0
//! `conex image sign`, `verify` and `generate-key-pair`: signatures with keys, as cosign makes and reads them.

use std::path::PathBuf;

use clap::ValueEnum;
use conex_engine::images::transfer::Source as _;
use conex_engine::registry::Client;
use conex_engine::signature::{self, Claimed, PrivateKey, PublicKey, Scheme};
use conex_engine::system;
use conex_engine::transport::Location;
use conex_spec::distribution::Reference;

use crate::commands::signing::{CREATOR, new_passphrase, now, private_key};
use crate::error::{CommandError, CommandResult, Context as _};
use crate::output;
use crate::session::{RegistryArgs, Session};

/// Sign an image on a registry with a private key
///
/// The signature goes where cosign puts it, beside the image: cosign verifies it with the public key, and a policy.json
/// with sigstoreSigned does where registries.d has use-sigstore-attachments.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex image generate-key-pair
  conex image sign --key cosign.key docker://quay.io/org/app:1
  conex image verify --key cosign.pub docker://quay.io/org/app:1")]
pub(crate) struct SignArgs {
    /// The image: docker://NAME
    #[arg(value_name = "IMAGE")]
    image: String,
    /// The private key: cosign's format, or PKCS #8
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Its passphrase [default: $COSIGN_PASSWORD, or asked]
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// tag (sha256-….sig, what policies read) or bundle (a referrer of the image, as cosign 3 makes it)
    #[arg(long, value_name = "HOW", value_enum, default_value = "tag")]
    scheme: SchemeWord,
    /// Sign as this name, not as IMAGE
    #[arg(long, value_name = "NAME")]
    sign_identity: Option<Reference>,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Verify that a key signed an image on a registry
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  conex image verify --key cosign.pub docker://quay.io/org/app:1")]
pub(crate) struct VerifyArgs {
    /// The image: docker://NAME
    #[arg(value_name = "IMAGE")]
    image: String,
    /// The public key; with several, one of them is enough
    #[arg(long, value_name = "FILE", required = true)]
    key: Vec<PathBuf>,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Make a key pair that signs images, in cosign's format
#[derive(clap::Args, Debug)]
pub(crate) struct GenerateArgs {
    /// Write PREFIX.key and PREFIX.pub
    #[arg(long, value_name = "PREFIX", default_value = "cosign")]
    output_key_prefix: String,
    /// The private key's passphrase [default: $COSIGN_PASSWORD, or asked]
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// The same in skopeo's words
#[derive(clap::Args, Debug)]
pub(crate) struct GenerateSigstoreArgs {
    /// Write PREFIX.private and PREFIX.pub
    #[arg(long, value_name = "PREFIX")]
    output_prefix: String,
    /// The private key's passphrase
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SchemeWord {
    Tag,
    Bundle,
}

/// `sign`
pub(crate) fn sign(args: &SignArgs, session: &Session) -> CommandResult {
    let run = || -> CommandResult {
        system::keep_secrets()?;
        let key = private_key(session, &args.key, args.passphrase_file.as_deref())?;
        let (client, reference) = registry(&args.image, session, &args.registry)?;
        let descriptor = client.remote(&reference).resolve()?.descriptor;
        let scheme = match args.scheme {
            SchemeWord::Tag => Scheme::Tag,
            SchemeWord::Bundle => Scheme::Bundle,
        };
        let name = args.sign_identity.as_ref().unwrap_or(&reference).canonical();
        let claimed = Claimed { name: &name, creator: CREATOR, timestamp: now() };
        signature::sign(&client, &reference, &descriptor, key, scheme, &claimed)?;
        output::note(&format!("signed {name} {}", descriptor.digest));
        Ok(0)
    };
    run().context(|| format!("sign {}", args.image))
}

/// `verify`
pub(crate) fn verify(args: &VerifyArgs, session: &Session) -> CommandResult {
    let run = || -> CommandResult {
        let read = |file: &PathBuf| -> Result<PublicKey, CommandError> {
            let text = std::fs::read(file).context(|| format!("key {}", file.display()))?;
            PublicKey::parse(&text).context(|| format!("key {}", file.display()))
        };
        let keys: Vec<PublicKey> = args.key.iter().map(read).collect::<Result<_, _>>()?;
        let (client, reference) = registry(&args.image, session, &args.registry)?;
        let (digest, found) = signature::find(&client, &reference, &keys)?;
        for one in found {
            let name = one.name.map_or_else(String::new, |name| format!(" as {name:?}"));
            let how = match one.scheme {
                Scheme::Tag => "tag",
                Scheme::Bundle => "bundle",
            };
            output::print_line(&format!("{digest} is signed{name} ({how})"))?;
        }
        Ok(0)
    };
    run().context(|| format!("verify {}", args.image))
}

/// `generate-key-pair`
pub(crate) fn generate(args: &GenerateArgs, session: &Session) -> CommandResult {
    let prefix = &args.output_key_prefix;
    write_pair(session, format!("{prefix}.key"), format!("{prefix}.pub"), args.passphrase_file.as_ref())
}

/// skopeo's `generate-sigstore-key`
pub(crate) fn generate_sigstore(args: &GenerateSigstoreArgs, session: &Session) -> CommandResult {
    let prefix = &args.output_prefix;
    write_pair(session, format!("{prefix}.private"), format!("{prefix}.pub"), args.passphrase_file.as_ref())
}

/// Never over files that are there: a key that is lost signs nothing any more.
fn write_pair(
    session: &Session,
    private: String,
    public: String,
    passphrase_file: Option<&PathBuf>,
) -> CommandResult {
    for file in [&private, &public] {
        if std::fs::symlink_metadata(file).is_ok() {
            return Err(CommandError::tool(format!("Refusing to overwrite existing {file:?}")));
        }
    }
    system::keep_secrets()?;
    let secret = new_passphrase(session, passphrase_file.map(PathBuf::as_path), private.as_ref())?;
    let made = PrivateKey::generate(secret.as_bytes())?;
    write_new(&private, made.private.as_bytes(), 0o600)?;
    write_new(&public, made.public.as_bytes(), 0o644)?;
    output::print_line(&format!("Key written to {private:?} and {public:?}"))?;
    Ok(0)
}

fn write_new(path: &str, bytes: &[u8], mode: u32) -> Result<(), CommandError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(mode).open(path);
    opened.and_then(|mut file| file.write_all(bytes)).context(|| path.to_owned())
}

fn registry(
    image: &str,
    session: &Session,
    args: &RegistryArgs,
) -> Result<(Client, Reference), CommandError> {
    let Location::Docker(reference) = Location::parse(image, false)? else {
        return Err(CommandError::usage("only images on a registry have such signatures")
            .with_hint("push the image first, then sign docker://NAME"));
    };
    Ok((Client::new(session.registry(args)?), reference))
}
