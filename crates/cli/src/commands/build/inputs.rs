// SPDX-License-Identifier: Apache-2.0
//! What a build is given: the file, the contexts, what of them is ignored, secrets.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use conex_build::containerfile::{Mistake, Span};
use conex_build::context;
use conex_build::execute::Secret;
use conex_build::graph::NamedContext;
use conex_build::ignore::{Ignore, NAMES};
use conex_build::lint::Warning;
use conex_build::remote::Remote;
use conex_spec::distribution::Reference;

use super::Args;
use crate::error::{CommandError, Context as _};
use crate::session::Session;

/// Read once, before anything is done.
pub(super) struct Inputs {
    /// The Containerfile's text, and how it is called in messages.
    pub(super) text: String,
    pub(super) name: String,
    pub(super) directories: BTreeMap<Option<String>, PathBuf>,
    pub(super) named: BTreeMap<String, NamedContext>,
    pub(super) ignore: Ignore,
    /// Directories that go with the build.
    _fetched: Vec<context::Context>,
}

impl Inputs {
    pub(super) fn read(args: &Args, session: &Session) -> Result<Self, CommandError> {
        let remote = remote(args, session)?;
        let mut fetched = Vec::new();
        let mut given = None;
        let mut directory = |text: &str| -> Result<(PathBuf, Option<String>), CommandError> {
            if !context::is_remote(text) {
                let path = fs::canonicalize(text).context(|| format!("context {text}"))?;
                return Ok((path, None));
            }
            let mut context = context::Context::fetch(&remote, text, &mut std::io::stdin())
                .context(|| format!("context {text}"))?;
            let (path, text) = (context.path.clone(), context.text.take());
            fetched.push(context);
            Ok((path, text))
        };
        let main = args.context.clone().unwrap_or_else(|| ".".into());
        let (main, text) = directory(&main.to_string_lossy())?;
        let (mut directories, mut named) = (BTreeMap::new(), BTreeMap::new());
        for (name, value) in &args.build_context {
            let image = value.strip_prefix("docker-image://").or(value.strip_prefix("container-image://"));
            let kind = match image {
                Some(image) => NamedContext::Image(image.to_owned()),
                None => {
                    let (path, _) = directory(value).context(|| format!("--build-context {name}"))?;
                    directories.insert(Some(name.clone()), path);
                    NamedContext::Files
                }
            };
            named.insert(name.to_lowercase(), kind);
        }
        if let Some(text) = text.filter(|_| args.file.is_none()) {
            given = Some(("Containerfile".to_owned(), text));
        }
        let (name, text) = match given {
            Some(given) => given,
            None => containerfile(args.file.as_deref(), &main)?,
        };
        let ignore = ignore(args.ignorefile.as_deref(), &name, &main)?;
        directories.insert(None, main);
        Ok(Self { text, name, directories, named, ignore, _fetched: fetched })
    }

    /// `Containerfile:3:7: …`, with the line.
    pub(super) fn mistake(&self, mistake: &Mistake) -> CommandError {
        let error = CommandError::usage(format!("{}:{mistake}\n{}", self.name, self.excerpt(mistake.span)));
        match &mistake.hint {
            Some(hint) => error.with_hint(hint.clone()),
            None => error,
        }
    }

    pub(super) fn warning(&self, warning: &Warning) -> String {
        format!("{}:{}: {}: {}", self.name, warning.span, warning.rule, warning.message)
    }

    /// The lines of a place, and one before and after it.
    pub(super) fn excerpt(&self, span: Span) -> String {
        let mut excerpt = String::new();
        for (number, line) in (1..).zip(self.text.lines()) {
            let number: u32 = number;
            if number + 1 < span.line || number > span.end_line.min(span.line + 20) + 1 {
                continue;
            }
            let mark = if (span.line..=span.end_line).contains(&number) { ">>>" } else { "   " };
            let shown: String = line.chars().take(200).collect();
            excerpt.push_str(&format!("{number:>5} {mark} {shown}\n"));
        }
        excerpt.trim_end().to_owned()
    }
}

/// As it is called, else in the context; Containerfile before Dockerfile.
fn containerfile(file: Option<&Path>, context: &Path) -> Result<(String, String), CommandError> {
    let name = match file {
        Some(path) if path == Path::new("-") => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context(|| "read stdin")?;
            return Ok(("stdin".to_owned(), text));
        }
        Some(path) if path.exists() || path.is_absolute() => {
            let text = fs::read(path).context(|| format!("read {}", path.display()))?;
            let name = path.strip_prefix(context).unwrap_or(path).display().to_string();
            return Ok((name.clone(), utf8(text, &name)?));
        }
        Some(path) => path.display().to_string(),
        None => {
            let both = ["Containerfile", "Dockerfile"].map(|name| (name, context.join(name)));
            both.iter().find(|(_, path)| path.exists()).unwrap_or(&both[0]).0.to_owned()
        }
    };
    let text = in_context(context, &name)?.ok_or_else(|| {
        let message = format!("read {}: there is no such file", context.join(&name).display());
        CommandError::usage(message).with_hint("name it: conex build -f FILE")
    })?;
    Ok((name, text))
}

fn ignore(given: Option<&Path>, file: &str, context: &Path) -> Result<Ignore, CommandError> {
    let parse = |name: &str, text: &str| {
        Ignore::parse(text).map_err(|message| CommandError::usage(format!("{name}: {message}")))
    };
    if let Some(path) = given {
        let text = fs::read_to_string(path).context(|| format!("read {}", path.display()))?;
        return parse(&path.display().to_string(), &text);
    }
    for name in NAMES.map(|name| name.replace("{}", file)) {
        if let Some(text) = in_context(context, &name)? {
            return parse(&name, &text);
        }
    }
    Ok(Ignore::default())
}

/// A file of the context, whose links lead nowhere else: a context may be somebody else's.
fn in_context(context: &Path, name: &str) -> Result<Option<String>, CommandError> {
    let root = conex_build::copy::open(context)?;
    let place = || format!("read {}", context.join(name).display());
    let Some(mut file) = root.open_regular(name).map_err(conex_build::Error::from).context(place)? else {
        return Ok(None);
    };
    let mut text = Vec::new();
    file.read_to_end(&mut text).context(place)?;
    utf8(text, name).map(Some)
}

fn utf8(bytes: Vec<u8>, name: &str) -> Result<String, CommandError> {
    String::from_utf8(bytes).map_err(|_| CommandError::usage(format!("{name} is not UTF-8 text")))
}

/// How contexts and sources of `ADD` are fetched.
pub(super) fn remote(args: &Args, session: &Session) -> Result<Remote, CommandError> {
    let http = Some(session.registry(&args.registry)?);
    Ok(Remote { http, git: session.environment.find_program("git") })
}

/// Lines of `NAME=VALUE`; a later file has the last word.
pub(super) fn build_arg_files(files: &[PathBuf]) -> Result<BTreeMap<String, String>, CommandError> {
    let mut all = BTreeMap::new();
    for path in files {
        let text = fs::read_to_string(path).context(|| format!("read {}", path.display()))?;
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            let number: usize = number;
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let parts = line.split_once('=').ok_or_else(|| {
                CommandError::usage(format!("{}: line {number}: expected NAME=VALUE", path.display()))
            })?;
            all.insert(parts.0.to_owned(), parts.1.to_owned());
        }
    }
    Ok(all)
}

/// `ID=SOCKET`; without a socket, the one in the environment.
pub(super) fn agents(texts: &[String], session: &Session) -> Result<BTreeMap<String, PathBuf>, CommandError> {
    let mut agents = BTreeMap::new();
    for text in texts {
        let (id, socket) = match text.split_once('=') {
            Some((id, socket)) => (id, PathBuf::from(socket)),
            None => {
                let socket = session.environment.variable("SSH_AUTH_SOCK").ok_or_else(|| {
                    CommandError::usage(format!("--ssh {text}: SSH_AUTH_SOCK is not set"))
                        .with_hint(format!("name the agent's socket: --ssh {text}=SOCKET"))
                })?;
                (text.as_str(), socket.into())
            }
        };
        agents.insert(id.to_owned(), socket);
    }
    Ok(agents)
}

/// `id=ID[,src=FILE|,env=NAME][,type=file|env]`
pub(super) fn secrets(texts: &[String], session: &Session) -> Result<BTreeMap<String, Secret>, CommandError> {
    let mut secrets = BTreeMap::new();
    for text in texts {
        let fields: BTreeMap<&str, &str> =
            text.split(',').filter_map(|field| field.split_once('=')).collect();
        let wrong = || {
            CommandError::usage(format!("--secret {text}: this is no secret"))
                .with_hint("write --secret id=ID,src=FILE or --secret id=ID,env=NAME")
        };
        let id = *fields.get("id").ok_or_else(wrong)?;
        let file = fields.get("src").or(fields.get("source"));
        let is_env = fields.get("type") == Some(&"env") || fields.contains_key("env");
        let secret = match (file, is_env) {
            (Some(path), false) => Secret::File(PathBuf::from(path)),
            (name, _) => {
                let name = fields.get("env").or(name).copied().unwrap_or(id);
                let value = variable(session, name);
                Secret::Value(value.ok_or_else(|| {
                    CommandError::usage(format!("--secret {text}: the variable {name} is not set"))
                })?)
            }
        };
        secrets.insert(id.to_owned(), secret);
    }
    Ok(secrets)
}

/// Proxies that the command line gives: commands see them, keys and history do not.
pub(super) fn proxies(build_args: &[String], session: &Session) -> Vec<String> {
    let is_proxy = |name: &str| {
        let name = name.to_ascii_lowercase();
        ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"].contains(&name.as_str())
    };
    let value = |text: &String| match text.split_once('=') {
        Some((name, _)) => is_proxy(name).then(|| text.clone()),
        None => Some(format!("{text}={}", variable(session, text).filter(|_| is_proxy(text))?)),
    };
    build_args.iter().filter_map(value).collect()
}

/// A name without a registry is this machine's.
pub(super) fn reference(name: &str) -> Result<Reference, CommandError> {
    let first = name.split('/').next().unwrap_or_default();
    let has_host = name.contains('/') && (first.contains(['.', ':']) || first == "localhost");
    let whole = if has_host { name.to_owned() } else { format!("localhost/{name}") };
    Ok(whole.parse::<Reference>().map_err(conex_engine::Error::from)?)
}

/// A variable of the caller's that is text.
pub(super) fn variable(session: &Session, name: &str) -> Option<String> {
    session.environment.variable(name)?.into_string().ok()
}

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) fn write(path: &Path, text: &str) -> Result<(), CommandError> {
    fs::write(path, text).context(|| format!("write {}", path.display()))
}
