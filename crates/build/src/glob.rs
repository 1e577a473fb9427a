// SPDX-License-Identifier: Apache-2.0
//! Patterns over paths: those of `COPY` sources (Go's `filepath.Match`) and those of ignore files (moby's
//! patternmatcher), which also know `**`. No regular expressions: two places to go back to are enough, because a later
//! `*` stands in for an earlier one of its kind.

/// One element of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Element {
    Literal(char),
    /// `?`: any character but `/`.
    One,
    /// `*`: any number of those.
    Segment,
    /// `**` in front of something: nothing, or anything that ends in `/`.
    Deep,
    /// `**` at the end: anything.
    All,
    /// `[a-z]`, `[^a-z]`
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// A pattern, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    elements: Vec<Element>,
}

/// Whether `**` is more than `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Go's `filepath.Match`.
    Path,
    /// moby's patternmatcher.
    Ignore,
}

impl Glob {
    /// `None`: a class or an escape does not end.
    pub fn parse(pattern: &str, dialect: Dialect) -> Option<Self> {
        let mut elements = Vec::new();
        let mut rest = pattern.chars().peekable();
        while let Some(c) = rest.next() {
            elements.push(match c {
                '*' if dialect == Dialect::Ignore && rest.next_if_eq(&'*').is_some() => {
                    rest.next_if_eq(&'/');
                    if rest.peek().is_some() { Element::Deep } else { Element::All }
                }
                '*' => Element::Segment,
                '?' => Element::One,
                '[' => class(&mut rest)?,
                '\\' => Element::Literal(rest.next()?),
                c => Element::Literal(c),
            });
        }
        Some(Self { elements })
    }

    /// Whether there is a wildcard in a text.
    pub fn is_pattern(text: &str) -> bool {
        text.contains(['*', '?', '[', '\\'])
    }

    /// Whether the whole path matches.
    pub fn matches(&self, path: &str) -> bool {
        let elements = &self.elements;
        let (mut at, mut rest) = (0, path);
        let mut segment: Option<(usize, &str)> = None;
        let mut deep = segment;
        loop {
            match elements.get(at) {
                Some(Element::All) => return true,
                Some(Element::Segment) => {
                    segment = Some((at, rest));
                    at += 1;
                    continue;
                }
                Some(Element::Deep) => {
                    (deep, segment) = (Some((at, rest)), None);
                    at += 1;
                    continue;
                }
                Some(element) => {
                    let mut characters = rest.chars();
                    if characters.next().is_some_and(|c| element.takes(c)) {
                        rest = characters.as_str();
                        at += 1;
                        continue;
                    }
                }
                None if rest.is_empty() => return true,
                None => {}
            }
            if let Some((place, longer)) = segment.and_then(|(place, rest)| Some((place, longer(rest)?))) {
                (segment, at, rest) = (Some((place, longer)), place + 1, longer);
            } else if let Some((place, deeper)) = deep.and_then(|(place, rest)| Some((place, deeper(rest)?)))
            {
                (deep, segment, at, rest) = (Some((place, deeper)), None, place + 1, deeper);
            } else {
                return false;
            }
        }
    }
}

/// One character more for a `*`.
fn longer(rest: &str) -> Option<&str> {
    let mut characters = rest.chars();
    characters.next().filter(|c| *c != '/')?;
    Some(characters.as_str())
}

/// One directory more for a `**`.
fn deeper(rest: &str) -> Option<&str> {
    rest.split_once('/').map(|(_, behind)| behind)
}

impl Element {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Literal(literal) => *literal == c,
            Self::One => c != '/',
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *negated
            }
            Self::Segment | Self::Deep | Self::All => false,
        }
    }
}

/// Behind a `[`.
fn class(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Element> {
    let negated = rest.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        let from = match rest.next()? {
            ']' if ranges.is_empty() => return None,
            ']' => return Some(Element::Class { negated, ranges }),
            '\\' => rest.next()?,
            c => c,
        };
        let to = match rest.next_if_eq(&'-') {
            None => from,
            Some(_) => match rest.next()? {
                ']' => return None,
                '\\' => rest.next()?,
                c => c,
            },
        };
        ranges.push((from, to));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_their_dialect_says() {
        let table = [
            ("*", "a", true, true),
            ("*", "a/b", false, false),
            ("a?c", "abc", true, true),
            ("a?c", "a/c", false, false),
            ("**", "a/b", false, true),
            ("**/b", "b", false, true),
            ("**/b", "a/x/b", false, true),
            ("**/b", "ab", false, false),
            ("a/**", "a", false, false),
            ("a/**", "a/b/c", false, true),
            ("a/**/c", "a/c", false, true),
            ("a/**/c*/d", "a/b/cc/x/c/d", false, true),
            ("*.go", "x.go", true, true),
            ("[a-c]x[^0-9]", "bxy", true, true),
            ("[a-c]x[^0-9]", "bx1", false, false),
            (r"a\*", "a*", true, true),
            (r"a\*", "ab", false, false),
            ("*a*b*c", "xaybzc", true, true),
            ("x**y", "xy", true, true),
        ];
        for (pattern, path, as_path, as_ignore) in table {
            let matches = |dialect| Glob::parse(pattern, dialect).expect(pattern).matches(path);
            assert_eq!(
                (matches(Dialect::Path), matches(Dialect::Ignore)),
                (as_path, as_ignore),
                "{pattern} {path}"
            );
        }
        for wrong in ["[", "[]a]", "[a-", "[a-]", "a\\"] {
            assert_eq!(Glob::parse(wrong, Dialect::Path), None, "{wrong}");
        }
    }
}
