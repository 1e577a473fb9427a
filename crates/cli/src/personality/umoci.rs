// SPDX-License-Identifier: Apache-2.0
//! conex as umoci.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory as _, Parser, Subcommand};
use conex_engine::images::layout;

use super::{Outcome, parse, session};
use crate::commands::bundle;
use crate::error::{CommandError, CommandResult, Context as _, Manner};
use crate::output;
use crate::session::{Globals, Names};

/// Images in OCI layouts: unpack, list
#[derive(Parser, Debug)]
#[command(
    name = "umoci",
    version,
    arg_required_else_help = true,
    max_term_width = 110,
    disable_version_flag = true
)]
struct Cli {
    /// Print the version
    #[arg(short = 'v', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    /// Accepted and without effect
    #[arg(long, hide = true, global = true)]
    verbose: bool,
    /// Accepted and without effect
    #[arg(long, value_name = "LEVEL", hide = true, global = true)]
    log: Option<String>,
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Unpack(Box<bundle::UnpackArgs>),
    #[command(alias = "ls")]
    List(ListArgs),
    #[command(external_subcommand)]
    Absent(Vec<OsString>),
}

/// Show the tags of a layout
#[derive(clap::Args, Debug)]
struct ListArgs {
    /// The layout's directory
    #[arg(long, value_name = "DIR")]
    layout: PathBuf,
}

/// Runs a command line.
pub(super) fn run(words: Vec<OsString>) -> Outcome {
    let outcome = |result| Outcome { program: "umoci".to_owned(), manner: Manner::Plain, result };
    let command = Cli::command().version(concat!("version ", env!("CARGO_PKG_VERSION"), " (conex)"));
    let cli: Cli = match parse(command, words, Manner::Plain) {
        Ok(cli) => cli,
        Err(result) => return outcome(result),
    };
    outcome(cli.run())
}

impl Cli {
    fn run(&self) -> CommandResult {
        match &self.verb {
            Verb::Unpack(args) => bundle::run_as_umoci(args, &session(&self.globals, Names::Full)),
            Verb::List(args) => {
                let names =
                    layout::names(&args.layout).context(|| format!("list {}", args.layout.display()))?;
                let mut names: Vec<_> =
                    names.into_iter().filter_map(|(name, _)| Some(name? + "\n")).collect();
                names.sort();
                names.dedup();
                output::print(&names.concat())?;
                Ok(0)
            }
            Verb::Absent(words) => {
                let verb = words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
                Err(CommandError::usage(format!("{verb:?} is not there"))
                    .with_hint("there are unpack and list"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_words_that_people_use_are_understood() {
        for words in ["umoci unpack --rootless --image httpd:2.4.47 bundle", "umoci ls --layout httpd"] {
            Cli::try_parse_from(words.split(' ')).unwrap_or_else(|error| panic!("{words}: {error}"));
        }
    }
}
