// SPDX-License-Identifier: Apache-2.0
//! The `--flags` between an instruction's first word and its arguments.

use super::Mistake;
use super::source::Line;

/// How often a flag may stand there, and what its value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Nothing, `true` or `false`.
    Switch,
    /// One value, once.
    Value,
    /// One value, any number of times.
    Values,
}

/// What an instruction allows.
pub(super) type Table = &'static [(&'static str, Takes)];

/// A flag as it is written, quotes taken away.
#[derive(Clone, Debug)]
pub(super) struct Flag {
    pub(super) name: String,
    pub(super) value: Option<String>,
    pub(super) span: super::Span,
}

/// The flags that were given, each one that the table allows.
#[derive(Debug, Default)]
pub(super) struct Flags(Vec<Flag>);

impl Flags {
    pub(super) fn value(&self, name: &str) -> Option<String> {
        self.get(name)?.value.clone()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Flag> {
        self.0.iter().find(|flag| flag.name == name)
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Flag> {
        self.0.iter().filter(move |flag| flag.name == name)
    }

    /// `None` where it was not given.
    pub(super) fn switch(&self, name: &str) -> Option<bool> {
        Some(self.get(name)?.value.as_deref().is_none_or(|value| value.eq_ignore_ascii_case("true")))
    }
}

/// Takes the flags off the line; the rest of it begins at the offset that comes with them.
pub(super) fn split(line: &Line, mut at: usize, escape: char) -> (Vec<Flag>, usize) {
    let mut flags = Vec::new();
    loop {
        let rest = &line.text[at..];
        at += rest.len() - rest.trim_start().len();
        if !line.text[at..].starts_with("--") {
            return (flags, at);
        }
        let (word, end) = unquote(&line.text, at, escape);
        let span = line.span(at..end);
        at = end;
        if word == "--" {
            return (flags, at);
        }
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        flags.push(Flag { name: name[2..].to_owned(), value, span });
    }
}

/// The word at `at` without its quotes and escapes, and where it ends.
fn unquote(text: &str, at: usize, escape: char) -> (String, usize) {
    let mut word = String::new();
    let mut quote = None;
    let mut characters = text[at..].char_indices();
    while let Some((offset, c)) = characters.next() {
        match quote {
            None if c.is_whitespace() => return (word, at + offset),
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ if c == escape => word.extend(characters.next().map(|(_, c)| c)),
            _ => word.push(c),
        }
    }
    (word, text.len())
}

/// Holds what was given against what is allowed.
pub(super) fn check(instruction: &str, given: Vec<Flag>, table: Table) -> Result<Flags, Mistake> {
    for (index, flag) in given.iter().enumerate() {
        let Some((_, takes)) = table.iter().find(|(name, _)| *name == flag.name) else {
            let message = format!("{instruction} has no flag --{}", flag.name);
            return Err(Mistake::new(flag.span, message).with_hint(allowed(instruction, table)));
        };
        let repeated = given[..index].iter().any(|earlier| earlier.name == flag.name);
        if repeated && *takes != Takes::Values {
            return Err(Mistake::new(flag.span, format!("--{} stands here twice", flag.name)));
        }
        check_value(flag, *takes)?;
    }
    Ok(Flags(given))
}

fn check_value(flag: &Flag, takes: Takes) -> Result<(), Mistake> {
    let name = &flag.name;
    match (takes, flag.value.as_deref()) {
        (Takes::Switch, Some(value))
            if !value.eq_ignore_ascii_case("true") && !value.eq_ignore_ascii_case("false") =>
        {
            let message = format!("--{name} is true or false, not {value:?}");
            Err(Mistake::new(flag.span, message))
        }
        (Takes::Value | Takes::Values, None) => {
            Err(Mistake::new(flag.span, format!("--{name} needs a value"))
                .with_hint(format!("write --{name}=VALUE, without blanks")))
        }
        _ => Ok(()),
    }
}

fn allowed(instruction: &str, table: Table) -> String {
    match table {
        [] => format!("{instruction} has no flags; put `--` in front of arguments that begin with --"),
        table => {
            let names: Vec<String> = table.iter().map(|(name, _)| format!("--{name}")).collect();
            format!("it has {}", names.join(", "))
        }
    }
}
