// SPDX-License-Identifier: Apache-2.0
//! What a build is given: the file, the contexts, what of them is ignored, secrets.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use conex_build::containerfile::{Mistake, Span};
use conex_build::execute::Secret;
use conex_build::graph::NamedContext;
use conex_build::ignore::{Ignore, NAMES};
use conex_build::lint::Warning;
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
}

impl Inputs {
    pub(super) fn read(args: &Args) -> Result<Self, CommandError> {
        let context = args.context.clone().unwrap_or_else(|| ".".into());
        check_context(&context)?;
        let context = fs::canonicalize(&context).context(|| format!("context {}", context.display()))?;
        let (name, text) = containerfile(args.file.as_deref(), &context)?;
        let ignore = ignore(args.ignorefile.as_deref(), &name, &context)?;
        let mut directories = BTreeMap::from([(None, context)]);
        let mut named = BTreeMap::new();
        for (name, value) in &args.build_context {
            let kind =
                match value.strip_prefix("docker-image://").or(value.strip_prefix("container-image://")) {
                    Some(image) => NamedContext::Image(image.to_owned()),
                    None => {
                        check_context(Path::new(value))?;
                        let path =
                            fs::canonicalize(value).context(|| format!("--build-context {name}={value}"))?;
                        directories.insert(Some(name.clone()), path);
                        NamedContext::Files
                    }
                };
            named.insert(name.to_lowercase(), kind);
        }
        Ok(Self { text, name, directories, named, ignore })
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

fn check_context(path: &Path) -> Result<(), CommandError> {
    let text = path.to_string_lossy();
    if text == "-" || text.contains("://") || text.starts_with("git@") {
        return Err(CommandError::usage(format!("context {text}: only directories can be contexts yet"))
            .with_hint("unpack or clone it first; a Containerfile on stdin is -f -"));
    }
    Ok(())
}

/// As it is called, else in the context; Containerfile before Dockerfile.
fn containerfile(file: Option<&Path>, context: &Path) -> Result<(String, String), CommandError> {
    let path = match file {
        Some(path) if path == Path::new("-") => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context(|| "read stdin")?;
            return Ok(("stdin".to_owned(), text));
        }
        Some(path) if path.exists() || path.is_absolute() => path.to_owned(),
        Some(path) => context.join(path),
        None => {
            let both = ["Containerfile", "Dockerfile"].map(|name| context.join(name));
            let [containerfile, _] = &both;
            both.iter().find(|path| path.exists()).unwrap_or(containerfile).clone()
        }
    };
    let bytes = fs::read(&path).context(|| format!("read {}", path.display()))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| CommandError::usage(format!("{} is not UTF-8 text", path.display())))?;
    Ok((path.strip_prefix(context).unwrap_or(&path).display().to_string(), text))
}

fn ignore(given: Option<&Path>, file: &str, context: &Path) -> Result<Ignore, CommandError> {
    let candidates = NAMES.map(|name| context.join(name.replace("{}", file)));
    let path = given.map(ToOwned::to_owned).or_else(|| candidates.into_iter().find(|path| path.exists()));
    let Some(path) = path else { return Ok(Ignore::default()) };
    let text = fs::read_to_string(&path).context(|| format!("read {}", path.display()))?;
    Ignore::parse(&text).map_err(|message| CommandError::usage(format!("{}: {message}", path.display())))
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
