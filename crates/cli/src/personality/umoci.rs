// SPDX-License-Identifier: Apache-2.0
//! conex as umoci.

use clap::{Parser, Subcommand};

use super::{Tool, session};
use crate::commands::bundle::{self, Goal};
use crate::commands::image::{self, edit_args::Caller};
use crate::commands::layout::{self, LayoutArgs};
use crate::commands::repack::{self, RepackArgs};
use crate::commands::runtime_config::{self, RuntimeConfigArgs};
use crate::error::{CommandResult, Manner};
use crate::session::{Globals, Names};

/// Images in OCI layouts: make, change, unpack and repack them
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
    Init(LayoutArgs),
    New(image::new::Args),
    Unpack(Box<bundle::UnpackArgs>),
    Repack(Box<RepackArgs>),
    Insert(Box<image::insert::Args>),
    Config(Box<image::config::Args>),
    Tag(layout::TagArgs),
    #[command(visible_alias = "rm")]
    Remove(layout::RmArgs),
    #[command(visible_alias = "ls")]
    List(LayoutArgs),
    Stat(image::stat::Args),
    Gc(LayoutArgs),
    #[command(subcommand)]
    Raw(Box<Raw>),
}

/// Parts of the other verbs
#[derive(Subcommand, Debug)]
enum Raw {
    /// Put a tar file on top of an image, as a layer
    AddLayer(image::append::Args),
    /// Write the runtime configuration of an image, and nothing else
    #[command(visible_alias = "config")]
    RuntimeConfig(RuntimeConfigArgs),
    /// Unpack an image's files alone
    Unpack(bundle::UnpackArgs),
}

impl Tool for Cli {
    const NAME: &str = "umoci";
    const MANNER: Manner = Manner::Plain;

    fn run(&self) -> CommandResult {
        let session = session(&self.globals, Names::Full);
        let caller = Caller::Umoci;
        match &self.verb {
            Verb::Init(args) => layout::init(&args.layout),
            Verb::New(args) => image::new::run(args, &session, caller),
            Verb::Unpack(args) => bundle::run_as_umoci(args, &session, Goal::Bundle),
            Verb::Repack(args) => repack::run(args, &session, caller),
            Verb::Insert(args) => image::insert::run(args, &session, caller),
            Verb::Config(args) => image::config::run(args, &session, caller),
            Verb::Tag(args) => layout::tag(args, caller),
            Verb::Remove(args) => layout::rm(args, caller),
            Verb::List(args) => layout::list(&args.layout),
            Verb::Stat(args) => image::stat::run(args, &session, caller),
            Verb::Gc(args) => layout::gc(&args.layout),
            Verb::Raw(raw) => match &**raw {
                Raw::AddLayer(args) => image::append::run(args, &session, caller),
                Raw::RuntimeConfig(args) => {
                    let location = caller.location(&args.image)?;
                    runtime_config::run(args, &location, &session)
                }
                Raw::Unpack(args) => bundle::run_as_umoci(args, &session, Goal::Rootfs),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_that_people_use_are_understood() {
        for words in [
            "umoci init --layout images",
            "umoci new --image images:a",
            "umoci unpack --rootless --image httpd:2.4.47 bundle",
            "umoci ls --layout httpd",
            "umoci rm --image images:a",
            "umoci config --image a:b --config.cmd -c --config.cmd -- --os linux --architecture arm64",
            "umoci insert --image a:b --opaque src /opt",
            "umoci insert --image a:b --whiteout /opt",
            "umoci repack --image a:b --mask-path /x --no-mask-volumes --refresh-bundle --history.created_by me c",
            "umoci raw config --image a:b --rootfs r config.json",
            "umoci --log=info --verbose raw add-layer --image a:b --tag c layer.tar",
        ] {
            Cli::try_parse_from(words.split(' ')).unwrap_or_else(|error| panic!("{words}: {error}"));
        }
    }
}
