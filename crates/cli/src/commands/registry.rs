// SPDX-License-Identifier: Apache-2.0
//! `conex registry`

use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;
use conex_serve::{Access, ServeOptions, Server, TlsFiles};

use crate::error::{CommandError, CommandResult, Context as _};
use crate::output;
use crate::session::Session;

/// Be a registry
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Serve(ServeArgs),
}

/// Serve images to docker, podman, skopeo and conex
///
/// What is pushed is kept in an OCI image layout, by default in conex' own store. The address is printed once
/// requests are answered. Runs until SIGINT or SIGTERM.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex registry serve                       on 127.0.0.1:5000, for this machine alone
  conex registry serve --dir ./images --read-only
  conex registry serve --listen 0.0.0.0:443 --tls-cert cert.pem --tls-key key.pem --htpasswd users")]
struct ServeArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5000")]
    listen: String,
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
    /// Demand a login: a file made with `htpasswd -B`
    #[arg(long, value_name = "FILE")]
    htpasswd: Option<PathBuf>,
    /// Print each request on stderr
    #[arg(long)]
    access_log: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    let Verb::Serve(args) = &args.verb;
    serve(args, session).context(|| format!("registry serve {}", args.listen))
}

fn serve(args: &ServeArgs, session: &Session) -> Result<u8, CommandError> {
    let root = args.dir.clone().map_or_else(|| session.engine().map(|engine| engine.settings.root), Ok)?;
    let mut options = ServeOptions::new(root);
    options.read_only = args.read_only;
    if let (Some(certificate), Some(key)) = (args.tls_cert.clone(), args.tls_key.clone()) {
        options.tls = Some(TlsFiles { certificate, key });
    }
    if let Some(file) = &args.htpasswd {
        let users = std::fs::read_to_string(file).context(|| file.display().to_string())?;
        options.htpasswd = Some(users);
    }
    if args.access_log {
        options.on_access = Some(Arc::new(log_access));
    }
    let server = Server::bind(&args.listen, options)?;
    let address = server.local_addr()?;
    let scheme = if args.tls_cert.is_some() { "https" } else { "http" };
    output::print_line(&format!("listening on {scheme}://{address}"))?;
    let shutdown = server.shutdown();
    conex_engine::terminal::on_end_signal(move || shutdown.trigger())?;
    server.run()?;
    Ok(0)
}

fn log_access(access: &Access) {
    let cause = access.cause.as_ref().map_or(String::new(), |cause| format!(" {cause}"));
    output::note(&format!("{} {} {} {}{cause}", access.peer, access.method, access.target, access.status));
}
