// SPDX-License-Identifier: Apache-2.0
//! From a logical line to words. Quotes and escapes stay in the words: expansion takes them away once it knows what is
//! inside of them.

use std::ops::Range;

use super::instruction::Heredoc;

/// A piece of a logical line, and where it is in there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    pub(super) at: Range<usize>,
}

/// Words between blanks, quotes or not.
pub(super) fn blank_separated(line: &str, from: usize) -> Vec<Word<'_>> {
    scan(line, from, |_, _| false)
}

/// Words between blanks that are neither quoted nor escaped.
pub(super) fn quoted(line: &str, from: usize, escape: char) -> Vec<Word<'_>> {
    let mut quote = None;
    let mut escaped = false;
    scan(line, from, move |_, c| {
        if escaped {
            escaped = false;
            return true;
        }
        match quote {
            Some('\'') if c == escape && c != '\'' => {}
            _ if c == escape => {
                escaped = true;
                return true;
            }
            Some(open) if c == open => quote = None,
            None if c == '\'' || c == '"' => quote = Some(c),
            _ => {}
        }
        quote.is_some()
    })
}

/// Splits at blanks for which `holds` is false. `holds` sees every character, and its place.
fn scan(line: &str, from: usize, mut holds: impl FnMut(usize, char) -> bool) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut start = None;
    for (offset, c) in line[from..].char_indices() {
        let at = from + offset;
        let held = holds(at, c);
        match (c.is_whitespace() && !held, start) {
            (true, Some(begin)) => {
                words.push(Word { text: &line[begin..at], at: begin..at });
                start = None;
            }
            (false, None) => start = Some(at),
            _ => {}
        }
    }
    if let Some(begin) = start {
        words.push(Word { text: &line[begin..], at: begin..line.len() });
    }
    words
}

/// The here-documents that a line announces: words of the form `[DIGITS]<<[-][BLANKS]NAME`.
pub(super) fn heredocs(line: &str, from: usize) -> Vec<Heredoc> {
    if !line.contains("<<") {
        return Vec::new();
    }
    // Blanks behind `<<` belong to the word.
    let mut previous = ['\0'; 2];
    let mut joins = false;
    let mut state = QuoteState::default();
    let words = scan(line, from, move |_, c| {
        let inside = state.step(c);
        joins = match c {
            '<' => previous[1] == '<' && !inside,
            '-' if joins && previous[1] == '<' => true,
            c if c.is_whitespace() => joins,
            _ => false,
        };
        previous = [previous[1], c];
        inside || joins
    });
    words.iter().filter_map(|word| heredoc(word.text)).collect()
}

/// Inside of quotes, or behind a backslash.
#[derive(Default)]
struct QuoteState {
    quote: Option<char>,
    escaped: bool,
}

impl QuoteState {
    fn step(&mut self, c: char) -> bool {
        if std::mem::take(&mut self.escaped) {
            return true;
        }
        match self.quote {
            Some(open) if c == open => self.quote = None,
            Some('\'') => {}
            _ if c == '\\' => self.escaped = true,
            None if c == '\'' || c == '"' => self.quote = Some(c),
            _ => {}
        }
        self.quote.is_some() || self.escaped
    }
}

/// A here-document without its body, if the word announces one.
pub(super) fn heredoc(word: &str) -> Option<Heredoc> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (strip_tabs, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let rest = rest.trim_start();
    if rest.contains('<') {
        return None;
    }
    let (mut name, mut expand, mut escaped) = (String::new(), true, false);
    for c in rest.chars() {
        match c {
            c if escaped => {
                name.push(c);
                escaped = false;
            }
            '\'' | '"' => expand = false,
            '\\' => escaped = true,
            c => name.push(c),
        }
    }
    (!name.is_empty() && !name.contains(char::is_whitespace)).then(|| Heredoc {
        name,
        expand,
        strip_tabs,
        ..Heredoc::default()
    })
}
