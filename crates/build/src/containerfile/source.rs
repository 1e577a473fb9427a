// SPDX-License-Identifier: Apache-2.0
//! From physical to logical lines: continued lines are joined, comments set aside, directives read, here-documents taken
//! from the lines that follow. Knows where every byte of a logical line stood.
//!
//! ```text
//!  RUN a \        ┐
//!    # comment    │ one logical line "RUN a   b", marks: byte 0 ↔ 1:1, byte 6 ↔ 3:1
//!    b            ┘
//! ```

use std::ops::Range;

use super::instruction::Heredoc;
use super::{Directives, Mistake, Span};

/// The largest file that is read. What an image needs in bulk is copied, not written down.
pub(super) const LARGEST: usize = 8 << 20;

/// One instruction with its arguments, before anybody looked into it.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) text: String,
    /// The comments directly above, without their `#`.
    pub(super) comments: Vec<String>,
    /// Where physical lines begin: offset in `text`, line, column.
    marks: Vec<(usize, u32, u32)>,
    /// Line and column behind the last byte, here-documents included.
    end: (u32, u32),
    /// Every place is this one: for a trigger that stands in another image.
    fixed: Option<Span>,
}

impl Line {
    /// The place of some bytes of `text`.
    pub(super) fn span(&self, bytes: Range<usize>) -> Span {
        if let Some(span) = self.fixed {
            return span;
        }
        let (line, column) = self.place(bytes.start);
        let (end_line, end_column) = self.place(bytes.end.max(bytes.start + 1) - 1);
        Span { line, column, end_line, end_column: end_column + 1 }
    }

    /// From the instruction's first byte to the last of its here-documents.
    pub(super) fn whole(&self) -> Span {
        let (end_line, end_column) = self.end;
        self.fixed.unwrap_or(Span { end_line, end_column, ..self.span(0..1) })
    }

    fn place(&self, offset: usize) -> (u32, u32) {
        let after = self.marks.partition_point(|mark| mark.0 <= offset);
        let (start, line, column) = self.marks[after.saturating_sub(1)];
        (line, column + count(offset - start))
    }
}

/// Walks the physical lines.
#[derive(Debug)]
pub(super) struct Source<'a> {
    rest: &'a str,
    /// Number of the line that `rest` begins with.
    line: u32,
    pub(super) directives: Directives,
    directives_end: bool,
    pub(super) empty_continuations: Vec<Span>,
    fixed: Option<Span>,
}

/// A physical line without its end, and its number.
#[derive(Clone, Copy)]
struct Physical<'a> {
    text: &'a str,
    number: u32,
}

impl<'a> Source<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let rest = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self {
            rest,
            line: 1,
            directives: Directives::default(),
            directives_end: false,
            empty_continuations: Vec::new(),
            fixed: None,
        }
    }

    /// For text from another place than the file: every mistake is at `span`.
    pub(super) fn at(text: &'a str, span: Span, escape: char) -> Self {
        let directives = Directives { escape, ..Directives::default() };
        Self { fixed: Some(span), directives, directives_end: true, ..Self::new(text) }
    }

    /// The next instruction.
    pub(super) fn next(&mut self) -> Result<Option<Line>, Mistake> {
        let mut comments = Vec::new();
        while let Some(physical) = self.physical() {
            let trimmed = physical.text.trim_start();
            if self.directive(trimmed, physical.number)? {
                continue;
            }
            if let Some(comment) = trimmed.strip_prefix('#') {
                match comment.trim() {
                    "" => comments.clear(),
                    words => comments.push(words.to_owned()),
                }
                continue;
            }
            if trimmed.is_empty() {
                comments.clear();
                continue;
            }
            let line = self.join(physical, std::mem::take(&mut comments));
            if !line.text.trim().is_empty() {
                return Ok(Some(line));
            }
        }
        Ok(None)
    }

    /// A first line and those that continue it.
    fn join(&mut self, first: Physical<'a>, comments: Vec<String>) -> Line {
        let mut line = Line { comments, fixed: self.fixed, ..Line::default() };
        let indent = first.text.len() - first.text.trim_start().len();
        let mut continued = self.append(&mut line, first, indent);
        while continued {
            let Some(next) = self.physical() else { break };
            let trimmed = next.text.trim_start();
            if trimmed.is_empty() {
                self.empty_continuations.push(Span {
                    line: next.number,
                    column: 1,
                    end_line: next.number,
                    end_column: 1,
                });
            } else if !trimmed.starts_with('#') {
                continued = self.append(&mut line, next, 0);
            }
        }
        line
    }

    /// Adds a physical line from byte `from` on; whether another one follows.
    fn append(&self, line: &mut Line, physical: Physical<'a>, from: usize) -> bool {
        let text = &physical.text[from..];
        let (text, continued) = match self.continued(text) {
            Some(text) => (text, true),
            None => (text, false),
        };
        line.marks.push((line.text.len(), physical.number, 1 + count(from)));
        line.text.push_str(text);
        line.end = (physical.number, 1 + count(from + text.len()));
        continued
    }

    /// The line without the escape at its end. An escaped escape does not continue it.
    fn continued<'t>(&self, text: &'t str) -> Option<&'t str> {
        let escape = self.directives.escape;
        let before = text.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
        (!before.ends_with(escape)).then_some(before)
    }

    fn physical(&mut self) -> Option<Physical<'a>> {
        let (text, number) = (self.raw()?, self.line - 1);
        Some(Physical { text: text.trim_end_matches(['\r', '\n']), number })
    }

    /// A physical line with its end.
    fn raw(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.find('\n').map_or(self.rest.len(), |at| at + 1);
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.line += 1;
        Some(line)
    }

    /// Reads the bodies of here-documents from the lines that follow.
    pub(super) fn take_heredocs(&mut self, line: &mut Line, heredocs: &mut [Heredoc]) -> Result<(), Mistake> {
        for heredoc in heredocs {
            loop {
                let Some(raw) = self.raw() else {
                    let message = format!("the here-document {} does not end", heredoc.name);
                    return Err(Mistake::new(line.whole(), message)
                        .with_hint(format!("a line that is only `{}` ends it", heredoc.name)));
                };
                let text = raw.trim_end_matches(['\r', '\n']);
                line.end = (self.line - 1, 1 + count(text.len()));
                let unindented = if heredoc.strip_tabs { text.trim_start_matches('\t') } else { text };
                if unindented == heredoc.name {
                    break;
                }
                let body = if heredoc.strip_tabs { raw.trim_start_matches('\t') } else { raw };
                heredoc.body.push_str(body);
                heredoc.raw.push_str(raw);
            }
        }
        Ok(())
    }

    /// Whether a line is a directive; the first one that is none ends them.
    fn directive(&mut self, line: &str, number: u32) -> Result<bool, Mistake> {
        if self.directives_end {
            return Ok(false);
        }
        let found = line.strip_prefix('#').and_then(|comment| comment.split_once('='));
        let key = found.map(|(key, _)| key.trim().to_ascii_lowercase());
        let (Some((_, value)), Some(key)) = (found, key) else {
            // A first line for the kernel may stand before them.
            self.directives_end = !(number == 1 && line.starts_with("#!"));
            return Ok(false);
        };
        let span = self.fixed.unwrap_or(Span {
            line: number,
            column: 1,
            end_line: number,
            end_column: 1 + count(line.len()),
        });
        match key.as_str() {
            "syntax" => self.set_syntax(value.trim(), span)?,
            "escape" => self.directives.escape = escape(value.trim(), span)?,
            "check" if self.directives.check.is_some() => return Err(twice("check", span)),
            "check" => self.directives.check = Some((value.trim().to_owned(), span)),
            _ => {
                self.directives_end = true;
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn set_syntax(&mut self, value: &str, span: Span) -> Result<(), Mistake> {
        if self.directives.syntax.is_some() {
            return Err(twice("syntax", span));
        }
        let name = value.split_whitespace().next().unwrap_or_default();
        let bare = name.strip_prefix("docker.io/").unwrap_or(name);
        let ours = ["docker/dockerfile", "docker/dockerfile-upstream"];
        if !ours.iter().any(|ours| {
            bare.strip_prefix(ours).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '@']))
        }) {
            return Err(Mistake::new(
                span,
                format!("the syntax {name:?} is another program's, and is not run"),
            )
            .with_hint("remove the line, or write # syntax=docker/dockerfile:1: that language is built in"));
        }
        self.directives.syntax = Some(value.to_owned());
        Ok(())
    }
}

fn escape(value: &str, span: Span) -> Result<char, Mistake> {
    match value {
        "\\" => Ok('\\'),
        "`" => Ok('`'),
        other => Err(Mistake::new(span, format!("{other:?} is no escape character"))
            .with_hint("it is a backslash or a backtick: # escape=`")),
    }
}

fn twice(name: &str, span: Span) -> Mistake {
    Mistake::new(span, format!("only one {name} directive can be used"))
}

/// Files are small enough for this.
fn count(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
