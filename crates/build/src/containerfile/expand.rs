// SPDX-License-Identifier: Apache-2.0
//! What words are worth: quotes and escapes taken away, variables replaced.
//!
//! ```text
//!  $v ${v}                 the value                ${v#p} ${v##p}   without a prefix, shortest or longest
//!  ${v:-w} ${v-w}          w if empty/unset, unset  ${v%p} ${v%%p}   without a suffix
//!  ${v:+w} ${v+w}          w if it is not           ${v/p/r} ${v//p/r}  first match, all matches replaced
//!  ${v:?w} ${v?w}          a mistake if it is       'single quotes': nothing is replaced
//! ```

use std::collections::BTreeSet;

use super::Fuel;
use super::pattern::{Extent, Failure, Pattern};

/// How deep `${a:-${b:-…}}` may go.
const DEEPEST: usize = 64;

/// The longest value: what the kernel takes as one argument or variable (`MAX_ARG_STRLEN`).
const LONGEST: usize = 128 << 10;

/// What a variable is worth.
pub trait Scope {
    /// `None`: not set.
    fn get(&self, name: &str) -> Option<&str>;
}

impl<F: Fn(&str) -> Option<&'static str>> Scope for F {
    fn get(&self, name: &str) -> Option<&str> {
        self(name)
    }
}

impl Scope for std::collections::BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<&str> {
        self.get(name).map(String::as_str)
    }
}

/// A value, and the names that stood in for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expanded {
    /// The value.
    pub text: String,
    /// Variables that were set.
    pub used: BTreeSet<String>,
    /// Variables that were not.
    pub missing: BTreeSet<String>,
}

/// How a text is read.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// `\`, or what the file says.
    pub escape: char,
    /// Whether quotes are taken away; not in the body of a here-document.
    pub quotes: bool,
    /// What it may cost.
    pub fuel: &'a Fuel,
}

/// The value of a word.
pub fn word(text: &str, scope: &dyn Scope, reading: Reading<'_>) -> Result<Expanded, String> {
    let mut walk = Walk::new(text, scope, reading);
    let text = walk.until(None, Escapes::Taken)?;
    Ok(Expanded { text, used: walk.used, missing: walk.missing })
}

/// The value of a text that variables may make several words of: for `EXPOSE $PORTS`. Quoted blanks do not divide.
pub fn words(text: &str, scope: &dyn Scope, reading: Reading<'_>) -> Result<Vec<String>, String> {
    let value = word(text, scope, reading)?.text;
    Ok(value.split_whitespace().map(str::to_owned).collect())
}

/// Whether escapes are for us, or for the pattern that the text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escapes {
    Taken,
    Left,
}

/// A text, and how far it has been read.
struct Walk<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    scope: &'a dyn Scope,
    reading: Reading<'a>,
    longest: usize,
    depth: usize,
    used: BTreeSet<String>,
    missing: BTreeSet<String>,
}

impl<'a> Walk<'a> {
    fn new(text: &'a str, scope: &'a dyn Scope, reading: Reading<'a>) -> Self {
        Self {
            rest: text.chars().peekable(),
            scope,
            reading,
            longest: LONGEST.max(2 * text.len()),
            depth: 0,
            used: BTreeSet::new(),
            missing: BTreeSet::new(),
        }
    }

    /// Everything up to a character, which is taken too, or to the end.
    fn until(&mut self, stop: Option<char>, escapes: Escapes) -> Result<String, String> {
        let mut value = String::new();
        while let Some(&c) = self.rest.peek() {
            if Some(c) == stop {
                self.rest.next();
                return Ok(value);
            }
            match c {
                '$' => {
                    let text = self.variable()?;
                    self.add(&mut value, &text)?;
                }
                '\'' if self.reading.quotes => self.single_quoted(&mut value)?,
                '"' if self.reading.quotes => self.double_quoted(&mut value)?,
                _ => self.plain(&mut value, escapes)?,
            }
        }
        match stop {
            None => Ok(value),
            Some(stop) => Err(format!("`{stop}` is missing in a `${{…}}`")),
        }
    }

    fn plain(&mut self, value: &mut String, escapes: Escapes) -> Result<(), String> {
        let Some(mut c) = self.rest.next() else { return Ok(()) };
        if c == self.reading.escape {
            if escapes == Escapes::Left {
                value.push(c);
            }
            // At the very end it escapes nothing.
            match self.rest.next() {
                Some(escaped) => c = escaped,
                None => return Ok(()),
            }
        }
        self.push(value, c)
    }

    fn single_quoted(&mut self, value: &mut String) -> Result<(), String> {
        self.rest.next();
        loop {
            match self.rest.next() {
                Some('\'') => return Ok(()),
                Some(c) => self.push(value, c)?,
                None => return Err("a single quote does not end".to_owned()),
            }
        }
    }

    fn double_quoted(&mut self, value: &mut String) -> Result<(), String> {
        self.rest.next();
        loop {
            match self.rest.peek().copied() {
                None => return Err("a double quote does not end".to_owned()),
                Some('"') => {
                    self.rest.next();
                    return Ok(());
                }
                Some('$') => {
                    let text = self.variable()?;
                    self.add(value, &text)?;
                }
                Some(c) => {
                    self.rest.next();
                    let escape = self.reading.escape;
                    match self.rest.peek().copied() {
                        Some(next) if c == escape && (next == '"' || next == '$' || next == escape) => {
                            self.rest.next();
                            self.push(value, next)?;
                        }
                        _ => self.push(value, c)?,
                    }
                }
            }
        }
    }

    /// Behind a `$`.
    fn variable(&mut self) -> Result<String, String> {
        self.rest.next();
        if self.rest.peek() != Some(&'{') {
            let name = self.name();
            return Ok(if name.is_empty() { "$".to_owned() } else { self.value(&name).unwrap_or_default() });
        }
        self.rest.next();
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("`${{…}}` is more than {DEEPEST} levels deep"));
        }
        let name = self.name();
        if name.is_empty() {
            return Err("`${` without a name".to_owned());
        }
        let value = self.modified(&name);
        self.depth -= 1;
        value
    }

    /// Behind a name in braces.
    fn modified(&mut self, name: &str) -> Result<String, String> {
        let unclosed = || format!("`}}` is missing behind `${{{name}`");
        match self.rest.next().ok_or_else(unclosed)? {
            '}' => Ok(self.value(name).unwrap_or_default()),
            ':' => match self.rest.next().ok_or_else(unclosed)? {
                modifier @ ('-' | '+' | '?') => self.alternative(name, modifier, true),
                other => Err(format!("`${{{name}:{other}…}}`: there is no such modifier")),
            },
            modifier @ ('-' | '+' | '?') => self.alternative(name, modifier, false),
            modifier @ ('#' | '%') => self.trimmed(name, modifier),
            '/' => self.replaced(name),
            other => Err(format!("`${{{name}{other}…}}`: there is no such modifier")),
        }
    }

    fn alternative(&mut self, name: &str, modifier: char, empty_too: bool) -> Result<String, String> {
        let word = self.until(Some('}'), Escapes::Taken)?;
        let value = self.value(name);
        let is_empty = value.as_deref().is_none_or(|value| empty_too && value.is_empty());
        match (modifier, is_empty) {
            ('-', true) | ('+', false) => Ok(word),
            ('+', true) => Ok(String::new()),
            ('?', true) if word.is_empty() => {
                Err(format!("{name} must be set{}", if empty_too { " and not empty" } else { "" }))
            }
            ('?', true) => Err(format!("{name}: {word}")),
            _ => Ok(value.unwrap_or_default()),
        }
    }

    fn trimmed(&mut self, name: &str, modifier: char) -> Result<String, String> {
        let extent = match self.rest.next_if_eq(&modifier) {
            Some(_) => Extent::Longest,
            None => Extent::Shortest,
        };
        let text = self.until(Some('}'), Escapes::Left)?;
        let value = self.value(name).unwrap_or_default();
        let pattern = Pattern::parse(&text, self.reading.fuel);
        let result = pattern.and_then(|pattern| match modifier {
            '#' => pattern.trim_prefix(&value, extent),
            _ => pattern.trim_suffix(&value, extent),
        });
        result.map_err(|failure| explain(failure, name, &text))
    }

    fn replaced(&mut self, name: &str) -> Result<String, String> {
        let all = self.rest.next_if_eq(&'/').is_some();
        let text = self.until(Some('/'), Escapes::Left)?;
        let with = self.until(Some('}'), Escapes::Left)?;
        let value = self.value(name).unwrap_or_default();
        let pattern = Pattern::parse(&text, self.reading.fuel);
        pattern
            .and_then(|pattern| pattern.replace(&value, &with, all))
            .map_err(|failure| explain(failure, name, &text))
    }

    /// Letters, digits, `_`; or digits alone; or one of the shell's special parameters, which are never set.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.rest.peek() {
            Some(c) if c.is_numeric() => {
                while let Some(c) = self.rest.next_if(|c| c.is_numeric()) {
                    name.push(c);
                }
            }
            Some(c) if "@*#?-$!".contains(*c) => name.extend(self.rest.next()),
            _ => {
                while let Some(c) = self.rest.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    name.push(c);
                }
            }
        }
        name
    }

    fn value(&mut self, name: &str) -> Option<String> {
        let value = self.scope.get(name).map(str::to_owned);
        let names = if value.is_some() { &mut self.used } else { &mut self.missing };
        if !names.contains(name) {
            names.insert(name.to_owned());
        }
        value
    }

    fn add(&self, value: &mut String, text: &str) -> Result<(), String> {
        if value.len() + text.len() > self.longest {
            return Err(format!("a value of more than {} bytes", self.longest));
        }
        self.reading.fuel.burn(text.len() + 1).ok_or_else(too_much)?;
        value.push_str(text);
        Ok(())
    }

    fn push(&self, value: &mut String, c: char) -> Result<(), String> {
        self.reading.fuel.burn(1).ok_or_else(too_much)?;
        value.push(c);
        Ok(())
    }
}

fn too_much() -> String {
    "the variables of this file are too much work".to_owned()
}

fn explain(failure: Failure, name: &str, pattern: &str) -> String {
    match failure {
        Failure::TooMuch => too_much(),
        Failure::Escape(c) => format!("`${{{name}…{pattern}}}`: `\\{c}` is no escape in a pattern"),
    }
}
