// SPDX-License-Identifier: Apache-2.0
//! `conex copy`, in skopeo's words.

use std::path::PathBuf;
use std::sync::Arc;

use conex_engine::images::transfer::{CopyOptions, Form, Others, Select};
use conex_engine::registry::Settings as RegistrySettings;
use conex_engine::signature::{self, Side, Wishes};
use conex_engine::transport::Location;
use conex_spec::distribution::Reference;
use conex_spec::image::{Descriptor, Platform};

use super::form::FormArgs;
use super::platform::parse_platform;
use super::sides::TwoSides;
use super::signing::SigningArgs;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::output;
use crate::session::{RegistryArgs, Session};

/// Copy an image from anywhere to anywhere
///
/// Places are docker://NAME (a registry), oci:DIRECTORY[:TAG] (an OCI image layout), oci-archive:FILE[:TAG] and
/// docker-archive:FILE[:NAME] (one file; more images may join it), docker-archive-dir:DIRECTORY, dir:DIRECTORY,
/// docker-daemon:NAME (a running docker), containers-storage:[overlay@GRAPHROOT]NAME (podman's and buildah's images; the
/// part in [] may be left out), and store:NAME (conex' own store; the default). Manifests are copied byte for byte,
/// unless the destination takes only another form (layouts OCI's media types, docker's archives plain layers) or one is
/// asked for.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  conex copy docker://alpine oci:alpine:latest       registry → directory; more tags may join the same one
  conex copy oci:alpine:latest store:alpine          directory → store
  conex copy --all docker://a/x:1 docker://b/x:1     registry → registry, all platforms
Exit codes: 2 where the image is missing, else 1.")]
pub(crate) struct Args {
    /// Where the image is
    #[arg(value_name = "SOURCE-IMAGE")]
    source: String,
    /// Where it shall be
    #[arg(value_name = "DESTINATION-IMAGE")]
    destination: String,
    /// All platforms of the image, not only this machine's
    #[arg(short, long)]
    all: bool,
    /// system (this machine's), all, index-only, or platforms: linux/amd64,linux/arm64
    ///
    /// Of some platforms, or none, the index is copied as it is: it then names images that the destination does not have.
    #[arg(long, value_name = "WHICH", conflicts_with = "all")]
    multi_arch: Option<String>,
    /// With platforms in --multi-arch: another index, without the others
    #[arg(long, requires = "multi_arch")]
    strip_removed_platforms: bool,
    /// Another name for the image in a docker-archive; may be repeated
    #[arg(long, value_name = "NAME")]
    additional_tag: Vec<Reference>,
    /// Write the digest of the copied image to a file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    /// Blobs under way at a time
    #[arg(long, value_name = "N", default_value_t = 6)]
    image_parallel_copies: usize,
    /// Show nothing
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    sides: TwoSides,
    #[command(flatten)]
    form: FormArgs,
    /// Sign as this name, not as the destination's
    #[arg(long, value_name = "NAME", help_heading = "Signatures")]
    sign_identity: Option<Reference>,
    #[command(flatten)]
    signing: SigningArgs,
    #[command(flatten)]
    habits: Habits,
}

/// skopeo's options that ask for what is done anyway: digests are known beforehand.
#[derive(clap::Args, Clone, Debug)]
struct Habits {
    #[arg(long, hide = true)]
    dest_precompute_digests: bool,
}

/// A copy with everything decided.
pub(crate) struct Request {
    /// Where from.
    pub source: Location,
    /// Where to.
    pub destination: Location,
    /// How the source's registry is spoken to.
    pub source_registry: RegistrySettings,
    /// How the destination's registry is spoken to.
    pub destination_registry: RegistrySettings,
    /// Which platforms.
    pub select: Select,
    /// Media types and compression.
    pub form: Form,
    /// An error rather than another digest.
    pub preserve_digests: bool,
    /// Blobs at a time.
    pub jobs: usize,
    /// What becomes of signatures.
    pub signatures: Arc<Wishes>,
    /// Show nothing.
    pub quiet: bool,
}

impl Request {
    /// Nothing to nowhere, with the same registry settings on both sides.
    pub(crate) fn new(session: &Session, registry: &RegistryArgs) -> Result<Self, CommandError> {
        let registry = session.registry(registry)?;
        Ok(Self {
            source: Location::Store(String::new()),
            destination: Location::Store(String::new()),
            source_registry: registry.clone(),
            destination_registry: registry,
            select: Select::Platform(Platform::host()),
            form: Form::default(),
            preserve_digests: false,
            jobs: 6,
            signatures: Arc::default(),
            quiet: false,
        })
    }

    /// Copies.
    pub(crate) fn run(&self, session: &Session) -> Result<Descriptor, CommandError> {
        let engine = session.engine()?;
        match self.destination.is_unpacked() {
            true => session.enter_user_namespace()?,
            false => session.enter_to_read(&self.source)?,
        }
        let whole = !matches!(self.select, Select::Platform(_));
        let source = self.source.trusted_source(&engine, &self.source_registry, whole)?;
        let sink = self.destination.sink(&engine, &self.destination_registry)?;
        let options = CopyOptions {
            select: self.select.clone(),
            form: self.form,
            preserve_digests: self.preserve_digests,
            jobs: self.jobs.max(1),
        };
        let progress = session.progress(self.quiet);
        let trust = engine.trust()?;
        let (kept, new) = (
            trust.place(&self.source, &self.source_registry),
            trust.place(&self.destination, &self.destination_registry),
        );
        let from = Side { image: source.as_ref(), signatures: &kept };
        let to = Side { image: sink.as_ref(), signatures: &new };
        Ok(signature::copy(&from, &to, &self.signatures, &options, progress.as_ref())?)
    }
}

/// Runs the verb. `default_store`: a name without a transport is one in the store.
pub(crate) fn run(args: &Args, session: &Session, platform: &Platform, default_store: bool) -> CommandResult {
    let context = || format!("copy {} {}", args.source, args.destination);
    let request = args.request(session, platform, default_store).context(context)?;
    let copied = request.run(session).context(context)?;
    if let Some(file) = &args.digestfile {
        std::fs::write(file, copied.digest.as_str()).context(|| file.display().to_string())?;
    }
    if !args.quiet {
        output::note(&format!("copied {} {}", args.destination, copied.digest));
    }
    Ok(0)
}

impl Args {
    fn request(
        &self,
        session: &Session,
        platform: &Platform,
        default_store: bool,
    ) -> Result<Request, CommandError> {
        Ok(Request {
            source: Location::parse(&self.source, default_store)?,
            destination: self.destination(default_store)?,
            source_registry: self.sides.source(session)?,
            destination_registry: self.sides.destination(session)?,
            select: self.select(platform)?,
            form: self.form.form()?,
            preserve_digests: self.form.preserve_digests,
            jobs: self.image_parallel_copies,
            signatures: self.signing.wishes(session, self.sign_identity.clone())?,
            quiet: self.quiet,
        })
    }

    fn destination(&self, default_store: bool) -> Result<Location, CommandError> {
        let mut destination = Location::parse(&self.destination, default_store)?;
        match &mut destination {
            Location::DockerArchive(name) | Location::DockerArchiveDir(name) => {
                name.more_names.clone_from(&self.additional_tag);
            }
            _ if self.additional_tag.is_empty() => {}
            _ => {
                return Err(CommandError::usage("--additional-tag: only a docker-archive has several names"));
            }
        }
        Ok(destination)
    }

    fn select(&self, platform: &Platform) -> Result<Select, CommandError> {
        let others = if self.strip_removed_platforms { Others::Removed } else { Others::Named };
        let select = match self.multi_arch.as_deref() {
            None if self.all => Select::All,
            None | Some("system") => Select::Platform(platform.clone()),
            Some("all") => Select::All,
            Some("index-only") => Select::IndexOnly,
            Some(list) => {
                // A word alone could be a platform's, or a mistyped one of the above.
                let parse = |text: &str| match text.contains('/') {
                    true => parse_platform(text),
                    false => {
                        Err("there are system, all, index-only, and platforms such as linux/arm64".to_owned())
                    }
                };
                let platforms = list.split(',').map(parse).collect::<Result<_, _>>();
                let wrong = |error: String| CommandError::usage(format!("--multi-arch {list:?}: {error}"));
                return Ok(Select::Platforms { platforms: platforms.map_err(wrong)?, others });
            }
        };
        match others {
            Others::Named => Ok(select),
            Others::Removed => {
                Err(CommandError::usage("--strip-removed-platforms: --multi-arch names no platforms"))
            }
        }
    }
}
