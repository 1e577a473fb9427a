// SPDX-License-Identifier: Apache-2.0
//! `conex image`: an image made out of another, wherever it is, and what there is to see in one. umoci's, crane's and
//! regctl's verbs, in conex' words.

pub(crate) mod annotate;
pub(crate) mod append;
pub(crate) mod config;
pub(crate) mod diff;
pub(crate) mod edit_args;
pub(crate) mod export;
pub(crate) mod flatten;
pub(crate) mod get_file;
pub(crate) mod insert;
pub(crate) mod new;
pub(crate) mod rebase;
pub(crate) mod sign;
pub(crate) mod stat;
pub(crate) mod strip_file;
pub(crate) mod target;

use clap::Subcommand;

use crate::error::CommandResult;
use crate::session::Session;
use edit_args::Caller;

/// Make, change and look into images, wherever they are
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
    Flatten(flatten::Args),
    Annotate(annotate::Args),
    StripFile(strip_file::Args),
    Export(export::Args),
    GetFile(get_file::Args),
    Diff(diff::Args),
    #[command(visible_alias = "history")]
    Stat(stat::Args),
    Sign(sign::SignArgs),
    Verify(sign::VerifyArgs),
    GenerateKeyPair(sign::GenerateArgs),
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    let caller = Caller::Conex;
    match &args.verb {
        Verb::New(args) => new::run(args, session, caller),
        Verb::Config(args) => config::run(args, session, caller),
        Verb::Insert(args) => insert::run(args, session, caller),
        Verb::Append(args) => append::run(args, session, caller),
        Verb::Rebase(args) => rebase::run(args, session, caller),
        Verb::Flatten(args) => flatten::run(args, session),
        Verb::Annotate(args) => annotate::run(args, session),
        Verb::StripFile(args) => strip_file::run(args, session),
        Verb::Export(args) => export::run(args, session),
        Verb::GetFile(args) => get_file::run(args, session),
        Verb::Diff(args) => diff::run(args, session),
        Verb::Stat(args) => stat::run(args, session, caller),
        Verb::Sign(args) => sign::sign(args, session),
        Verb::Verify(args) => sign::verify(args, session),
        Verb::GenerateKeyPair(args) => sign::generate(args, session),
    }
}
