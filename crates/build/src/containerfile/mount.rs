// SPDX-License-Identifier: Apache-2.0
//! `RUN --mount=KEY=VALUE,…`: first as its fields, whose values may hold variables, then as one of five kinds.

use super::{Mistake, Span};

/// A `--mount` as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountFlag {
    /// Keys in lower case, and what follows the `=`.
    pub fields: Vec<(String, Option<String>)>,
    /// Where.
    pub span: Span,
}

/// A mount for the time of one `RUN`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mount {
    /// Path in the container; relative to the working directory. Empty where the kind has a default.
    pub target: String,
    /// What is there.
    pub kind: MountKind,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MountKind {
    /// Files of the context, a stage or an image. What is written goes nowhere.
    Bind {
        /// A stage, an image, a named context; `None`: the build context.
        from: Option<String>,
        /// Path in there.
        source: String,
        /// Otherwise read-only.
        writable: bool,
    },
    /// A directory that stays from build to build.
    Cache {
        /// Its name; the target where none is given.
        id: Option<String>,
        /// What a new one begins with.
        from: Option<String>,
        /// Path in there.
        source: String,
        /// `ro`
        read_only: bool,
        /// With whom at the same time.
        sharing: CacheSharing,
        /// Of the directory.
        mode: FileMode,
    },
    /// A file system in memory.
    Tmpfs {
        /// Bytes.
        size: Option<u64>,
    },
    /// A secret, as a file or as a variable.
    Secret {
        /// Which.
        id: String,
        /// The step fails without it.
        required: bool,
        /// As this variable.
        env: Option<String>,
        /// As a file: given a target, or no `env`.
        file: bool,
        /// Of the file.
        mode: FileMode,
    },
    /// An agent's socket.
    Ssh {
        /// Which; `default`.
        id: String,
        /// The step fails without it.
        required: bool,
        /// Of the socket.
        mode: FileMode,
    },
}

/// What happens when two steps want one cache at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CacheSharing {
    /// Both have it.
    #[default]
    Shared,
    /// The second gets another one.
    Private,
    /// The second waits.
    Locked,
}

/// Of what a mount makes; what is not said is the kind's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the keys' own words")]
pub struct FileMode {
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "required",
    "size",
    "id",
    "sharing",
    "mode",
    "uid",
    "gid",
    "env",
];

/// The fields one after the other, every one with a value in place.
#[derive(Default)]
struct Fields {
    kind: Option<String>,
    from: Option<String>,
    source: Option<String>,
    target: Option<String>,
    read_only: Option<bool>,
    required: Option<bool>,
    size: Option<u64>,
    id: Option<String>,
    sharing: Option<CacheSharing>,
    mode: FileMode,
    env: Option<String>,
}

impl MountFlag {
    /// Splits at commas that are not quoted, and looks at the keys.
    pub(super) fn parse(text: &str, span: Span) -> Result<Self, Mistake> {
        let fields = comma_separated(text)
            .ok_or_else(|| Mistake::new(span, format!("--mount={text}: a quote does not end")))?;
        let mut parsed = Vec::new();
        for field in fields {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.to_ascii_lowercase(), Some(value.to_owned())),
                None => (field.to_ascii_lowercase(), None),
            };
            if !KEYS.contains(&key.as_str()) {
                return Err(Mistake::new(span, format!("--mount has no key {key:?}"))
                    .with_hint(format!("it has {}", KEYS.join(", "))));
            }
            if key == "from"
                && value.as_deref().is_some_and(|value| value.trim_end_matches('$').contains('$'))
            {
                return Err(no_variables(span, "--mount=from"));
            }
            parsed.push((key, value));
        }
        let flag = Self { fields: parsed, span };
        if !text.contains('$') {
            flag.resolve(&mut |value: &str| Ok(value.to_owned()))?;
        }
        Ok(flag)
    }

    /// The stage, image or context that it takes files from.
    pub fn from(&self) -> Option<&str> {
        let (_, value) = self.fields.iter().rev().find(|(key, _)| key == "from")?;
        value.as_deref().filter(|value| !value.is_empty())
    }

    /// With every value expanded.
    pub fn resolve(&self, expand: &mut dyn FnMut(&str) -> Result<String, Mistake>) -> Result<Mount, Mistake> {
        let mut fields = Fields::default();
        for (key, value) in &self.fields {
            let value = value.as_deref().map(&mut *expand).transpose()?;
            self.set(&mut fields, key, value)?;
        }
        self.check(&fields)?;
        self.build(fields)
    }

    fn set(&self, fields: &mut Fields, key: &str, value: Option<String>) -> Result<(), Mistake> {
        let wrong = |value: &str| self.mistake(format!("{value:?} is no value for {key}"));
        match (key, value) {
            ("readonly" | "ro", None) => fields.read_only = Some(true),
            ("readwrite" | "rw", None) => fields.read_only = Some(false),
            ("required", None) => fields.required = Some(true),
            (_, None) => return Err(self.mistake(format!("{key} needs a value"))),
            (_, Some(value)) => match key {
                "type" => fields.kind = Some(value.to_ascii_lowercase()),
                "from" => fields.from = Some(value).filter(|value| !value.is_empty()),
                "source" | "src" => fields.source = Some(value),
                "target" | "dst" | "destination" => fields.target = Some(value),
                "readonly" | "ro" => fields.read_only = Some(boolean(&value).ok_or_else(|| wrong(&value))?),
                "readwrite" | "rw" => fields.read_only = Some(!boolean(&value).ok_or_else(|| wrong(&value))?),
                "required" => fields.required = Some(boolean(&value).ok_or_else(|| wrong(&value))?),
                "size" => fields.size = Some(size(&value).ok_or_else(|| wrong(&value))?),
                "id" => fields.id = Some(value).filter(|value| !value.is_empty()),
                "sharing" => fields.sharing = Some(sharing(&value).ok_or_else(|| wrong(&value))?),
                "mode" => fields.mode.mode = Some(u32::from_str_radix(&value, 8).map_err(|_| wrong(&value))?),
                "uid" => fields.mode.uid = Some(value.parse().map_err(|_| wrong(&value))?),
                "gid" => fields.mode.gid = Some(value.parse().map_err(|_| wrong(&value))?),
                _ => fields.env = Some(value),
            },
        }
        Ok(())
    }

    /// Which keys go with which kind.
    fn check(&self, fields: &Fields) -> Result<(), Mistake> {
        let kind = fields.kind.as_deref().unwrap_or("bind");
        if !["bind", "cache", "tmpfs", "secret", "ssh"].contains(&kind) {
            return Err(self
                .mistake(format!("{kind:?} is no type of mount"))
                .with_hint("types are bind, cache, tmpfs, secret, ssh"));
        }
        let given = [
            ("required", fields.required.is_some(), &["secret", "ssh"][..]),
            ("size", fields.size.is_some(), &["tmpfs"]),
            ("sharing", fields.sharing.is_some(), &["cache"]),
            ("mode", fields.mode.mode.is_some(), &["cache", "secret", "ssh"]),
            ("uid", fields.mode.uid.is_some(), &["cache", "secret", "ssh"]),
            ("gid", fields.mode.gid.is_some(), &["cache", "secret", "ssh"]),
            ("from", fields.from.is_some(), &["bind", "cache"]),
            ("env", fields.env.is_some(), &["secret"]),
        ];
        match given.iter().find(|(_, is_given, kinds)| *is_given && !kinds.contains(&kind)) {
            Some((key, _, kinds)) => Err(self
                .mistake(format!("a mount of type {kind} has no {key}"))
                .with_hint(format!("{key} is for {}", kinds.join(", ")))),
            None => Ok(()),
        }
    }

    fn build(&self, fields: Fields) -> Result<Mount, Mistake> {
        let target = fields.target.unwrap_or_default();
        let source = fields.source.unwrap_or_default();
        let required = fields.required.unwrap_or(false);
        let kind = match fields.kind.as_deref() {
            Some("tmpfs") => MountKind::Tmpfs { size: fields.size },
            Some("cache") => MountKind::Cache {
                id: fields.id,
                from: fields.from,
                source,
                read_only: fields.read_only.unwrap_or(false),
                sharing: fields.sharing.unwrap_or_default(),
                mode: fields.mode,
            },
            Some("ssh") => MountKind::Ssh {
                id: fields.id.unwrap_or_else(|| "default".to_owned()),
                required,
                mode: fields.mode,
            },
            Some("secret") => {
                let id = self.secret_id(fields.id, source, &target)?;
                let file = fields.env.is_none() || !target.is_empty();
                let env = fields.env.map(|env| if env.is_empty() { id.clone() } else { env });
                MountKind::Secret { id, required, env, file, mode: fields.mode }
            }
            _ => MountKind::Bind { from: fields.from, source, writable: fields.read_only == Some(false) },
        };
        if target.is_empty()
            && matches!(kind, MountKind::Bind { .. } | MountKind::Cache { .. } | MountKind::Tmpfs { .. })
        {
            return Err(self.mistake("the mount has no target").with_hint("say where: target=/path"));
        }
        Ok(Mount { target, kind })
    }

    /// The id, else the source, else the target's last component.
    fn secret_id(&self, id: Option<String>, source: String, target: &str) -> Result<String, Mistake> {
        match (id, source.is_empty(), target.rsplit('/').next().unwrap_or_default()) {
            (Some(_), false, _) => Err(self.mistake("a secret has an id or a source, not both")),
            (Some(id), true, _) => Ok(id),
            (None, false, _) => Ok(source),
            (None, true, "") => Err(self.mistake("the secret has no name").with_hint("say which: id=NAME")),
            (None, true, name) => Ok(name.to_owned()),
        }
    }

    fn mistake(&self, message: impl std::fmt::Display) -> Mistake {
        Mistake::new(self.span, format!("--mount: {message}"))
    }
}

pub(super) fn no_variables(span: Span, what: &str) -> Mistake {
    Mistake::new(span, format!("{what} takes no variables"))
        .with_hint("name a stage with them, FROM $IMAGE AS name, and take from that")
}

/// `a,"b,c",d`: RFC 4180, one record.
fn comma_separated(text: &str) -> Option<Vec<String>> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let field = fields.last_mut().expect("there is always one");
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => field.extend(characters.next()),
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => field.push(c),
        }
    }
    (!quoted).then_some(fields)
}

/// The words that Go takes for true and false.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn sharing(text: &str) -> Option<CacheSharing> {
    match text.to_ascii_lowercase().as_str() {
        "shared" => Some(CacheSharing::Shared),
        "private" => Some(CacheSharing::Private),
        "locked" => Some(CacheSharing::Locked),
        _ => None,
    }
}

/// `64m`, `1GiB`, `4096`: bytes, with powers of 1024 as units.
fn size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_lowercase();
    let power = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << power)
}
