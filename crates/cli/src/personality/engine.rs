// SPDX-License-Identifier: Apache-2.0
//! conex itself, and as podman and docker: the same verbs.

use std::ffi::OsString;

use clap::{CommandFactory as _, Parser};

use super::{Outcome, parse, session};
use crate::commands::Verb;
use crate::error::Manner;
use crate::session::{Globals, Names};

/// Images and containers: pull, run, look, copy, serve
///
/// conex needs no daemon. As an ordinary user it needs a range of subordinate ids in /etc/subuid and /etc/subgid; it
/// says which line to add where there is none.
#[derive(Parser, Debug)]
#[command(
    name = "conex",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 110,
    after_help = "\
First steps:
  conex run --rm -it docker.io/library/alpine       a shell in a container
  conex run -d --name web httpd; conex logs -f web  something that stays
  conex copy docker://alpine oci:alpine:latest      an image as files
  conex system info                                 what this machine can do
`conex VERB --help` shows each verb's options with examples."
)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}

/// Runs a command line as `program`.
pub(super) fn run(program: &str, words: Vec<OsString>) -> Outcome {
    let command = command(program);
    let outcome = |manner, result| Outcome { program: program.to_owned(), manner, result };
    let cli: Cli = match parse(command.clone(), words, Manner::Engine) {
        Ok(cli) => cli,
        Err(result) => return outcome(Manner::Engine, result),
    };
    let names = if program == "docker" { Names::Familiar } else { Names::Full };
    let manner = cli.verb.manner();
    outcome(manner, cli.verb.run(&session(&cli.globals, names), command))
}

fn command(program: &str) -> clap::Command {
    let version = env!("CARGO_PKG_VERSION");
    let own = Cli::command();
    match program {
        // `podman version 0.1.0 (conex)`, `Docker version 0.1.0, build conex`: what scripts cut out stays in its place.
        "podman" => own.name("podman").bin_name("podman").version(format!("version {version} (conex)")),
        "docker" => own
            .name("docker")
            .bin_name("docker")
            .display_name("Docker")
            .version(format!("version {version}, build conex")),
        _ => own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_is_sound() {
        for program in ["conex", "podman", "docker"] {
            command(program).debug_assert();
        }
    }

    /// The words of `run` behind the image go to the container, whatever they look like.
    #[test]
    fn what_stands_behind_the_image_is_the_containers() {
        let words = ["conex", "run", "--rm", "-it", "alpine", "-d", "--name", "x", "--", "-h"];
        let cli: Cli = Cli::try_parse_from(words).unwrap();
        let Verb::Run(args) = cli.verb else { panic!("not run") };
        let text = format!("{args:?}");
        assert!(text.contains(r#"["alpine", "-d", "--name", "x", "--", "-h"]"#), "{text}");
    }

    #[test]
    fn every_verb_has_help_with_an_example_or_needs_none() {
        for verb in Cli::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
            assert!(verb.get_about().is_some(), "{} has no help", verb.get_name());
        }
    }
}
