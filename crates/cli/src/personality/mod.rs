// SPDX-License-Identifier: Apache-2.0
//! Who conex is when it is called by another tool's name: a table from that tool's spelling to the same arguments,
//! never a second implementation.
//!
//! | argv[0] | what it is |
//! |---|---|
//! | `conex` | itself |
//! | `podman`, `docker` | itself, in their manner of showing names and versions |
//! | `skopeo` | `copy`, `inspect`, `list-tags` |
//! | `umoci` | `unpack`, `list` |
//! | `oci-image-tool` | `create`, `unpack`, `validate` |
//! | `buildah` | not there yet; it says so |

mod engine;
mod oci_image_tool;
mod skopeo;
mod umoci;

use std::ffi::OsString;
use std::path::Path;

use clap::error::ErrorKind;
use clap::{Command, Parser};

use crate::environment::Environment;
use crate::error::{CommandError, CommandResult, Manner};
use crate::output;
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
        "skopeo" => skopeo::run(words),
        "umoci" => umoci::run(words),
        "oci-image-tool" => oci_image_tool::run(words),
        "buildah" => absent(program, &words),
        _ => engine::run("conex", words),
    }
}

/// A tool that conex does not stand in for yet.
fn absent(program: String, words: &[OsString]) -> Outcome {
    let version = words.get(1).is_some_and(|word| word == "--version" || word == "-v");
    let result = match version {
        true => output::print_line(&format!("{program} version {} (conex)", env!("CARGO_PKG_VERSION")))
            .map(|()| 0),
        false => Err(CommandError::tool("conex does not do this tool's work yet").with_hint(
            "there are conex, podman, docker, skopeo, umoci and oci-image-tool; `conex --help` shows what they do",
        )),
    };
    Outcome { program, manner: Manner::Plain, result }
}

/// Parses; an early end (help, a version, wrong words) is printed here.
fn parse<P: Parser>(command: Command, words: Vec<OsString>, manner: Manner) -> Result<P, CommandResult> {
    let parsed = command.try_get_matches_from(words).and_then(|matches| P::from_arg_matches(&matches));
    parsed.map_err(|error| {
        // Nobody to tell if even this cannot be written.
        let _closed = error.print();
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(0),
            _ => Ok(CommandError::usage("").exit_code(manner)),
        }
    })
}

fn session(globals: &Globals, names: Names) -> Session {
    Session { environment: Environment::read(), globals: globals.clone(), names }
}
