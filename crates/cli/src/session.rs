// SPDX-License-Identifier: Apache-2.0
//! What every verb starts from: the environment, the options that stand before or after any verb, and the engine that
//! follows from them.

use std::path::PathBuf;

use clap::Args;
use conex_engine::images::transfer::Progress;
use conex_engine::registry::{Credentials, Login, NoCredentials, Settings as RegistrySettings};
use conex_engine::transport::Location;
use conex_engine::{Engine, Settings, container, userns};
use conex_spec::distribution::Reference;

use crate::environment::Environment;
use crate::error::{CommandError, Context as _};
use crate::output::progress::{self, Mode};

/// Options that every verb takes.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Globals {
    /// Where images, containers and volumes are [default: /var/lib/conex, or ~/.local/share/conex]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub root: Option<PathBuf>,
    /// Where the runtime keeps its state [default: /run/conex, or $XDG_RUNTIME_DIR/conex]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub runroot: Option<PathBuf>,
    /// The OCI runtime, by path or name: conex-runtime, runc, crun [default: conex-runtime]
    #[arg(long, global = true, value_name = "PROGRAM", help_heading = "Global options")]
    pub runtime: Option<PathBuf>,
    /// How transfers are shown on stderr
    #[arg(long, global = true, value_enum, default_value = "auto", help_heading = "Global options")]
    pub progress: Mode,
    /// In place of the ecosystem's registries.conf files
    #[arg(long, global = true, value_name = "FILE", hide = true)]
    pub registries_conf: Option<PathBuf>,
    #[command(flatten)]
    pub trust: TrustArgs,
}

/// Which images may be used.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct TrustArgs {
    /// The signature policy, in place of the ecosystem's policy.json files
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub policy: Option<PathBuf>,
    /// Use all images, whatever the signature policy says
    #[arg(long, global = true, help_heading = "Global options", conflicts_with = "policy")]
    pub insecure_policy: bool,
    /// Use only images of which the signature policy demands a signature
    #[arg(long, global = true, help_heading = "Global options", conflicts_with = "insecure_policy")]
    pub require_signed: bool,
    /// Where signatures are, in place of the ecosystem's registries.d directories
    #[arg(long = "registries.d", global = true, value_name = "DIR", hide = true)]
    pub registries_d: Option<PathBuf>,
}

/// How a registry is spoken to, for verbs with one image.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct RegistryArgs {
    /// Demand HTTPS with a valid certificate (=false: accept any, and plain HTTP)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub tls_verify: Option<bool>,
    /// Log in as this user
    #[arg(long, value_name = "USER[:PASSWORD]")]
    pub creds: Option<String>,
    /// Log in with what this file says
    #[arg(long, value_name = "FILE")]
    pub authfile: Option<PathBuf>,
    /// Certificates (*.crt, *.cert, *.key) for the registry
    #[arg(long, value_name = "DIR")]
    pub cert_dir: Option<PathBuf>,
}

/// How names are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// `docker.io/library/alpine`
    Full,
    /// `alpine`, as docker shows it.
    Familiar,
}

/// One run of the program.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// Who runs it.
    pub environment: Environment,
    /// What stood before and after the verb.
    pub globals: Globals,
    /// How names are shown.
    pub names: Names,
}

impl Session {
    /// The engine with what the environment and the options say.
    pub(crate) fn engine(&self) -> Result<Engine, CommandError> {
        self.engine_for(&RegistryArgs::default())
    }

    /// The engine, for a verb that has options about a registry.
    pub(crate) fn engine_for(&self, registry: &RegistryArgs) -> Result<Engine, CommandError> {
        let globals = &self.globals;
        let root = self.root();
        let run_root = match &globals.runroot {
            Some(run_root) => run_root.clone(),
            None => self.environment.run_root()?,
        };
        let monitor = self.own_runtime();
        let runtime = match &globals.runtime {
            Some(named) => self.named_runtime(named)?,
            None => monitor.clone(),
        };
        let absolute = |path: PathBuf| std::path::absolute(&path).context(|| path.display().to_string());
        Ok(Engine::new(Settings {
            root: absolute(root)?,
            run_root: absolute(run_root)?,
            runtime,
            monitor,
            registry: self.registry(registry)?,
            containers_storage: self.environment.containers_storage(),
            trust: self.environment.trust(&self.globals.trust),
        }))
    }

    /// Where the store is.
    fn root(&self) -> PathBuf {
        self.globals.root.clone().unwrap_or_else(|| self.environment.store_root())
    }

    /// How registries are spoken to, with the options of one side of a transfer.
    pub(crate) fn registry(&self, args: &RegistryArgs) -> Result<RegistrySettings, CommandError> {
        let mut settings =
            self.environment.registry(self.globals.registries_conf.as_deref(), args.authfile.as_deref())?;
        settings.sightings = Some(self.root().join("seen"));
        settings.tls.verify = args.tls_verify;
        settings.tls.cert_dir.clone_from(&args.cert_dir);
        if let Some(creds) = &args.creds {
            settings.credentials = std::sync::Arc::new(Named::parse(creds)?);
        }
        Ok(settings)
    }

    /// Beside this program, else on PATH.
    fn own_runtime(&self) -> PathBuf {
        let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join("conex-runtime")));
        let beside = beside.filter(|path| path.is_file());
        beside
            .or_else(|| self.environment.find_program("conex-runtime"))
            .unwrap_or_else(|| "conex-runtime".into())
    }

    fn named_runtime(&self, named: &PathBuf) -> Result<PathBuf, CommandError> {
        if named.components().count() > 1 {
            return std::path::absolute(named).context(|| named.display().to_string());
        }
        self.environment.find_program(&named.to_string_lossy()).ok_or_else(|| {
            CommandError::tool(format!("runtime {}: not on PATH", named.display()))
                .with_hint("name it by its path, or install it; without --runtime conex uses its own")
        })
    }

    /// For verbs that write layers or delete containers: an ordinary user's files there belong to subordinate ids.
    /// Must come before anything starts a thread.
    pub(crate) fn enter_user_namespace(&self) -> Result<(), CommandError> {
        // A verb may be made of several; once is enough.
        if self.environment.is_rootless() && !self.environment.is_unshared() && !userns::is_root() {
            userns::enter(self.environment.uid, self.environment.gid)?;
        }
        Ok(())
    }

    /// The same for verbs that only read: podman's layers of an ordinary user belong to such ids, too, and layers that
    /// were made here are packed from such files.
    pub(crate) fn enter_to_read(&self, location: &Location) -> Result<(), CommandError> {
        match location {
            Location::ContainersStorage(_) | Location::Store(_) => self.enter_user_namespace(),
            _ => Ok(()),
        }
    }

    /// What killed commands left goes now, where this process is in a position to remove it.
    pub(crate) fn sweep(&self, engine: &Engine) -> Result<(), CommandError> {
        container::sweep(engine)?;
        Ok(())
    }

    /// The display for a transfer.
    pub(crate) fn progress(&self, quiet: bool) -> Box<dyn Progress> {
        let mode = if quiet { Mode::Quiet } else { self.globals.progress };
        progress::display(mode, self.environment.is_dumb_terminal())
    }

    /// A repository's name in a table.
    pub(crate) fn repository(&self, reference: &Reference) -> String {
        let full = reference.repository();
        match (self.names, full.strip_prefix("docker.io/")) {
            (Names::Familiar, Some(rest)) => rest.strip_prefix("library/").unwrap_or(rest).to_owned(),
            _ => full,
        }
    }
}

impl From<std::io::Error> for CommandError {
    fn from(error: std::io::Error) -> Self {
        Self::tool(error.to_string())
    }
}

/// The same login wherever it is asked for: `--creds`.
pub(crate) struct Named(pub Login);

impl Named {
    fn parse(text: &str) -> Result<Self, CommandError> {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        if user.is_empty() {
            return Err(CommandError::usage("--creds: write USER:PASSWORD"));
        }
        Ok(Self(Login::Basic { user: user.to_owned(), password: password.to_owned() }))
    }
}

impl Credentials for Named {
    fn find(&self, _host: &str, _name: &str) -> conex_engine::images::Result<Option<Login>> {
        Ok(Some(self.0.clone()))
    }
}

/// Nobody is logged in: `--no-creds`.
pub(crate) fn nobody(settings: &mut RegistrySettings) {
    settings.credentials = std::sync::Arc::new(NoCredentials);
}

/// A ready token: `--registry-token`.
pub(crate) fn bearer(settings: &mut RegistrySettings, token: &str) {
    settings.credentials = std::sync::Arc::new(Named(Login::Bearer { token: token.to_owned() }));
}
