// SPDX-License-Identifier: Apache-2.0
//! conex as umoci.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use conex_engine::images::layout;

use super::{Tool, session};
use crate::commands::bundle;
use crate::error::{CommandError, CommandResult, Context as _, Manner};
use crate::output;
use crate::session::{Globals, Names};

/// Images in OCI layouts: unpack, list
#[derive(Parser, Debug)]
pub(super) struct Cli {
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

impl Tool for Cli {
    const NAME: &str = "umoci";
    const MANNER: Manner = Manner::Plain;

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
    fn the_words_that_people_use_are_understood() {
        for words in ["umoci unpack --rootless --image httpd:2.4.47 bundle", "umoci ls --layout httpd"] {
            Cli::try_parse_from(words.split(' ')).unwrap_or_else(|error| panic!("{words}: {error}"));
        }
    }
}
