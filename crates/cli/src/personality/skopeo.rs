// SPDX-License-Identifier: Apache-2.0
//! conex as skopeo.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use conex_spec::image::Platform;

use super::{Tool, session};
use crate::commands::image::sign as keys;
use crate::commands::{copy, delete, list_tags, login, logout, manifest_digest, remote_inspect, sign, sync};
use crate::error::{CommandError, CommandResult, Manner};
use crate::session::{Globals, Names};

/// Images in registries and directories: copy, look, delete, log in
#[derive(Parser, Debug)]
pub(super) struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(flatten)]
    own: SkopeoGlobals,
    #[command(subcommand)]
    verb: Verb,
}

/// skopeo's options in front of the verb.
#[derive(clap::Args, Debug)]
struct SkopeoGlobals {
    /// Choose images for this architecture
    #[arg(long, value_name = "ARCH", global = true)]
    override_arch: Option<String>,
    /// Choose images for this system
    #[arg(long, value_name = "OS", global = true)]
    override_os: Option<String>,
    /// Choose images for this variant of the architecture
    #[arg(long, value_name = "VARIANT", global = true)]
    override_variant: Option<String>,
    /// Accepted and without effect
    #[arg(long, hide = true, global = true)]
    debug: bool,
    /// Accepted and without effect: nothing is kept in temporary directories
    #[arg(long, value_name = "DIR", hide = true, global = true)]
    tmpdir: Option<PathBuf>,
    /// Accepted and without effect: requests have limits of their own
    #[arg(long, value_name = "DURATION", hide = true, global = true)]
    command_timeout: Option<String>,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Copy(Box<copy::Args>),
    Inspect(remote_inspect::Args),
    ListTags(list_tags::Args),
    Sync(Box<sync::Args>),
    Delete(delete::Args),
    Login(login::Args),
    Logout(logout::Args),
    ManifestDigest(manifest_digest::Args),
    GenerateSigstoreKey(keys::GenerateSigstoreArgs),
    StandaloneSign(sign::SignArgs),
    StandaloneVerify(sign::VerifyArgs),
    #[command(external_subcommand)]
    Absent(Vec<OsString>),
}

impl Tool for Cli {
    const NAME: &str = "skopeo";
    const MANNER: Manner = Manner::Transfer;

    fn run(&self) -> CommandResult {
        let session = session(&self.globals, Names::Full);
        let platform = self.own.platform();
        match &self.verb {
            Verb::Copy(args) => copy::run(args, &session, &platform, false),
            Verb::Inspect(args) => remote_inspect::run(args, &session, &platform),
            Verb::ListTags(args) => list_tags::run(args, &session),
            Verb::Sync(args) => sync::run(args, &session, &platform),
            Verb::Delete(args) => delete::run(args, &session),
            Verb::Login(args) => login::run(args, &session),
            Verb::Logout(args) => logout::run(args, &session),
            Verb::ManifestDigest(args) => manifest_digest::run(args),
            Verb::GenerateSigstoreKey(args) => keys::generate_sigstore(args, &session),
            Verb::StandaloneSign(args) => sign::sign(args),
            Verb::StandaloneVerify(args) => sign::verify(args),
            Verb::Absent(words) => {
                let verb = words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
                Err(CommandError::usage(format!("{verb:?} is not there"))
                    .with_hint("`skopeo --help` shows what there is"))
            }
        }
    }
}

impl SkopeoGlobals {
    fn platform(&self) -> Platform {
        let mut platform = Platform::host();
        if let Some(os) = &self.override_os {
            platform.os.clone_from(os);
        }
        if let Some(architecture) = &self.override_arch {
            platform.architecture.clone_from(architecture);
            platform.variant = None;
        }
        if self.override_variant.is_some() {
            platform.variant.clone_from(&self.override_variant);
        }
        platform
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_that_people_use_are_understood() {
        for words in [
            "skopeo copy --src-tls-verify=false docker://localhost:5000/a:1 oci:a:1",
            "skopeo --insecure-policy copy --all --dest-tls-verify=false oci:a:1 docker://localhost:5000/a:1",
            "skopeo copy --src-creds u:p --digestfile d -q docker://a oci:a",
            "skopeo inspect --raw docker://a",
            "skopeo list-tags --tls-verify=false docker://a",
            "skopeo --override-arch arm64 copy docker://a oci:a",
        ] {
            Cli::try_parse_from(words.split(' ')).unwrap_or_else(|error| panic!("{words}: {error}"));
        }
    }
}
