// SPDX-License-Identifier: Apache-2.0
//! `conex registry`

mod serve;
mod upstream;

use clap::Subcommand;

use crate::error::{CommandResult, Context as _};
use crate::session::Session;

/// Be a registry
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Serve(Box<serve::Args>),
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    let Verb::Serve(args) = &args.verb;
    serve::run(args, session).context(|| format!("registry serve {}", args.listen))
}
