// SPDX-License-Identifier: Apache-2.0
//! `--regex`: extended regular expressions of POSIX (regex(7)) over container ids: `. * + ? {m,n} [a-z] [^a] ( | ) ^ $ \`.
//! Classes such as `[[:alpha:]]` and back references are not there.
//!
//! Matching carries the *set* of places that the text so far can end at through the expression, so no pattern takes
//! longer than its length times the text's squared.

use std::collections::BTreeSet;

use super::grammar::usage;
use crate::Result;

/// An expression that was understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    alternatives: Vec<Vec<Repeat>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Repeat {
    atom: Atom,
    least: u32,
    /// `None`: any number.
    most: Option<u32>,
}

#[derive(Debug, PartialEq, Eq)]
enum Atom {
    Any,
    Char(char),
    Set { negated: bool, ranges: Vec<(char, char)> },
    Start,
    End,
    Group(Pattern),
}

/// Places between the characters of a text.
type Places = BTreeSet<usize>;

impl Pattern {
    /// An error names the expression.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut reader = Reader { rest: text.chars().peekable(), depth: 0 };
        let parsed = reader.alternatives().and_then(|pattern| match reader.rest.next() {
            None => Ok(pattern),
            Some(left) => Err(format!("unexpected {left:?}")),
        });
        parsed.map_err(|what| usage(format!("--regex {text:?}: {what}")))
    }

    /// Whether the expression is found anywhere in the text.
    pub(super) fn is_in(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        !self.ends(&text, (0..=text.len()).collect()).is_empty()
    }

    fn ends(&self, text: &[char], from: Places) -> Places {
        let all = self
            .alternatives
            .iter()
            .map(|sequence| sequence.iter().fold(from.clone(), |places, repeat| repeat.ends(text, places)));
        all.flatten().collect()
    }
}

impl Repeat {
    fn ends(&self, text: &[char], from: Places) -> Places {
        let once = |places: &Places| self.atom.ends(text, places);
        let mut newest = (0..self.least).fold(from, |places, _| once(&places));
        let mut all = newest.clone();
        let mut left = self.most.map_or(u32::MAX, |most| most.saturating_sub(self.least));
        // A round that finds no new place would find none in the next either.
        while left > 0 && !newest.is_empty() {
            newest = once(&newest).difference(&all).copied().collect();
            all.extend(&newest);
            left -= 1;
        }
        all
    }
}

impl Atom {
    fn ends(&self, text: &[char], from: &Places) -> Places {
        let step = |fits: &dyn Fn(char) -> bool| {
            from.iter()
                .filter(|place| text.get(**place).is_some_and(|c| fits(*c)))
                .map(|place| place + 1)
                .collect()
        };
        match self {
            Self::Any => step(&|_| true),
            Self::Char(wanted) => step(&|c| c == *wanted),
            Self::Set { negated, ranges } => {
                step(&|c| ranges.iter().any(|(first, last)| (*first..=*last).contains(&c)) != *negated)
            }
            Self::Start => from.iter().copied().filter(|place| *place == 0).collect(),
            Self::End => from.iter().copied().filter(|place| *place == text.len()).collect(),
            Self::Group(pattern) => pattern.ends(text, from.clone()),
        }
    }
}

struct Reader<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    depth: u32,
}

type Read<T> = std::result::Result<T, String>;

impl Reader<'_> {
    fn take(&mut self, wanted: char) -> bool {
        self.rest.next_if_eq(&wanted).is_some()
    }

    fn alternatives(&mut self) -> Read<Pattern> {
        let mut alternatives = vec![self.sequence()?];
        while self.take('|') {
            alternatives.push(self.sequence()?);
        }
        Ok(Pattern { alternatives })
    }

    fn sequence(&mut self) -> Read<Vec<Repeat>> {
        let mut sequence = Vec::new();
        while let Some(next) = self.rest.peek() {
            if *next == '|' || (*next == ')' && self.depth > 0) {
                break;
            }
            let atom = self.atom()?;
            let (least, most) = self.times()?;
            sequence.push(Repeat { atom, least, most });
        }
        Ok(sequence)
    }

    fn atom(&mut self) -> Read<Atom> {
        match self.rest.next() {
            Some('.') => Ok(Atom::Any),
            Some('^') => Ok(Atom::Start),
            Some('$') => Ok(Atom::End),
            Some('[') => self.set(),
            Some('(') => self.group(),
            Some('\\') => self.rest.next().map(Atom::Char).ok_or_else(|| "ends in a backslash".into()),
            Some(sign @ ('*' | '+' | '?' | '{')) => Err(format!("nothing in front of {sign:?}")),
            Some(other) => Ok(Atom::Char(other)),
            None => Err("ends too early".into()),
        }
    }

    fn group(&mut self) -> Read<Atom> {
        self.depth += 1;
        if self.depth > 50 {
            return Err("too many parentheses".into());
        }
        let inner = self.alternatives()?;
        self.depth -= 1;
        if self.take(')') { Ok(Atom::Group(inner)) } else { Err("a parenthesis is not closed".into()) }
    }

    /// Behind the opening bracket. A closing one that comes first is meant as itself.
    fn set(&mut self) -> Read<Atom> {
        let negated = self.take('^');
        let mut ranges = Vec::new();
        loop {
            let first = self.rest.next().ok_or("a bracket is not closed")?;
            if first == ']' && !ranges.is_empty() {
                return Ok(Atom::Set { negated, ranges });
            }
            if first == '[' && self.rest.peek().is_some_and(|next| ":=.".contains(*next)) {
                return Err("classes in brackets are not supported".into());
            }
            if !self.take('-') {
                ranges.push((first, first));
            } else if self.rest.peek() == Some(&']') {
                ranges.extend([(first, first), ('-', '-')]);
            } else {
                let last = self.rest.next().filter(|last| *last >= first).ok_or("a range is empty")?;
                ranges.push((first, last));
            }
        }
    }

    fn times(&mut self) -> Read<(u32, Option<u32>)> {
        let times = match self.rest.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => {
                self.rest.next();
                return self.bounds();
            }
            _ => return Ok((1, Some(1))),
        };
        self.rest.next();
        Ok(times)
    }

    /// `m}`, `m,}` or `m,n}`.
    fn bounds(&mut self) -> Read<(u32, Option<u32>)> {
        let inside: String = std::iter::from_fn(|| self.rest.next_if(|c| *c != '}')).collect();
        let number = |word: &str| word.parse::<u32>().ok().filter(|number| *number <= 255);
        let (least, most) = inside.split_once(',').unwrap_or((&inside, &inside));
        let bounds = number(least).and_then(|least| match (most, number(most)) {
            ("", _) => Some((least, None)),
            (_, most) => most.filter(|most| least <= *most).map(|most| (least, Some(most))),
        });
        if self.take('}') { bounds } else { None }
            .ok_or_else(|| format!("{{{inside}}} is no number of times"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_posix_finds() {
        let cases = [
            ("web", "my-web-1", true),
            ("^web", "my-web", false),
            ("^web-[0-9]+$", "web-17", true),
            ("^web-[0-9]+$", "web-", false),
            ("^(a|b+)?c.$", "bbcX", true),
            ("^(a|b+)?c.$", "abcX", false),
            ("^a{2,3}$", "aa", true),
            ("^a{2,3}$", "aaaa", false),
            ("^a{2}b{1,}$", "aabbb", true),
            (r"^v1\.0$", "v1x0", false),
            ("^[^a-c.]$", "b", false),
            ("^[]x-]+$", "]-x", true),
            ("^(a*)*$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", false),
            ("", "anything", true),
            ("a|", "b", true),
        ];
        for (pattern, text, found) in cases {
            assert_eq!(Pattern::parse(pattern).unwrap().is_in(text), found, "{pattern} in {text}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused_by_name() {
        for pattern in ["*a", "(a", "[a", "a{x}", "a{3,2}", "a{1", "[b-a]", "[[:alpha:]]", "\\", "a**"] {
            let error = Pattern::parse(pattern).unwrap_err().to_string();
            assert!(error.starts_with(&format!("--regex {pattern:?}: ")), "{error}");
        }
        Pattern::parse(&"(".repeat(1000)).unwrap_err();
    }
}
