// SPDX-License-Identifier: Apache-2.0
//! The verbs: one file each, with its arguments (whose comments are its help) and what it does with them.

pub(crate) mod artifact;
pub(crate) mod build;
pub(crate) mod builder;
pub(crate) mod bundle;
pub(crate) mod completions;
mod container_args;
pub(crate) mod copy;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod exec;
pub(crate) mod form;
pub(crate) mod image;
pub(crate) mod images;
pub(crate) mod index;
pub(crate) mod inspect;
pub(crate) mod kill;
pub(crate) mod layout;
pub(crate) mod list_tags;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod logs;
pub(crate) mod manifest_digest;
pub(crate) mod manual;
mod mapping;
pub(crate) mod platform;
pub(crate) mod ps;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod registry;
pub(crate) mod remote_inspect;
pub(crate) mod repack;
pub(crate) mod rm;
pub(crate) mod rmi;
pub(crate) mod run;
pub(crate) mod runtime_config;
pub(crate) mod sides;
pub(crate) mod sign;
pub(crate) mod signing;
pub(crate) mod start;
pub(crate) mod stop;
pub(crate) mod sync;
pub(crate) mod system;
pub(crate) mod tag;
pub(crate) mod wait;

use clap::Subcommand;
use conex_spec::image::Platform;

use crate::error::{CommandResult, Manner};
use crate::session::Session;

/// Everything that conex does.
#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    Run(Box<run::Args>),
    Ps(ps::Args),
    Exec(exec::Args),
    Logs(logs::Args),
    Stop(stop::Args),
    Kill(kill::Args),
    Rm(rm::Args),
    Create(Box<create::Args>),
    Start(start::Args),
    Wait(wait::Args),
    Build(Box<build::Args>),
    Pull(pull::Args),
    Images(images::Args),
    Rmi(rmi::Args),
    Tag(tag::Args),
    Push(push::Args),
    Inspect(inspect::Args),
    Copy(Box<copy::Args>),
    ListTags(list_tags::Args),
    Sync(Box<sync::Args>),
    Delete(delete::Args),
    Login(login::Args),
    Logout(logout::Args),
    Builder(Box<builder::Args>),
    Bundle(bundle::Args),
    Image(image::Args),
    Index(index::Args),
    Layout(layout::Args),
    Artifact(artifact::Args),
    Registry(registry::Args),
    System(system::Args),
    #[command(hide = true)]
    Info(system::InfoArgs),
    Completions(completions::Args),
    Manual(manual::Args),
}

impl Verb {
    /// Whose exit codes it gives.
    pub(crate) fn manner(&self) -> Manner {
        match self {
            Self::Rm(_) | Self::Rmi(_) => Manner::Removal,
            Self::Copy(_) | Self::Sync(_) | Self::ListTags(_) | Self::Delete(_) => Manner::Transfer,
            _ => Manner::Engine,
        }
    }

    /// Does it. `command` is the whole command line, for the completions and the manual.
    pub(crate) fn run(&self, session: &Session, command: clap::Command) -> CommandResult {
        match self {
            Self::Run(args) => run::run(args, session),
            Self::Ps(args) => ps::run(args, session),
            Self::Exec(args) => exec::run(args, session),
            Self::Logs(args) => logs::run(args, session),
            Self::Stop(args) => stop::run(args, session),
            Self::Kill(args) => kill::run(args, session),
            Self::Rm(args) => rm::run(args, session),
            Self::Create(args) => create::run(args, session),
            Self::Start(args) => start::run(args, session),
            Self::Wait(args) => wait::run(args, session),
            Self::Build(args) => build::run(args, session),
            Self::Pull(args) => pull::run(args, session),
            Self::Images(args) => images::run(args, session),
            Self::Rmi(args) => rmi::run(args, session),
            Self::Tag(args) => tag::run(args, session),
            Self::Push(args) => push::run(args, session),
            Self::Inspect(args) => inspect::run(args, session),
            Self::Copy(args) => copy::run(args, session, &Platform::host(), true),
            Self::ListTags(args) => list_tags::run(args, session),
            Self::Sync(args) => sync::run(args, session, &Platform::host()),
            Self::Delete(args) => delete::run(args, session),
            Self::Login(args) => login::run(args, session),
            Self::Logout(args) => logout::run(args, session),
            Self::Builder(args) => builder::run(&args.verb, session),
            Self::Bundle(args) => bundle::run(args, session),
            Self::Image(args) => image::run(args, session),
            Self::Index(args) => index::run(args, session),
            Self::Layout(args) => layout::run(args),
            Self::Artifact(args) => artifact::run(args, session),
            Self::Registry(args) => registry::run(args, session),
            Self::System(args) => system::run(args, session),
            Self::Info(args) => system::show_info(args, session),
            Self::Completions(args) => completions::run(args, command),
            Self::Manual(args) => manual::run(args, command),
        }
    }
}
