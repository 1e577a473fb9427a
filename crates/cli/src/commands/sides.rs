// SPDX-License-Identifier: Apache-2.0
//! How the registry, or the docker, of one side of a verb is spoken to, in skopeo's words: without a prefix where there
//! is one side, with `--src-` and `--dest-` where there are two.

use std::path::PathBuf;

use conex_engine::registry::Settings as RegistrySettings;

use crate::error::CommandError;
use crate::session::{RegistryArgs, Session, bearer, nobody};

/// What was said about one side.
#[derive(Clone, Debug, Default)]
pub(crate) struct Side {
    /// Certificate, login and files.
    pub registry: RegistryArgs,
    /// `--username`, in place of `--creds`.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<String>,
    /// Do not log in.
    pub no_creds: bool,
    /// Send this bearer token.
    pub registry_token: Option<String>,
    /// The docker.
    pub daemon_host: Option<String>,
    /// Tries after a failed one.
    pub retry_times: Option<u32>,
}

impl Side {
    /// As the client takes it.
    pub(crate) fn settings(mut self, session: &Session) -> Result<RegistrySettings, CommandError> {
        let password = self.password.as_deref().unwrap_or_default();
        let pair = self.username.as_ref().map(|user| format!("{user}:{password}"));
        self.registry.creds = self.registry.creds.or(pair);
        let mut settings = session.registry(&self.registry)?;
        settings.docker_host = self.daemon_host.unwrap_or(settings.docker_host);
        if self.no_creds {
            nobody(&mut settings);
        }
        if let Some(token) = &self.registry_token {
            bearer(&mut settings, token);
        }
        if let Some(times) = self.retry_times {
            settings.patience.attempts = settings.patience.attempts.max(times.saturating_add(1));
        }
        Ok(settings)
    }
}

/// The one side of a verb.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct OneSide {
    #[command(flatten)]
    registry: RegistryArgs,
    /// Log in as this user, with --password
    #[arg(long, value_name = "USER", conflicts_with = "creds")]
    username: Option<String>,
    /// For --username
    #[arg(long, value_name = "PASSWORD", requires = "username")]
    password: Option<String>,
    /// Do not log in
    #[arg(long, conflicts_with_all = ["creds", "username"])]
    no_creds: bool,
    /// Send this bearer token
    #[arg(long, value_name = "TOKEN")]
    registry_token: Option<String>,
    /// The docker, instead of $DOCKER_HOST
    #[arg(long, value_name = "HOST")]
    daemon_host: Option<String>,
    /// Tries after a failed one
    #[arg(long, value_name = "N")]
    retry_times: Option<u32>,
}

impl OneSide {
    /// As the client takes it.
    pub(crate) fn settings(&self, session: &Session) -> Result<RegistrySettings, CommandError> {
        let own = self.clone();
        let side = Side {
            registry: own.registry,
            username: own.username,
            password: own.password,
            no_creds: own.no_creds,
            registry_token: own.registry_token,
            daemon_host: own.daemon_host,
            retry_times: own.retry_times,
        };
        side.settings(session)
    }
}

/// Both sides of a verb that copies.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct TwoSides {
    /// Log in with what this file says
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// Tries after a failed one
    #[arg(long, value_name = "N")]
    retry_times: Option<u32>,
    #[command(flatten)]
    source: SourceSide,
    #[command(flatten)]
    destination: DestinationSide,
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

impl TwoSides {
    /// The source's, as the client takes it.
    pub(crate) fn source(&self, session: &Session) -> Result<RegistrySettings, CommandError> {
        self.source_side().settings(session)
    }

    /// What was said about the source.
    pub(crate) fn source_side(&self) -> Side {
        let own = self.source.clone();
        Side {
            registry: RegistryArgs {
                tls_verify: own.src_tls_verify,
                creds: own.src_creds,
                authfile: own.src_authfile.or_else(|| self.authfile.clone()),
                cert_dir: own.src_cert_dir,
            },
            username: own.src_username,
            password: own.src_password,
            no_creds: own.src_no_creds,
            registry_token: own.src_registry_token,
            daemon_host: own.src_daemon_host,
            retry_times: self.retry_times,
        }
    }

    /// The destination's, as the client takes it.
    pub(crate) fn destination(&self, session: &Session) -> Result<RegistrySettings, CommandError> {
        let own = self.destination.clone();
        let side = Side {
            registry: RegistryArgs {
                tls_verify: own.dest_tls_verify,
                creds: own.dest_creds,
                authfile: own.dest_authfile.or_else(|| self.authfile.clone()),
                cert_dir: own.dest_cert_dir,
            },
            username: own.dest_username,
            password: own.dest_password,
            no_creds: own.dest_no_creds,
            registry_token: own.dest_registry_token,
            daemon_host: own.dest_daemon_host,
            retry_times: self.retry_times,
        };
        side.settings(session)
    }
}
