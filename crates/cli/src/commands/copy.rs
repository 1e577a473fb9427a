// SPDX-License-Identifier: Apache-2.0
//! `conex copy`, in skopeo's words.

use std::path::PathBuf;

use conex_engine::images::transfer::{CopyOptions, Form, Select, copy};
use conex_engine::registry::Settings as RegistrySettings;
use conex_engine::transport::Location;
use conex_spec::image::{Descriptor, Platform};

use super::form::FormArgs;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::output;
use crate::session::{RegistryArgs, Session, bearer, nobody};

/// Copy an image from anywhere to anywhere
///
/// Places are docker://NAME (a registry), oci:DIRECTORY[:TAG] (an OCI image layout), oci-archive:FILE[:TAG] and
/// docker-archive:FILE[:NAME] (one file; more images may join it), docker-archive-dir:DIRECTORY, dir:DIRECTORY,
/// docker-daemon:NAME (a running docker), and store:NAME (conex' own store; the default). Manifests are copied byte for byte, unless the destination takes only
/// another form (layouts OCI's media types, docker's archives plain layers) or one is asked for.
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
    /// system (this machine's), all, or index-only
    #[arg(long, value_name = "WHICH", conflicts_with = "all")]
    multi_arch: Option<String>,
    /// Write the digest of the copied image to a file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    /// Blobs under way at a time
    #[arg(long, value_name = "N", default_value_t = 6)]
    image_parallel_copies: usize,
    /// Tries after a failed one
    #[arg(long, value_name = "N")]
    retry_times: Option<u32>,
    /// Show nothing
    #[arg(short, long)]
    quiet: bool,
    /// Log in with what this file says
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    #[command(flatten)]
    source_side: SourceSide,
    #[command(flatten)]
    destination_side: DestinationSide,
    #[command(flatten)]
    form: FormArgs,
    #[command(flatten)]
    habits: Habits,
}

/// How the source's registry is spoken to.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Source registry")]
struct SourceSide {
    /// Demand HTTPS with a valid certificate
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    src_tls_verify: Option<bool>,
    /// Log in as this user
    #[arg(long, value_name = "USER[:PASSWORD]")]
    src_creds: Option<String>,
    /// Log in as this user, with --src-password
    #[arg(long, value_name = "USER")]
    src_username: Option<String>,
    /// For --src-username
    #[arg(long, value_name = "PASSWORD", requires = "src_username")]
    src_password: Option<String>,
    /// Do not log in
    #[arg(long)]
    src_no_creds: bool,
    /// Send this bearer token
    #[arg(long, value_name = "TOKEN")]
    src_registry_token: Option<String>,
    /// Log in with what this file says
    #[arg(long, value_name = "FILE")]
    src_authfile: Option<PathBuf>,
    /// Certificates (*.crt, *.cert, *.key)
    #[arg(long, value_name = "DIR")]
    src_cert_dir: Option<PathBuf>,
    /// The docker to copy from, instead of $DOCKER_HOST
    #[arg(long, value_name = "HOST")]
    src_daemon_host: Option<String>,
}

/// How the destination's registry is spoken to.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Destination registry")]
struct DestinationSide {
    /// Demand HTTPS with a valid certificate
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    dest_tls_verify: Option<bool>,
    /// Log in as this user
    #[arg(long, value_name = "USER[:PASSWORD]")]
    dest_creds: Option<String>,
    /// Log in as this user, with --dest-password
    #[arg(long, value_name = "USER")]
    dest_username: Option<String>,
    /// For --dest-username
    #[arg(long, value_name = "PASSWORD", requires = "dest_username")]
    dest_password: Option<String>,
    /// Do not log in
    #[arg(long)]
    dest_no_creds: bool,
    /// Send this bearer token
    #[arg(long, value_name = "TOKEN")]
    dest_registry_token: Option<String>,
    /// Log in with what this file says
    #[arg(long, value_name = "FILE")]
    dest_authfile: Option<PathBuf>,
    /// Certificates (*.crt, *.cert, *.key)
    #[arg(long, value_name = "DIR")]
    dest_cert_dir: Option<PathBuf>,
    /// The docker to copy to, instead of $DOCKER_HOST
    #[arg(long, value_name = "HOST")]
    dest_daemon_host: Option<String>,
}

/// skopeo's options that ask for what is done anyway: signatures are never copied, digests known beforehand.
#[derive(clap::Args, Clone, Debug)]
struct Habits {
    #[arg(long, hide = true)]
    remove_signatures: bool,
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
    /// All platforms.
    pub all: bool,
    /// Which one, otherwise.
    pub platform: Platform,
    /// Media types and compression.
    pub form: Form,
    /// An error rather than another digest.
    pub preserve_digests: bool,
    /// Blobs at a time.
    pub jobs: usize,
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
            all: false,
            platform: Platform::host(),
            form: Form::default(),
            preserve_digests: false,
            jobs: 6,
            quiet: false,
        })
    }

    /// Copies.
    pub(crate) fn run(&self, session: &Session) -> Result<Descriptor, CommandError> {
        let engine = session.engine()?;
        if self.destination.is_store() {
            session.enter_user_namespace()?;
        }
        let source = self.source.source(&engine, &self.source_registry)?;
        let sink = self.destination.sink(&engine, &self.destination_registry)?;
        let select = if self.all { Select::All } else { Select::Platform(self.platform.clone()) };
        let options = CopyOptions {
            select,
            form: self.form,
            preserve_digests: self.preserve_digests,
            jobs: self.jobs.max(1),
        };
        let progress = session.progress(self.quiet);
        Ok(copy(source.as_ref(), sink.as_ref(), &options, progress.as_ref())?)
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
            destination: Location::parse(&self.destination, default_store)?,
            source_registry: self.source_registry(session)?,
            destination_registry: self.destination_registry(session)?,
            all: self.is_all()?,
            platform: platform.clone(),
            form: self.form.form()?,
            preserve_digests: self.form.preserve_digests,
            jobs: self.image_parallel_copies,
            quiet: self.quiet,
        })
    }

    fn is_all(&self) -> Result<bool, CommandError> {
        match self.multi_arch.as_deref() {
            None => Ok(self.all),
            Some("system") => Ok(false),
            Some("all") => Ok(true),
            Some("index-only") => Err(CommandError::tool("--multi-arch index-only is not there yet")),
            Some(other) => {
                Err(CommandError::usage(format!("--multi-arch {other:?}: there are system, all, index-only")))
            }
        }
    }

    fn source_registry(&self, session: &Session) -> Result<RegistrySettings, CommandError> {
        let side = &self.source_side;
        let mut settings = session.registry(&RegistryArgs {
            tls_verify: side.src_tls_verify,
            creds: login(side.src_creds.as_ref(), side.src_username.as_ref(), side.src_password.as_ref()),
            authfile: side.src_authfile.clone().or_else(|| self.authfile.clone()),
            cert_dir: side.src_cert_dir.clone(),
        })?;
        settings.docker_host = side.src_daemon_host.clone().unwrap_or(settings.docker_host);
        self.finish(&mut settings, side.src_no_creds, side.src_registry_token.as_deref());
        Ok(settings)
    }

    fn destination_registry(&self, session: &Session) -> Result<RegistrySettings, CommandError> {
        let side = &self.destination_side;
        let mut settings = session.registry(&RegistryArgs {
            tls_verify: side.dest_tls_verify,
            creds: login(side.dest_creds.as_ref(), side.dest_username.as_ref(), side.dest_password.as_ref()),
            authfile: side.dest_authfile.clone().or_else(|| self.authfile.clone()),
            cert_dir: side.dest_cert_dir.clone(),
        })?;
        settings.docker_host = side.dest_daemon_host.clone().unwrap_or(settings.docker_host);
        self.finish(&mut settings, side.dest_no_creds, side.dest_registry_token.as_deref());
        Ok(settings)
    }

    fn finish(&self, settings: &mut RegistrySettings, no_creds: bool, token: Option<&str>) {
        if no_creds {
            nobody(settings);
        }
        if let Some(token) = token {
            bearer(settings, token);
        }
        if let Some(times) = self.retry_times {
            settings.patience.attempts = settings.patience.attempts.max(times.saturating_add(1));
        }
    }
}

fn login(creds: Option<&String>, user: Option<&String>, password: Option<&String>) -> Option<String> {
    let pair = user.map(|user| format!("{user}:{}", password.map_or("", String::as_str)));
    creds.cloned().or(pair)
}
