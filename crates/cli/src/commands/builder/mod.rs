// SPDX-License-Identifier: Apache-2.0
//! `conex builder`: working containers, spelled as buildah spells them.

mod add;
mod commit;
mod config;
mod containers;
mod fields;
mod from;
mod images;
mod inspect;
mod mount;
mod push;
mod rm;
mod run;
pub(crate) mod unshare;
mod words;

use clap::Subcommand;
use conex_build::container::{self, Held};
use conex_engine::Engine;

use super::{build, login, logout, pull, system, tag};
use crate::error::{CommandError, CommandResult};
use crate::session::Session;

/// Make images step by step, by commands in a script
///
/// `from` makes a working container of an image; `run`, `copy`, `add` and `config` change it, `mount` shows its files to other
/// programs, `commit` makes an image of it.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  c=$(conex builder from alpine)
  conex builder run $c -- apk add curl
  conex builder config --cmd curl $c
  conex builder commit $c curl:1
  conex builder rm $c")]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What is done to working containers and their images.
#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    #[command(alias = "bud")]
    Build(Box<build::Args>),
    From(from::Args),
    Run(Box<run::Args>),
    Copy(Box<add::CopyArgs>),
    Add(Box<add::AddArgs>),
    Config(Box<config::Args>),
    Mount(mount::Args),
    #[command(alias = "unmount")]
    Umount(mount::UmountArgs),
    Commit(Box<commit::Args>),
    #[command(aliases = ["list", "ls", "ps"])]
    Containers(containers::Args),
    Images(images::Args),
    Inspect(inspect::Args),
    Rename(rm::RenameArgs),
    #[command(alias = "delete")]
    Rm(rm::Args),
    Rmi(images::RmiArgs),
    Tag(tag::Args),
    Push(push::Args),
    Pull(pull::Args),
    Unshare(unshare::Args),
    Prune(images::PruneArgs),
    Login(login::Args),
    Logout(logout::Args),
    Info(system::InfoArgs),
    Version(words::VersionArgs),
}

/// Runs the verb.
pub(crate) fn run(verb: &Verb, session: &Session) -> CommandResult {
    match verb {
        Verb::Build(args) => build::run(args, session),
        Verb::From(args) => from::run(args, session),
        Verb::Run(args) => run::run(args, session),
        Verb::Copy(args) => add::copy(args, session),
        Verb::Add(args) => add::add(args, session),
        Verb::Config(args) => config::run(args, session),
        Verb::Mount(args) => mount::run(args, session),
        Verb::Umount(args) => mount::umount(args, session),
        Verb::Commit(args) => commit::run(args, session),
        Verb::Containers(args) => containers::run(args, session),
        Verb::Images(args) => images::run(args, session),
        Verb::Inspect(args) => inspect::run(args, session),
        Verb::Rename(args) => rm::rename(args, session),
        Verb::Rm(args) => rm::run(args, session),
        Verb::Rmi(args) => images::rmi(args, session),
        Verb::Tag(args) => tag::run(args, session),
        Verb::Push(args) => push::run(args, session),
        Verb::Pull(args) => pull::run(args, session),
        Verb::Unshare(args) => unshare::run(args, session),
        Verb::Prune(args) => images::prune(args, session),
        Verb::Login(args) => login::run(args, session),
        Verb::Logout(args) => logout::run(args, session),
        Verb::Info(args) => system::show_info(args, session),
        Verb::Version(args) => words::version(args),
    }
}

/// The engine, in the user namespace that working containers' files need, with what killed commands left swept.
fn engine(session: &Session) -> Result<Engine, CommandError> {
    let engine = session.engine()?;
    session.enter_user_namespace()?;
    container::sweep(&engine)?;
    Ok(engine)
}

/// The working container that a person means, for this command alone.
fn hold(engine: &Engine, name: &str) -> Result<Held, CommandError> {
    Ok(container::find(engine, name)?.hold(engine)?)
}
