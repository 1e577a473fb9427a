// SPDX-License-Identifier: Apache-2.0
//! `conex image`: an image made out of another, in an OCI layout. umoci's verbs, in conex' words.

pub(crate) mod append;
pub(crate) mod config;
pub(crate) mod edit_args;
pub(crate) mod insert;
pub(crate) mod new;
pub(crate) mod rebase;
pub(crate) mod stat;

use clap::Subcommand;

use crate::error::CommandResult;
use crate::session::Session;
use edit_args::Caller;

/// Make and change images in OCI layouts
///
/// Nothing is changed in place: a new image takes over a name when everything that it is made of is there.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    New(new::Args),
    Config(Box<config::Args>),
    Insert(insert::Args),
    Append(append::Args),
    Rebase(rebase::Args),
    #[command(visible_alias = "history")]
    Stat(stat::Args),
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    let caller = Caller::Conex;
    match &args.verb {
        Verb::New(args) => new::run(args, session, caller),
        Verb::Config(args) => config::run(args, session, caller),
        Verb::Insert(args) => insert::run(args, session, caller),
        Verb::Append(args) => append::run(args, session, caller),
        Verb::Rebase(args) => rebase::run(args, caller),
        Verb::Stat(args) => stat::run(args, caller),
    }
}
