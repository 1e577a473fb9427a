// SPDX-License-Identifier: Apache-2.0
//! The one place that reads the environment: who runs this, where their files are, what their configuration says.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use conex_engine::containers_storage::Places;
use conex_engine::policy::TrustFiles;
use conex_engine::registry::config::Registries;
use conex_engine::registry::{ProxySettings, Settings as RegistrySettings};

use crate::error::CommandError;
use crate::logins::Logins;
use crate::session::TrustArgs;

/// What the process was started with.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    /// The user's id; the effective one, but in `builder unshare` that of who started it.
    pub uid: u32,
    /// The group's, likewise.
    pub gid: u32,
    /// Already root of the user namespace that the user's images belong to.
    unshared: bool,
    /// By which id the user's own files are seen.
    seen: u32,
    home: PathBuf,
}

/// The ecosystem's words for a user namespace that is ready: `buildah unshare` and `podman unshare` set them, and we do.
pub(crate) const USERNS_CONFIGURED: &str = "_CONTAINERS_USERNS_CONFIGURED";
pub(crate) const ROOTLESS_UID: &str = "_CONTAINERS_ROOTLESS_UID";
pub(crate) const ROOTLESS_GID: &str = "_CONTAINERS_ROOTLESS_GID";

impl Environment {
    /// Looks once; nothing later reads the environment for itself.
    pub(crate) fn read() -> Self {
        let uid = conex_engine::system::effective_user();
        let gid = conex_engine::system::effective_group();
        let home = env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        let home = home.unwrap_or_else(|| PathBuf::from(if uid == 0 { "/root" } else { "/" }));
        let id = |name: &str| env::var(name).ok()?.parse::<u32>().ok().filter(|id| *id != 0);
        let configured = env::var_os(USERNS_CONFIGURED).is_some_and(|word| !word.is_empty());
        match (id(ROOTLESS_UID), id(ROOTLESS_GID)) {
            (Some(user), Some(group)) if configured && uid == 0 && !conex_engine::userns::is_initial() => {
                Self { uid: user, gid: group, unshared: true, seen: uid, home }
            }
            _ => Self { uid, gid, unshared: false, seen: uid, home },
        }
    }

    /// Whether an ordinary user asks.
    pub(crate) fn is_rootless(&self) -> bool {
        self.uid != 0
    }

    /// Whether this is in `builder unshare`.
    pub(crate) fn is_unshared(&self) -> bool {
        self.unshared
    }

    /// A variable that is set and not empty.
    pub(crate) fn variable(&self, name: &str) -> Option<OsString> {
        env::var_os(name).filter(|value| !value.is_empty())
    }

    /// A variable that may be empty on purpose: an empty passphrase is one.
    pub(crate) fn secret(&self, name: &str) -> Option<String> {
        env::var(name).ok()
    }

    fn text(&self, name: &str) -> Option<String> {
        self.variable(name)?.into_string().ok()
    }

    fn xdg(&self, variable: &str, below_home: &str) -> PathBuf {
        let set = self.variable(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        set.unwrap_or_else(|| self.home.join(below_home))
    }

    /// Where images and containers are: `$CONEX_ROOT`, `/var/lib/conex`, or the user's data directory.
    pub(crate) fn store_root(&self) -> PathBuf {
        match self.variable("CONEX_ROOT") {
            Some(root) => root.into(),
            None if self.uid == 0 => "/var/lib/conex".into(),
            None => self.xdg("XDG_DATA_HOME", ".local/share").join("conex"),
        }
    }

    /// Where the runtime keeps its state: `$CONEX_RUNROOT`, `/run/conex`, `$XDG_RUNTIME_DIR/conex`, or without one
    /// `/run/user/UID/conex`, or a directory in `/tmp` that is provably the user's own.
    pub(crate) fn run_root(&self) -> Result<PathBuf, CommandError> {
        if let Some(root) = self.variable("CONEX_RUNROOT") {
            return Ok(root.into());
        }
        if self.uid == 0 {
            return Ok("/run/conex".into());
        }
        let session = self.variable("XDG_RUNTIME_DIR").map(PathBuf::from);
        let usual = PathBuf::from(format!("/run/user/{}", self.uid));
        match session.into_iter().chain([usual]).find(|path| self.owns(path)) {
            Some(path) => Ok(path.join("conex")),
            None => self.scratch().map(|path| path.join("conex")),
        }
    }

    /// A directory of this user's that nobody else can write to.
    fn owns(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|m| m.is_dir() && m.uid() == self.seen && m.mode() & 0o022 == 0)
    }

    fn scratch(&self) -> Result<PathBuf, CommandError> {
        let path = PathBuf::from(format!("/tmp/conex-run-{}", self.uid));
        // Made by somebody else before us, it is not ours: the check below tells.
        let _exists = fs::DirBuilder::new().mode(0o700).create(&path);
        let own = fs::symlink_metadata(&path)
            .is_ok_and(|m| m.is_dir() && m.uid() == self.seen && m.mode() & 0o777 == 0o700);
        if own {
            return Ok(path);
        }
        Err(CommandError::tool(format!(
            "{} is not a directory of user {} with mode 0700",
            path.display(),
            self.uid
        ))
        .with_hint("set XDG_RUNTIME_DIR to a directory of your own with mode 0700"))
    }

    /// `$SOURCE_DATE_EPOCH`, seconds since 1970: the time that what is built shall have, whenever it is.
    pub(crate) fn source_date_epoch(&self) -> Result<Option<i64>, CommandError> {
        let Some(text) = self.variable("SOURCE_DATE_EPOCH") else { return Ok(None) };
        let seconds = text.to_str().and_then(|text| text.parse::<u32>().ok());
        match seconds {
            Some(seconds) => Ok(Some(seconds.into())),
            None => Err(CommandError::usage(format!("SOURCE_DATE_EPOCH={text:?} is not seconds since 1970"))),
        }
    }

    /// Whether a pty, colours and the like make sense is the caller's question; this is only `$NO_COLOR` and `$TERM`.
    pub(crate) fn is_dumb_terminal(&self) -> bool {
        self.text("TERM").is_none_or(|term| term == "dumb")
    }

    /// `docker-credential-…` and `conex-runtime` are looked for here.
    pub(crate) fn find_program(&self, name: &str) -> Option<PathBuf> {
        let path = self.variable("PATH")?;
        env::split_paths(&path).map(|directory| directory.join(name)).find(|path| path.is_file())
    }

    /// Everything about registries: files of the user before those of the system.
    pub(crate) fn registry(
        &self,
        registries_conf: Option<&Path>,
        authfile: Option<&Path>,
    ) -> Result<RegistrySettings, CommandError> {
        let mut settings = RegistrySettings::new(concat!("conex/", env!("CARGO_PKG_VERSION")));
        settings.registries = self.registries(registries_conf)?;
        let helpers = settings.registries.credential_helpers.clone();
        settings.credentials = Arc::new(Logins { helpers, ..self.logins(authfile) });
        let config = self.xdg("XDG_CONFIG_HOME", ".config");
        settings.tls.certs_dirs = vec![
            config.join("containers/certs.d"),
            "/etc/containers/certs.d".into(),
            "/etc/docker/certs.d".into(),
        ];
        let either = |lower: &str, upper: &str| self.text(lower).or_else(|| self.text(upper));
        if let Ok(host) = env::var("DOCKER_HOST")
            && !host.is_empty()
        {
            settings.docker_host = host;
        }
        settings.proxy = ProxySettings {
            // Upper-case HTTP_PROXY is a CGI request header; curl and Go disagree, and this is no CGI program.
            http: either("http_proxy", "HTTP_PROXY"),
            https: either("https_proxy", "HTTPS_PROXY"),
            no_proxy: either("no_proxy", "NO_PROXY"),
        };
        Ok(settings)
    }

    /// One main file: named, the user's, or the system's. Then the drop-ins beside the system's and the user's, and the aliases
    /// that other programs have recorded.
    fn registries(&self, named: Option<&Path>) -> Result<Registries, CommandError> {
        let mut registries = Registries::default();
        let user = self.xdg("XDG_CONFIG_HOME", ".config").join("containers");
        let system = PathBuf::from("/etc/containers");
        let named = named
            .map(Path::to_owned)
            .or_else(|| self.variable("CONTAINERS_REGISTRIES_CONF").map(PathBuf::from));
        let mut files: Vec<PathBuf> = match named {
            Some(named) => vec![named],
            None => {
                let main = [user.join("registries.conf"), system.join("registries.conf")];
                let main = main.into_iter().find(|path| path.exists());
                let drop_ins = [&system, &user]
                    .into_iter()
                    .flat_map(|d| files_ending(&d.join("registries.conf.d"), "conf"));
                let cache = match self.is_rootless() {
                    true => self.xdg("XDG_CACHE_HOME", ".cache"),
                    false => "/var/cache".into(),
                };
                let recorded =
                    Some(cache.join("containers/short-name-aliases.conf")).filter(|path| path.exists());
                main.into_iter().chain(drop_ins).chain(recorded).collect()
            }
        };
        files.dedup();
        for path in files {
            let text = fs::read_to_string(&path)
                .map_err(|error| CommandError::usage(format!("{}: {error}", path.display())))?;
            registries.add(&text).map_err(|error| CommandError::from(error).wrap(path.display()))?;
        }
        Ok(registries)
    }

    /// containers-policy.json(5) and containers-registries.d(5): one policy file, the user's or the system's; without
    /// one, all images may be used.
    pub(crate) fn trust(&self, args: &TrustArgs) -> TrustFiles {
        let (user, system) =
            (self.xdg("XDG_CONFIG_HOME", ".config").join("containers"), Path::new("/etc/containers"));
        let found =
            || [user.as_path(), system].map(|d| d.join("policy.json")).into_iter().find(|p| p.exists());
        let builtin = match self.uid {
            0 => PathBuf::from("/var/lib/containers/sigstore"),
            _ => self.xdg("XDG_DATA_HOME", ".local/share").join("containers/sigstore"),
        };
        let users = user.join("registries.d");
        let directory = args.registries_d.clone().unwrap_or(match users.exists() {
            true => users,
            false => system.join("registries.d"),
        });
        TrustFiles {
            policy: if args.insecure_policy { None } else { args.policy.clone().or_else(found) },
            registries_d: files_ending(&directory, "yaml"),
            require_signed: args.require_signed,
            builtin: format!("file://{}", builtin.display()),
        }
    }

    /// Where podman and buildah keep images: containers-storage.conf(5).
    pub(crate) fn containers_storage(&self) -> Places {
        let own = self.variable("CONTAINERS_STORAGE_CONF").map(PathBuf::from);
        let users = || self.xdg("XDG_CONFIG_HOME", ".config").join("containers/storage.conf");
        let usual = match self.is_rootless() {
            true => self.xdg("XDG_DATA_HOME", ".local/share").join("containers/storage"),
            false => "/var/lib/containers/storage".into(),
        };
        Places {
            own_file: own.or_else(|| self.is_rootless().then(users)),
            system_files: vec![
                "/etc/containers/storage.conf".into(),
                "/usr/share/containers/storage.conf".into(),
            ],
            rootless: self.is_rootless(),
            home: self.home.clone(),
            usual,
            driver: self.text("STORAGE_DRIVER"),
        }
    }

    /// Who is logged in where.
    pub(crate) fn logins(&self, authfile: Option<&Path>) -> Logins {
        Logins { files: self.auth_files(authfile), helpers: Vec::new() }
    }

    /// docker's own file.
    pub(crate) fn docker_config(&self) -> PathBuf {
        let directory = self.variable("DOCKER_CONFIG").map(PathBuf::from);
        directory.unwrap_or_else(|| self.home.join(".docker")).join("config.json")
    }

    /// In the order of containers-auth.json(5).
    fn auth_files(&self, named: Option<&Path>) -> Vec<PathBuf> {
        let named =
            named.map(Path::to_owned).or_else(|| self.variable("REGISTRY_AUTH_FILE").map(PathBuf::from));
        if let Some(named) = named {
            return vec![named];
        }
        let session = self.variable("XDG_RUNTIME_DIR").map(PathBuf::from);
        let session = session.unwrap_or_else(|| format!("/run/containers/{}", self.uid).into());
        vec![
            session.join("containers/auth.json"),
            self.xdg("XDG_CONFIG_HOME", ".config").join("containers/auth.json"),
            self.docker_config(),
            self.home.join(".dockercfg"),
        ]
    }
}

/// The files with this extension, sorted by name.
fn files_ending(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == extension)).collect();
    files.sort();
    files
}
