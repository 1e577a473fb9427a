// SPDX-License-Identifier: Apache-2.0
//! What stands behind an instruction's flags, in the ways the instructions have: one word, words, `NAME=VALUE` pairs, a
//! JSON array, a command line.

use serde_json::Value;

use super::flag::{self, Flag, Flags, Table, Takes};
use super::instruction::{
    Arg, Copy, CopySource, Device, Form, From, Health, Heredoc, Kind, Network, Onbuild, Pair, Run,
};
use super::mount::{MountFlag, no_variables};
use super::source::Line;
use super::word::{self, Word};
use super::{Mistake, Span, duration};

const INSTRUCTIONS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

const ADD: Table = &[
    ("chown", Takes::Value),
    ("chmod", Takes::Value),
    ("link", Takes::Switch),
    ("keep-git-dir", Takes::Switch),
    ("checksum", Takes::Value),
    ("unpack", Takes::Switch),
    ("exclude", Takes::Values),
];

const COPY: Table = &[
    ("from", Takes::Value),
    ("chown", Takes::Value),
    ("chmod", Takes::Value),
    ("link", Takes::Switch),
    ("parents", Takes::Switch),
    ("exclude", Takes::Values),
];

const HEALTHCHECK: Table = &[
    ("interval", Takes::Value),
    ("timeout", Takes::Value),
    ("start-period", Takes::Value),
    ("start-interval", Takes::Value),
    ("retries", Takes::Value),
];

const RUN: Table = &[
    ("mount", Takes::Values),
    ("network", Takes::Value),
    ("security", Takes::Value),
    ("device", Takes::Values),
];

/// The rest of a line.
pub(super) struct Arguments<'a> {
    pub(super) line: &'a Line,
    /// Where they begin.
    pub(super) from: usize,
    pub(super) escape: char,
    pub(super) heredocs: Vec<Heredoc>,
}

impl Arguments<'_> {
    pub(super) fn parse(self, word: &str, flags: Vec<Flag>) -> Result<Kind, Mistake> {
        let name = word.to_ascii_uppercase();
        let flags = |table| flag::check(&name, flags, table);
        Ok(match name.as_str() {
            "ADD" => Kind::Add(self.copy(&name, &flags(ADD)?)?),
            "COPY" => Kind::Copy(self.copy(&name, &flags(COPY)?)?),
            "FROM" => Kind::From(self.from(&flags(&[("platform", Takes::Value)])?)?),
            "HEALTHCHECK" => Kind::Healthcheck(self.health(&flags(HEALTHCHECK)?)?),
            "RUN" => Kind::Run(self.run(&flags(RUN)?)?),
            _ if !INSTRUCTIONS.contains(&name.as_str()) => return Err(self.unknown(word)),
            _ => {
                flags(&[])?;
                self.plain(&name)?
            }
        })
    }

    /// Instructions without flags.
    fn plain(self, name: &str) -> Result<Kind, Mistake> {
        Ok(match name {
            "ARG" => Kind::Arg(self.args()?),
            "CMD" => Kind::Cmd(self.form()?),
            "ENTRYPOINT" => Kind::Entrypoint(self.form()?),
            "ENV" => Kind::Env(self.pairs(name)?),
            "LABEL" => Kind::Label(self.pairs(name)?),
            "EXPOSE" => Kind::Expose(self.at_least_one(name, self.words())?),
            "MAINTAINER" => Kind::Maintainer(self.one(name)?),
            "ONBUILD" => Kind::Onbuild(self.onbuild()?),
            "SHELL" => Kind::Shell(self.shell()?),
            "STOPSIGNAL" => Kind::Stopsignal(self.one(name)?),
            "USER" => Kind::User(self.one(name)?),
            "VOLUME" => Kind::Volume(self.volumes()?),
            _ => Kind::Workdir(self.one(name)?),
        })
    }

    fn rest(&self) -> &str {
        self.line.text[self.from..].trim()
    }

    fn span(&self) -> Span {
        self.line.span(self.from.min(self.line.text.len().saturating_sub(1))..self.line.text.len())
    }

    fn mistake(&self, message: impl Into<String>) -> Mistake {
        Mistake::new(self.span(), message)
    }

    fn unknown(&self, word: &str) -> Mistake {
        let mistake = Mistake::new(self.line.span(0..word.len()), format!("unknown instruction {word}"));
        match nearest(&word.to_ascii_uppercase(), &INSTRUCTIONS) {
            Some(near) => mistake.with_hint(format!("did you mean {near}?")),
            None => mistake.with_hint("a command of the image is run with RUN"),
        }
    }

    /// All of the rest as it is.
    fn one(&self, name: &str) -> Result<String, Mistake> {
        match self.rest() {
            "" => Err(self.mistake(format!("{name} needs one argument"))),
            rest => Ok(rest.to_owned()),
        }
    }

    /// A JSON array, or words between blanks.
    fn words(&self) -> Vec<String> {
        word::blank_separated(&self.line.text, self.from)
            .into_iter()
            .map(|word| word.text.to_owned())
            .collect()
    }

    fn at_least_one(&self, name: &str, words: Vec<String>) -> Result<Vec<String>, Mistake> {
        match words.is_empty() {
            true => Err(self.mistake(format!("{name} needs at least one argument"))),
            false => Ok(words),
        }
    }

    /// A JSON array of strings if it is one; an array of other things is a mistake.
    fn json(&self) -> Result<Option<Vec<String>>, Mistake> {
        match json_words(self.rest()) {
            None => Ok(None),
            Some(Some(words)) => Ok(Some(words)),
            Some(None) => Err(self
                .mistake("the array has something else than strings in it")
                .with_hint("put every word in double quotes")),
        }
    }

    fn form(&self) -> Result<Form, Mistake> {
        Ok(match self.json()? {
            Some(words) => Form::Exec(words),
            None => Form::Shell(self.rest().to_owned()),
        })
    }

    fn args(&self) -> Result<Vec<Arg>, Mistake> {
        let words = word::quoted(&self.line.text, self.from, self.escape);
        if words.is_empty() {
            return Err(self.mistake("ARG needs a name"));
        }
        words.iter().map(|word| self.arg(word)).collect()
    }

    fn arg(&self, word: &Word<'_>) -> Result<Arg, Mistake> {
        match word.text.split_once('=') {
            Some(("", _)) => {
                Err(Mistake::new(self.line.span(word.at.clone()), "the name of an ARG is empty"))
            }
            Some((name, value)) => Ok(Arg { name: name.to_owned(), value: Some(value.to_owned()) }),
            None => Ok(Arg { name: word.text.to_owned(), value: None }),
        }
    }

    fn pairs(&self, instruction: &str) -> Result<Vec<Pair>, Mistake> {
        let words = word::quoted(&self.line.text, self.from, self.escape);
        let Some(first) = words.first() else {
            return Err(self.mistake(format!("{instruction} needs NAME=VALUE")));
        };
        if !first.text.contains('=') {
            return self.legacy_pair(instruction).map(|pair| vec![pair]);
        }
        words.iter().map(|word| self.pair(instruction, word)).collect()
    }

    fn pair(&self, instruction: &str, word: &Word<'_>) -> Result<Pair, Mistake> {
        let mistake = |message: String| Mistake::new(self.line.span(word.at.clone()), message);
        match word.text.split_once('=') {
            Some(("", _)) => Err(mistake(format!("{instruction}: a name is empty"))),
            Some((name, value)) => Ok(Pair { name: name.to_owned(), value: value.to_owned(), legacy: false }),
            None => Err(mistake(format!("{instruction}: {:?} is not of the form NAME=VALUE", word.text))
                .with_hint("put quotes around values with blanks")),
        }
    }

    /// `ENV NAME the whole rest`
    fn legacy_pair(&self, instruction: &str) -> Result<Pair, Mistake> {
        match self.rest().split_once(char::is_whitespace) {
            Some((name, value)) => {
                Ok(Pair { name: name.to_owned(), value: value.trim_start().to_owned(), legacy: true })
            }
            None => Err(self
                .mistake(format!("{instruction} needs a name and a value"))
                .with_hint(format!("write {instruction} {}=VALUE", self.rest()))),
        }
    }

    fn from(&self, flags: &Flags) -> Result<From, Mistake> {
        let words = self.words();
        let platform = flags.value("platform");
        match words.as_slice() {
            [base] => Ok(From { base: base.clone(), platform, ..From::default() }),
            [base, keyword, name] if keyword.eq_ignore_ascii_case("as") => Ok(From {
                base: base.clone(),
                name: Some(self.stage_name(name)?),
                written_name: Some(name.clone()),
                as_word: Some(keyword.clone()),
                platform,
            }),
            _ => {
                Err(self.mistake("FROM takes one argument, or three").with_hint("write FROM IMAGE [AS NAME]"))
            }
        }
    }

    fn stage_name(&self, written: &str) -> Result<String, Mistake> {
        let name = written.to_ascii_lowercase();
        let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        if begins && name.chars().all(allowed) {
            return Ok(name);
        }
        Err(self
            .mistake(format!("{written:?} cannot be the name of a stage"))
            .with_hint("a name begins with a letter and has letters, digits, -, _ and . in it"))
    }

    fn copy(&self, name: &str, flags: &Flags) -> Result<Copy, Mistake> {
        let mut words = match self.json()? {
            Some(words) => words,
            None => self.words(),
        };
        let destination = words.pop().filter(|_| !words.is_empty()).ok_or_else(|| {
            self.mistake(format!("{name} needs a source and a destination"))
                .with_hint(format!("write {name} SOURCE… DESTINATION"))
        })?;
        if word::heredoc(&destination).is_some() {
            return Err(self.mistake(format!("the destination of {name} cannot be a here-document")));
        }
        let from = flags.value("from").filter(|from| !from.is_empty());
        if let Some(flag) =
            flags.get("from").filter(|_| from.as_deref().is_some_and(|from| from.contains('$')))
        {
            return Err(no_variables(flag.span, "--from"));
        }
        let mut heredocs = self.heredocs.iter();
        let sources =
            words.into_iter().map(|word| match word::heredoc(&word).and_then(|_| heredocs.next()) {
                Some(heredoc) => CopySource::Inline(heredoc.clone()),
                None => CopySource::Path(word),
            });
        Ok(Copy {
            sources: sources.collect(),
            destination,
            from,
            chown: flags.value("chown"),
            chmod: flags.value("chmod"),
            link: flags.switch("link").unwrap_or(false),
            parents: flags.switch("parents").unwrap_or(false),
            exclude: flags.all("exclude").filter_map(|flag| flag.value.clone()).collect(),
            keep_git_dir: flags.switch("keep-git-dir"),
            checksum: flags.value("checksum"),
            unpack: flags.switch("unpack"),
        })
    }

    fn run(&self, flags: &Flags) -> Result<Run, Mistake> {
        let form = self.form()?;
        let empty = match &form {
            Form::Shell(text) => text.is_empty(),
            Form::Exec(words) => words.is_empty(),
        };
        if empty {
            return Err(self.mistake("RUN needs a command"));
        }
        let mounts = flags
            .all("mount")
            .map(|flag| MountFlag::parse(flag.value.as_deref().unwrap_or_default(), flag.span))
            .collect::<Result<_, _>>()?;
        let devices = flags.all("device").map(device).collect::<Result<_, _>>()?;
        Ok(Run {
            form,
            heredocs: self.heredocs.clone(),
            mounts,
            network: flags.get("network").map_or(Ok(Network::Default), network)?,
            insecure: flags.get("security").map_or(Ok(false), insecure)?,
            devices,
        })
    }

    fn shell(&self) -> Result<Vec<String>, Mistake> {
        match self.json()? {
            Some(words) if !words.is_empty() => Ok(words),
            _ => Err(self
                .mistake("SHELL takes a JSON array")
                .with_hint("for example SHELL [\"/bin/bash\", \"-c\"]")),
        }
    }

    fn volumes(&self) -> Result<Vec<String>, Mistake> {
        let words = match self.json()? {
            Some(words) => words.iter().map(|word| word.trim().to_owned()).collect(),
            None => self.words(),
        };
        if words.iter().any(String::is_empty) {
            return Err(self.mistake("the path of a VOLUME is empty"));
        }
        self.at_least_one("VOLUME", words)
    }

    /// Reads the trigger too, so that its mistakes are told here.
    fn onbuild(self) -> Result<Onbuild, Mistake> {
        let text = self.one("ONBUILD")?;
        let word = text.split_whitespace().next().unwrap_or_default().to_owned();
        check_trigger(&word, self.span())?;
        let mut trigger = text;
        for heredoc in &self.heredocs {
            trigger.push('\n');
            trigger.push_str(&heredoc.raw);
            trigger.push_str(&heredoc.name);
        }
        let (flags, from) = flag::split(self.line, self.from + word.len(), self.escape);
        Self { from, ..self }.parse(&word, flags)?;
        Ok(Onbuild { trigger })
    }

    fn health(&self, flags: &Flags) -> Result<Option<Health>, Mistake> {
        let (word, rest) = self.rest().split_once(char::is_whitespace).unwrap_or((self.rest(), ""));
        match word.to_ascii_uppercase().as_str() {
            "NONE" if rest.trim().is_empty() => return Ok(None),
            "NONE" => return Err(self.mistake("HEALTHCHECK NONE takes no arguments")),
            "CMD" if !rest.trim().is_empty() => {}
            "CMD" => return Err(self.mistake("HEALTHCHECK CMD needs a command")),
            _ => {
                return Err(self
                    .mistake("HEALTHCHECK needs CMD or NONE")
                    .with_hint("write HEALTHCHECK [FLAGS] CMD COMMAND"));
            }
        }
        let behind = Self {
            line: self.line,
            from: self.line.text.len() - self.line.text[self.from..].trim_start().len() + word.len(),
            escape: self.escape,
            heredocs: Vec::new(),
        };
        let time = |name: &str| flags.get(name).map_or(Ok(0), time);
        Ok(Some(Health {
            command: behind.form()?,
            interval: time("interval")?,
            timeout: time("timeout")?,
            start_period: time("start-period")?,
            start_interval: time("start-interval")?,
            retries: flags.get("retries").map_or(Ok(0), retries)?,
        }))
    }
}

/// `Some(None)`: an array, but not of strings. `None`: no array.
pub(super) fn json_words(text: &str) -> Option<Option<Vec<String>>> {
    if !text.starts_with('[') {
        return None;
    }
    let values: Vec<Value> = serde_json::from_str(text).ok()?;
    let word = |value: Value| match value {
        Value::String(word) => Some(word),
        _ => None,
    };
    Some(values.into_iter().map(word).collect())
}

/// A trigger is no trigger itself, and no stage.
pub(super) fn check_trigger(word: &str, at: Span) -> Result<(), Mistake> {
    match word.to_ascii_uppercase().as_str() {
        name @ ("ONBUILD" | "FROM" | "MAINTAINER") => {
            Err(Mistake::new(at, format!("ONBUILD {name} is not allowed")))
        }
        _ => Ok(()),
    }
}

fn network(flag: &Flag) -> Result<Network, Mistake> {
    match flag.value.as_deref() {
        Some("default") => Ok(Network::Default),
        Some("none") => Ok(Network::None),
        Some("host") => Ok(Network::Host),
        other => {
            Err(Mistake::new(flag.span, format!("{:?} is no network of RUN", other.unwrap_or_default()))
                .with_hint("it is default, none or host"))
        }
    }
}

fn insecure(flag: &Flag) -> Result<bool, Mistake> {
    match flag.value.as_deref() {
        Some("sandbox") => Ok(false),
        Some("insecure") => Ok(true),
        other => {
            Err(Mistake::new(flag.span, format!("{:?} is no security of RUN", other.unwrap_or_default()))
                .with_hint("it is sandbox or insecure"))
        }
    }
}

/// `NAME[,required]`, or `name=NAME[,required[=BOOL]]`.
fn device(flag: &Flag) -> Result<Device, Mistake> {
    let mut device = Device { name: String::new(), required: false };
    for field in flag.value.as_deref().unwrap_or_default().split(',') {
        match field.split_once('=') {
            None if field == "required" => device.required = true,
            Some(("required", value)) => device.required = value == "true" || value == "1",
            Some(("name", name)) => name.clone_into(&mut device.name),
            _ => field.clone_into(&mut device.name),
        }
    }
    match device.name.contains('/') {
        true => Ok(device),
        false => Err(Mistake::new(flag.span, "--device names no device")
            .with_hint("write --device=vendor.com/class=device")),
    }
}

fn time(flag: &Flag) -> Result<u64, Mistake> {
    let text = flag.value.as_deref().unwrap_or_default();
    match duration::parse(text) {
        Some(time) if time == 0 || time >= 1_000_000 => Ok(time),
        Some(_) => Err(Mistake::new(flag.span, format!("--{} is below one millisecond", flag.name))),
        None => Err(Mistake::new(flag.span, format!("--{}: {text:?} is no time", flag.name))
            .with_hint("write 30s, 1m30s, 500ms")),
    }
}

fn retries(flag: &Flag) -> Result<u32, Mistake> {
    let text = flag.value.as_deref().unwrap_or_default();
    let number = text.parse::<u32>().ok().filter(|&number| i32::try_from(number).is_ok());
    number.ok_or_else(|| Mistake::new(flag.span, format!("--retries: {text:?} is no number of tries")))
}

/// The word that is one or two changes away.
pub fn nearest<'a>(word: &str, among: &[&'a str]) -> Option<&'a str> {
    let closest = among.iter().map(|&other| (distance(word, other), other)).min()?;
    (closest.0 <= 2 && closest.0 < word.chars().count()).then_some(closest.1)
}

/// Letters to change, add or leave out (Levenshtein). Long words are not compared.
fn distance(one: &str, other: &str) -> usize {
    if one.len().max(other.len()) > 64 {
        return usize::MAX;
    }
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, c) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, &d) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(c != d);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}
