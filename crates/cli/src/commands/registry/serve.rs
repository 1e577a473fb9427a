// SPDX-License-Identifier: Apache-2.0
//! `conex registry serve`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use conex_engine::image;
use conex_serve::{Access, Error, ErrorKind, Gc, Limits, ServeOptions, Server, TlsFiles};

use super::upstream::RegistryBehind;
use crate::error::{CommandError, Context as _};
use crate::output::{self, units};
use crate::session::Session;

/// Serve images to docker, podman, skopeo and conex
///
/// What is pushed is kept in an OCI image layout, by default in conex' own store. The address is printed once
/// requests are answered. A browser sees at the same address what is there. Runs until SIGINT or SIGTERM.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex registry serve                       on 127.0.0.1:5000, for this machine alone
  conex registry serve --dir ./images --read-only
  conex registry serve --listen 0.0.0.0:443 --tls-cert cert.pem --tls-key key.pem --htpasswd users --anonymous-pull
  conex registry serve --dir ./cache --upstream docker.io")]
pub(super) struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5000")]
    pub(super) listen: String,
    /// The OCI layout to serve [default: the store]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Refuse pushes and deletions
    #[arg(long)]
    read_only: bool,
    /// The certificate and its intermediates, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// What clients call this registry, where something stands in between: https://registry.example
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Demand a login: a file made with `htpasswd -B`
    #[arg(long, value_name = "FILE")]
    htpasswd: Option<PathBuf>,
    /// Let everyone pull, and those who log in do everything
    #[arg(long, requires = "htpasswd", conflicts_with = "rights")]
    anonymous_pull: bool,
    /// Who may do what where: lines of a user (or * for anyone, @ for everyone who logs in), a repository (or
    /// beginning*), and some of pull push delete
    #[arg(long, value_name = "FILE", requires = "htpasswd")]
    rights: Option<PathBuf>,
    /// Be a cache of this registry (or of what is below REGISTRY/PATH): bring what is missing, and keep it
    #[arg(long, value_name = "REGISTRY", requires = "dir")]
    upstream: Option<String>,
    /// Refuse blobs above this size
    #[arg(long, value_name = "SIZE", value_parser = units::parse_size)]
    max_blob: Option<u64>,
    /// Refuse to begin more uploads than this at a time
    #[arg(long, value_name = "N")]
    max_uploads: Option<usize>,
    /// Keep no more connections open than this; others wait
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    max_connections: Option<u16>,
    /// Refuse more requests than this of one address in a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_requests: Option<u32>,
    /// Remove what nothing leads to, so often; pushes wait meanwhile
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration)]
    gc_every: Option<Duration>,
    /// Keep what was pushed, but not named by a manifest, for so long
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration, default_value = "1h", requires = "gc_every")]
    gc_grace: Duration,
    /// Answer /metrics, for Prometheus
    #[arg(long)]
    metrics: bool,
    /// Print each request on stderr
    #[arg(long)]
    access_log: bool,
}

pub(super) fn run(args: &Args, session: &Session) -> Result<u8, CommandError> {
    let server = Server::bind(&args.listen, options(args, session)?)?;
    let address = server.local_addr()?;
    let scheme = if args.tls_cert.is_some() { "https" } else { "http" };
    output::print_line(&format!("listening on {scheme}://{address}"))?;
    let shutdown = server.shutdown();
    conex_engine::terminal::on_end_signal(move || shutdown.trigger())?;
    server.run()?;
    Ok(0)
}

fn options(args: &Args, session: &Session) -> Result<ServeOptions, CommandError> {
    let root = args.dir.clone().map_or_else(|| session.engine().map(|engine| engine.settings.root), Ok)?;
    let tls = args.tls_cert.clone().zip(args.tls_key.clone());
    let upstream =
        args.upstream.as_deref().map(|behind| RegistryBehind::parse(behind, session)).transpose()?;
    Ok(ServeOptions {
        read_only: args.read_only,
        tls: tls.map(|(certificate, key)| TlsFiles { certificate, key }),
        address: args.url.clone(),
        htpasswd: args.htpasswd.as_deref().map(read).transpose()?,
        rights: match args.anonymous_pull {
            true => Some("* * pull\n@ * pull push delete".to_owned()),
            false => args.rights.as_deref().map(read).transpose()?,
        },
        limits: Limits {
            blob: args.max_blob,
            uploads: args.max_uploads,
            connections: args.max_connections.map(usize::from),
            requests: args.max_requests,
        },
        gc: args.gc_every.map(|every| gc(every, args, session)).transpose()?,
        upstream: upstream.map(|upstream| Arc::new(upstream) as _),
        metrics: args.metrics,
        on_access: args.access_log.then(|| Arc::new(log_access) as _),
        on_problem: Some(Arc::new(|error: &Error| output::note(&error.to_string()))),
        ..ServeOptions::new(root)
    })
}

/// A store is containers' as well: what they run from is kept.
fn gc(every: Duration, args: &Args, session: &Session) -> Result<Gc, CommandError> {
    let mut engine = session.engine()?;
    if let Some(dir) = &args.dir {
        engine.settings.root.clone_from(dir);
    }
    let failed = |error: conex_engine::Error| Error::new(ErrorKind::Os, error.to_string());
    let keep = Arc::new(move || image::in_use(&engine).map_err(failed));
    Ok(Gc { every, grace: args.gc_grace, keep: Some(keep) })
}

fn read(file: &Path) -> Result<String, CommandError> {
    std::fs::read_to_string(file).context(|| file.display().to_string())
}

fn log_access(access: &Access) {
    let cause = access.cause.as_ref().map_or(String::new(), |cause| format!(" {cause}"));
    output::note(&format!("{} {} {} {}{cause}", access.peer, access.method, access.target, access.status));
}
