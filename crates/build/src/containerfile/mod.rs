// SPDX-License-Identifier: Apache-2.0
//! The language of a Containerfile (docs.docker.com/reference/dockerfile), from text to plain structs. Pure: opens no
//! file, knows no image. What variables are worth is not known here either: words stay as they are written, and
//! `expand` is asked for their value once a stage is planned.
//!
//! ```text
//!  text ─source─► logical lines (continued lines joined, comments aside, here-documents attached)
//!                   ─parse─► Containerfile { globals, stages[ from, instructions[ kind, span ] ] }
//! ```

mod arguments;
mod duration;
pub mod expand;
mod flag;
mod fuel;
mod instruction;
mod mount;
mod parse;
mod pattern;
mod source;
#[cfg(test)]
mod tests;
mod word;

use std::fmt;

pub use arguments::nearest;
pub use fuel::Fuel;
pub use instruction::{
    Arg, Copy, CopySource, Device, Form, From, Health, Heredoc, Instruction, Kind, Network, Onbuild, Pair,
    Run,
};
pub use mount::{CacheSharing, FileMode, Mount, MountFlag, MountKind};
pub use parse::{parse, parse_trigger};

/// A place in the Containerfile: what a mistake, a warning or a step points at. Lines and columns count from 1, columns
/// in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// First line.
    pub line: u32,
    /// First column.
    pub column: u32,
    /// Last line, included.
    pub end_line: u32,
    /// Column behind the last byte.
    pub end_column: u32,
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// What is wrong with a Containerfile, where, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub span: Span,
    /// A lower-case fragment without a period.
    pub message: String,
    /// What to write instead, where that is known.
    pub hint: Option<String>,
}

impl Mistake {
    /// Without a hint.
    pub fn new(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), hint: None }
    }

    /// Adds how to mend it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// `line:column: message`
impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.span, self.message)
    }
}

/// A parsed file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Containerfile {
    /// `# syntax=`, `# escape=`, `# check=`.
    pub directives: Directives,
    /// The `ARG`s before the first `FROM`.
    pub globals: Vec<Instruction>,
    /// In the file's order; at least one.
    pub stages: Vec<Stage>,
    /// Where a continued line is followed by an empty one: what BuildKit warns of.
    pub empty_continuations: Vec<Span>,
}

/// The comments at the top that are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directives {
    /// Which frontend the author had in mind. Always one that this parser stands for.
    pub syntax: Option<String>,
    /// What escapes a character and continues a line: `\` or `` ` ``.
    pub escape: char,
    /// Which warnings are wanted, as written, and where.
    pub check: Option<(String, Span)>,
}

impl Default for Directives {
    fn default() -> Self {
        Self { syntax: None, escape: '\\', check: None }
    }
}

/// From one `FROM` to the next.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// What it starts with.
    pub from: From,
    /// The `FROM` itself, for its place and its comments.
    pub head: Instruction,
    /// The rest.
    pub instructions: Vec<Instruction>,
}
