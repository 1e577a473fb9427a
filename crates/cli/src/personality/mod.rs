// SPDX-License-Identifier: Apache-2.0
//! Who conex is when it is called by another tool's name: a table from that tool's spelling to the same arguments,
//! never a second implementation.
//!
//! | argv[0] | what it is |
//! |---|---|
//! | `conex` | itself |
//! | `podman`, `docker` | itself, in their manner of showing names and versions |
//! | `skopeo` | its visible verbs, without sigstore |
//! | `umoci` | `init`, `new`, `unpack`, `repack`, `insert`, `config`, `tag`, `rm`, `ls`, `stat`, `gc`, `raw` |
//! | `oci-image-tool` | `create`, `unpack`, `validate` |
//! | `buildah` | `conex builder`'s verbs |

mod buildah;
mod engine;
mod oci_image_tool;
mod skopeo;
mod umoci;

use std::ffi::OsString;
use std::path::Path;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command, Parser};

use crate::environment::Environment;
use crate::error::{CommandError, CommandResult, Manner};
use crate::session::{Globals, Names, Session};

/// What a command line has come to.
pub(crate) struct Outcome {
    /// As whom it was run, for messages.
    pub program: String,
    /// Whose exit codes are given.
    pub manner: Manner,
    /// What came of it.
    pub result: CommandResult,
}

/// Runs the command line of this process as whoever it was called.
pub(crate) fn run(words: Vec<OsString>) -> Outcome {
    let called = words
        .first()
        .map(Path::new)
        .and_then(Path::file_stem)
        .map(|name| name.to_string_lossy().into_owned());
    let program = called.unwrap_or_else(|| "conex".to_owned());
    match program.as_str() {
        "podman" | "docker" => engine::run(&program, words),
        "skopeo" => run_as::<skopeo::Cli>(words),
        "umoci" => run_as::<umoci::Cli>(words),
        "oci-image-tool" => run_as::<oci_image_tool::Cli>(words),
        "buildah" => run_as::<buildah::Cli>(words),
        _ => engine::run("conex", words),
    }
}

/// Another tool's command line.
trait Tool: Parser {
    const NAME: &str;
    /// Whose exit codes it gives.
    const MANNER: Manner;

    fn run(&self) -> CommandResult;
}

/// Runs a command line as this tool.
fn run_as<T: Tool>(words: Vec<OsString>) -> Outcome {
    let result = match parse::<T>(definition::<T>(), words, T::MANNER) {
        Ok(tool) => tool.run(),
        Err(result) => result,
    };
    Outcome { program: T::NAME.to_owned(), manner: T::MANNER, result }
}

/// What the tool takes, with what is the same for all of them: `-v` is for the version.
fn definition<T: Tool>() -> Command {
    let version = Arg::new("version").short('v').long("version").action(ArgAction::Version);
    T::command()
        .name(T::NAME)
        .version(concat!("version ", env!("CARGO_PKG_VERSION"), " (conex)"))
        .disable_version_flag(true)
        .arg(version.help("Print the version"))
        .arg_required_else_help(true)
        .max_term_width(110)
}

/// Parses; an early end (help, a version, wrong words) is printed here.
fn parse<P: Parser>(command: Command, words: Vec<OsString>, manner: Manner) -> Result<P, CommandResult> {
    let parsed = command.try_get_matches_from(words).and_then(|matches| P::from_arg_matches(&matches));
    parsed.map_err(|error| {
        let printed = error.print();
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => crate::output::written(printed).map(|()| 0),
            // Nobody to tell if even this cannot be written.
            _ => Ok(CommandError::usage("").exit_code(manner)),
        }
    })
}

fn session(globals: &Globals, names: Names) -> Session {
    Session { environment: Environment::read(), globals: globals.clone(), names }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        definition::<buildah::Cli>().debug_assert();
        definition::<skopeo::Cli>().debug_assert();
        definition::<umoci::Cli>().debug_assert();
        definition::<oci_image_tool::Cli>().debug_assert();
    }
}
