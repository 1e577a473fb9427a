// SPDX-License-Identifier: Apache-2.0
//! `conex login`, as skopeo, podman and docker have it.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use conex_engine::registry::{Client, Credentials as _, Login, Settings as RegistrySettings};
use conex_engine::{system, terminal};

use crate::error::{CommandError, CommandResult, Context as _};
use crate::logins::{LoginFile, Logins};
use crate::output;
use crate::session::{Names, RegistryArgs, Session};

/// The longest password from stdin.
const PASSWORD_CAP: u64 = 64 * 1024;

/// Log in to a registry, or to a part of it
///
/// User and password are tried at the registry before they are kept in an auth file. There they are encoded, not encrypted,
/// unless the file names a credential helper for the registry.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex login quay.io                                    asks for user and password
  pass show quay | conex login -u me --password-stdin quay.io
  conex login quay.io/org                                for the images of one organisation
  conex login --get-login quay.io                        who is logged in
Files: $REGISTRY_AUTH_FILE, else ${XDG_RUNTIME_DIR}/containers/auth.json; docker's ~/.docker/config.json is read, too.")]
pub(crate) struct Args {
    /// The registry [default: the first of registries.conf, or docker.io]
    registry: Option<String>,
    /// The user
    #[arg(short, long, value_name = "USER")]
    username: Option<String>,
    /// The password; others may see it in the list of processes
    #[arg(short, long, value_name = "PASSWORD")]
    password: Option<String>,
    /// Read the password from stdin
    #[arg(long)]
    password_stdin: bool,
    /// Print who is logged in
    #[arg(long)]
    get_login: bool,
    /// Say which file was written
    #[arg(short, long)]
    verbose: bool,
    /// Demand HTTPS with a valid certificate (=false: accept any, and plain HTTP)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tls_verify: Option<bool>,
    /// Certificates (*.crt, *.cert, *.key) for the registry
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,
    #[command(flatten)]
    file: FileArgs,
}

/// Which file has the logins.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct FileArgs {
    /// The file with the logins
    #[arg(long, value_name = "FILE", conflicts_with = "compat_auth_file")]
    pub authfile: Option<PathBuf>,
    /// The file with the logins, in docker's form
    #[arg(long, value_name = "FILE")]
    pub compat_auth_file: Option<PathBuf>,
}

impl FileArgs {
    /// Where to read.
    fn logins(&self, session: &Session) -> Logins {
        let named = self.compat_auth_file.as_deref().or(self.authfile.as_deref());
        session.environment.logins(named)
    }

    /// Where to write: docker's own file for docker and where it is asked for.
    pub(crate) fn file(&self, session: &Session) -> LoginFile {
        if let Some(path) = &self.compat_auth_file {
            return LoginFile { path: path.clone(), is_dockers: true };
        }
        let named = self.authfile.is_some() || session.environment.variable("REGISTRY_AUTH_FILE").is_some();
        let asked =
            session.names == Names::Familiar || session.environment.variable("DOCKER_CONFIG").is_some();
        if asked && !named {
            return LoginFile { path: session.environment.docker_config(), is_dockers: true };
        }
        LoginFile { path: self.logins(session).files.swap_remove(0), is_dockers: false }
    }
}

/// What stands before `/v2/`, and below which path: `quay.io/org`.
pub(crate) fn key_of(
    registry: Option<&str>,
    file: &LoginFile,
    settings: &RegistrySettings,
) -> Result<String, CommandError> {
    let first = settings.registries.unqualified_search_registries.first().map(String::as_str);
    let named = registry.or(first).unwrap_or("docker.io");
    let key = named.strip_prefix("https://").or_else(|| named.strip_prefix("http://")).unwrap_or(named);
    let key = key.trim_end_matches('/');
    let wrong = |what: String| CommandError::usage(format!("{named}: {what}"));
    let (host, path) = key.split_once('/').map_or((key, None), |(host, path)| (host, Some(path)));
    conex_spec::distribution::reference::check_host(host).map_err(wrong)?;
    if let Some(path) = path {
        conex_spec::distribution::reference::check_name(path).map_err(wrong)?;
        if file.is_dockers {
            return Err(wrong("docker's file has logins for whole registries only".to_owned()));
        }
    }
    Ok(key.to_owned())
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    system::keep_secrets()?;
    let registry = RegistryArgs {
        tls_verify: args.tls_verify,
        cert_dir: args.cert_dir.clone(),
        ..RegistryArgs::default()
    };
    let settings = session.registry(&registry)?;
    let file = args.file.file(session);
    let key = key_of(args.registry.as_deref(), &file, &settings)?;
    let (host, name) = key.split_once('/').unwrap_or((&key, ""));
    let known = || args.file.logins(session).find(host, name);
    if args.get_login {
        return match known()? {
            Some(Login::Basic { user, .. }) => output::print_line(&user).map(|()| 0),
            _ => Err(CommandError::tool(format!("not logged into {key}"))),
        };
    }
    if !args.names_somebody()
        && let Some(known @ Login::Basic { .. }) = known()?
    {
        output::print_line(&format!("Authenticating with existing credentials for {key}"))?;
        if is_known(&settings, host, known).unwrap_or(false) {
            output::print_line(&format!("Existing credentials are valid. Already logged in to {key}"))?;
            return Ok(0);
        }
        output::note("Existing credentials are invalid, please enter valid username and password");
    }
    let (user, password) = args.ask()?;
    let login = Login::Basic { user: user.clone(), password: password.clone() };
    if !is_known(&settings, host, login).context(|| format!("authenticating creds for {key:?}"))? {
        return Err(CommandError::tool(format!("logging into {key:?}: invalid username/password")));
    }
    file.keep(&key, &user, &password)?;
    if args.verbose {
        output::print_line(&format!("Used: {}", file.path.display()))?;
    }
    output::print_line("Login Succeeded!")?;
    Ok(0)
}

fn is_known(settings: &RegistrySettings, host: &str, login: Login) -> Result<bool, CommandError> {
    let mut settings = settings.clone();
    settings.credentials = Arc::new(crate::session::Named(login));
    Ok(Client::new(settings).check_login(host)?)
}

impl Args {
    fn names_somebody(&self) -> bool {
        self.username.is_some() || self.password.is_some() || self.password_stdin
    }

    /// User and password, from the words, from stdin, from the person.
    fn ask(&self) -> Result<(String, String), CommandError> {
        if self.password_stdin {
            if self.password.is_some() {
                return Err(CommandError::usage("can't specify both --password-stdin and --password"));
            }
            let user = self
                .username
                .clone()
                .ok_or_else(|| CommandError::usage("must provide --username with --password-stdin"))?;
            let mut password = String::new();
            std::io::stdin().take(PASSWORD_CAP).read_to_string(&mut password)?;
            return Ok((user, password.trim_end_matches(['\n', '\r']).to_owned()));
        }
        if (self.username.is_none() || self.password.is_none()) && !std::io::stdin().is_terminal() {
            return Err(CommandError::usage("no terminal to ask for user and password on")
                .with_hint("give --username and --password-stdin"));
        }
        let user = match &self.username {
            Some(user) => user.clone(),
            None => asked("Username: ")?,
        };
        if user.is_empty() {
            return Err(CommandError::usage("no user was named"));
        }
        let password = match &self.password {
            Some(password) => password.clone(),
            None => {
                prompt("Password: ")?;
                terminal::read_secret()?
            }
        };
        Ok((user, password))
    }
}

fn prompt(text: &str) -> Result<(), CommandError> {
    let mut stderr = std::io::stderr();
    stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()).map_err(Into::into)
}

fn asked(text: &str) -> Result<String, CommandError> {
    prompt(text)?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}
