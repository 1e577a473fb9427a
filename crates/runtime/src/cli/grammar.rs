// SPDX-License-Identifier: Apache-2.0
//! runc's argument grammar, which is Go's: `--name value`, `--name=value`, `-name` (one dash for a long name), short
//! names, `--flag=false`, and for most verbs flags after the positional arguments. Help is made from the same table.

use std::ffi::OsString;
use std::fmt::Write as _;

use lexopt::Arg;

use crate::{Error, ErrorKind, Result};

/// An option of a verb.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag {
    pub long: &'static str,
    pub short: Option<char>,
    /// What the value is, for the help; a flag without a value is a switch.
    pub value: Option<&'static str>,
    /// Empty: accepted, not shown.
    pub help: &'static str,
}

impl Flag {
    /// The same with a short name.
    pub(super) const fn or(self, short: char) -> Self {
        Self { short: Some(short), ..self }
    }
}

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    flags: Vec<(&'static str, String)>,
    pub positional: Vec<String>,
    /// `--help` was among it.
    pub help: bool,
}

impl Parsed {
    /// Whether a switch is on; the last word counts.
    pub(super) fn has(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| value == "true")
    }

    /// The last value of a flag.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let last = self.flags.iter().rev().find(|(known, _)| *known == name);
        last.map(|(_, value)| value.as_str())
    }

    /// All values of a flag that can be repeated.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.flags.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// A number.
    pub(super) fn number(&self, name: &str) -> Result<Option<u32>> {
        let read = |text: &str| {
            text.parse().map_err(|_| usage(format!("--{name}: expected a number, got {text:?}")))
        };
        self.value(name).map(read).transpose()
    }
}

/// Where flags may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Also after positional arguments.
    Anywhere,
    /// Up to this many positional arguments; from then on everything belongs to somebody else.
    UpTo(usize),
}

/// Reads the words after a verb (or after the program's name).
pub(super) fn parse(words: &[OsString], flags: &[Flag], order: Order) -> Result<Parsed> {
    let mut parsed = Parsed::default();
    let mut rest = words.iter().map(|word| with_two_dashes(word, flags));
    let mut parser = lexopt::Parser::from_args(&mut rest);
    loop {
        if order == Order::UpTo(parsed.positional.len()) {
            let left = parser.raw_args().map_err(wrong)?;
            parsed.positional.extend(left.map(text).collect::<Result<Vec<_>>>()?);
            return Ok(parsed);
        }
        let Some(word) = parser.next().map_err(wrong)? else { return Ok(parsed) };
        let flag = match word {
            Arg::Value(value) => {
                parsed.positional.push(text(value)?);
                continue;
            }
            // runc's words, and crun's.
            Arg::Long("help" | "usage") | Arg::Short('h' | '?') => {
                parsed.help = true;
                continue;
            }
            Arg::Long(name) => find(flags, |flag| flag.long == name, &format!("--{name}"))?,
            Arg::Short(name) => find(flags, |flag| flag.short == Some(name), &format!("-{name}"))?,
        };
        let value = match flag.value {
            Some(_) => text(parser.value().map_err(wrong)?)?,
            None => parser.optional_value().map_or(Ok("true".into()), text)?,
        };
        parsed.flags.push((flag.long, value));
    }
}

fn find(flags: &[Flag], is_it: impl Fn(&Flag) -> bool, name: &str) -> Result<Flag> {
    flags.iter().copied().find(is_it).ok_or_else(|| usage(format!("flag provided but not defined: {name}")))
}

/// `-detach` is `--detach`; `-d`, `-` and `-5` stay.
fn with_two_dashes(word: &OsString, flags: &[Flag]) -> OsString {
    let long = word.to_str().and_then(|word| {
        let name = word.strip_prefix('-')?;
        let bare = name.split('=').next()?;
        (bare.len() > 1 && flags.iter().any(|flag| flag.long == bare)).then(|| format!("-{word}"))
    });
    long.map_or_else(|| word.clone(), OsString::from)
}

fn text(word: OsString) -> Result<String> {
    word.into_string().map_err(|word| usage(format!("{word:?} is not UTF-8")))
}

fn wrong(error: lexopt::Error) -> Error {
    usage(error.to_string())
}

/// An error of the command line.
pub(super) fn usage(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, message)
}

/// The flags as an aligned list.
pub(super) fn help(flags: &[Flag]) -> String {
    let name = |flag: &Flag| {
        let short = flag.short.map_or_else(String::new, |short| format!(", -{short}"));
        let value = flag.value.map_or_else(String::new, |value| format!(" {value}"));
        format!("--{}{short}{value}", flag.long)
    };
    let shown: Vec<_> = flags.iter().filter(|flag| !flag.help.is_empty()).collect();
    let width = shown.iter().map(|flag| name(flag).len()).max().unwrap_or_default();
    shown.iter().fold(String::new(), |mut text, flag| {
        writeln!(text, "   {:width$}   {}", name(flag), flag.help).expect("a String takes everything");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flags::{option, switch};

    const FLAGS: [Flag; 4] = [
        option("bundle", "DIR", "b").or('b'),
        switch("detach", "d").or('d'),
        switch("no-subreaper", "n"),
        option("env", "K=V", "e").or('e'),
    ];

    fn read(words: &[&str], order: Order) -> Result<Parsed> {
        parse(&words.iter().map(OsString::from).collect::<Vec<_>>(), &FLAGS, order)
    }

    #[test]
    fn every_spelling_of_a_flag_is_understood() {
        for words in [
            &["--bundle", "x", "--detach", "id"][..],
            &["--bundle=x", "-d", "id"],
            &["-bundle", "x", "-detach", "id"],
            &["-bundle=x", "-detach=true", "id"],
            &["-b", "x", "id", "-d"],
            &["-b=x", "id", "--detach"],
        ] {
            let parsed = read(words, Order::Anywhere).unwrap();
            assert_eq!(parsed.value("bundle"), Some("x"), "{words:?}");
            assert!(parsed.has("detach") && !parsed.has("no-subreaper"), "{words:?}");
            assert_eq!(parsed.positional, ["id"], "{words:?}");
        }
        assert!(read(&["-no-subreaper"], Order::Anywhere).unwrap().has("no-subreaper"));
        assert!(!read(&["--detach", "--detach=false"], Order::Anywhere).unwrap().has("detach"));
    }

    #[test]
    fn a_command_keeps_its_own_flags() {
        let parsed = read(&["-e", "A=1", "-e=B=2", "id", "sh", "-d", "--bundle"], Order::UpTo(1)).unwrap();
        assert_eq!(parsed.positional, ["id", "sh", "-d", "--bundle"]);
        assert!(parsed.all("env").eq(["A=1", "B=2"]));
        assert!(!parsed.has("detach"));
    }

    #[test]
    fn an_unknown_flag_is_named() {
        let error = read(&["--frobnicate"], Order::Anywhere).unwrap_err();
        assert_eq!(error.to_string(), "flag provided but not defined: --frobnicate");
        read(&["--bundle"], Order::Anywhere).unwrap_err();
    }
}
