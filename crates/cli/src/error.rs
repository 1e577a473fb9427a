// SPDX-License-Identifier: Apache-2.0
//! From what went wrong to what a person reads and a script gets: `conex: pull alpine: …`, a `hint:` with the command
//! that mends it, and the exit code that the tool of that name would give. The one place that knows exit codes.

use std::fmt;

use conex_engine::ErrorKind;

/// What a verb returns: the exit code of a success, which for `run` and `exec` is the container's.
pub(crate) type CommandResult = Result<u8, CommandError>;

/// What kind of failure decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The words on the command line are wrong.
    Usage,
    /// The named thing is not there.
    NotFound,
    /// It is needed by something else, or still runs.
    InUse,
    /// The program to run in the container is not there.
    CommandNotFound,
    /// It is there, and cannot be executed.
    CommandNotExecutable,
    /// Anything else.
    Tool,
}

/// A failure of a verb.
#[derive(Debug)]
pub(crate) struct CommandError {
    kind: Kind,
    message: String,
    hints: Vec<String>,
}

/// Whose exit codes are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// podman's: 125 for the tool's own failures, 126 and 127 for the command's.
    Engine,
    /// podman's for `rm` and `rmi`: 1 for a missing thing, 2 for one in use.
    Removal,
    /// skopeo's: 1, and 2 for a missing image.
    Transfer,
    /// umoci's, oci-image-tool's: 1.
    Plain,
}

impl CommandError {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hints: Vec::new() }
    }

    /// Wrong words.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// A failure of conex or its surroundings.
    pub(crate) fn tool(message: impl Into<String>) -> Self {
        Self::new(Kind::Tool, message)
    }

    /// A program that could not be executed, because it is not there or for another reason.
    pub(crate) fn program(missing: bool, message: impl Into<String>) -> Self {
        Self::new(if missing { Kind::CommandNotFound } else { Kind::CommandNotExecutable }, message)
    }

    /// Something is missing.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// Adds how to mend it.
    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Puts context to the left.
    #[must_use]
    pub(crate) fn wrap(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// The first of several, with the others' words on lines of their own.
    pub(crate) fn first(failures: Vec<Self>) -> Option<Self> {
        failures.into_iter().reduce(|mut first, other| {
            first.message.push('\n');
            first.message.push_str(&other.message);
            first
        })
    }

    /// Whether something named was missing.
    pub(crate) fn is_not_found(&self) -> bool {
        self.kind == Kind::NotFound
    }

    /// What the process exits with.
    pub(crate) fn exit_code(&self, manner: Manner) -> u8 {
        match (manner, self.kind) {
            (Manner::Engine, Kind::CommandNotFound) => 127,
            (Manner::Engine, Kind::CommandNotExecutable) => 126,
            (Manner::Removal, Kind::InUse) | (Manner::Transfer, Kind::NotFound) => 2,
            (Manner::Removal, Kind::NotFound) | (Manner::Transfer | Manner::Plain, _) => 1,
            (Manner::Engine | Manner::Removal, _) => 125,
        }
    }

    /// What stands on stderr.
    pub(crate) fn report(&self, program: &str) -> String {
        let mut text = format!("{program}: {}\n", self.message);
        for hint in &self.hints {
            text.push_str(&format!("hint: {hint}\n"));
        }
        text
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<conex_engine::Error> for CommandError {
    fn from(error: conex_engine::Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::NotFound => Kind::NotFound,
            ErrorKind::Usage => Kind::Usage,
            ErrorKind::InUse => Kind::InUse,
            ErrorKind::CommandNotFound => Kind::CommandNotFound,
            ErrorKind::CommandNotExecutable => Kind::CommandNotExecutable,
            ErrorKind::Exists
            | ErrorKind::State
            | ErrorKind::Runtime
            | ErrorKind::Invalid
            | ErrorKind::Denied
            | ErrorKind::Unreachable
            | ErrorKind::Unsupported
            | ErrorKind::Os => Kind::Tool,
        };
        let hints = error.hint().map(str::to_owned).into_iter().collect();
        Self { kind, message: error.to_string(), hints }
    }
}

impl From<conex_engine::images::Error> for CommandError {
    fn from(error: conex_engine::images::Error) -> Self {
        conex_engine::Error::from(error).into()
    }
}

/// Adds context to a failed result, whichever crate it comes from.
pub(crate) trait Context<T> {
    /// `context` is only built on failure.
    fn context<C: fmt::Display>(self, context: impl FnOnce() -> C) -> Result<T, CommandError>;
}

impl<T, E: Into<CommandError>> Context<T> for Result<T, E> {
    fn context<C: fmt::Display>(self, context: impl FnOnce() -> C) -> Result<T, CommandError> {
        self.map_err(|error| error.into().wrap(context()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_peers() {
        let missing = CommandError::not_found("x");
        assert_eq!(missing.exit_code(Manner::Engine), 125);
        assert_eq!(missing.exit_code(Manner::Removal), 1);
        assert_eq!(missing.exit_code(Manner::Transfer), 2);
        assert_eq!(missing.exit_code(Manner::Plain), 1);
        assert_eq!(CommandError::usage("x").exit_code(Manner::Transfer), 1);
        let no_program = conex_engine::Error::new(ErrorKind::CommandNotFound, "x");
        assert_eq!(CommandError::from(no_program).exit_code(Manner::Engine), 127);
    }
}
