// SPDX-License-Identifier: Apache-2.0
//! conex as buildah.

use std::path::PathBuf;

use clap::Parser;

use super::{Tool, session};
use crate::commands::builder;
use crate::error::{CommandResult, Manner};
use crate::session::{Globals, Names};

/// Images, made step by step
#[derive(Parser, Debug)]
pub(super) struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(flatten)]
    own: BuildahGlobals,
    #[command(subcommand)]
    verb: builder::Verb,
}

/// buildah's options in front of the verb.
#[derive(clap::Args, Debug)]
struct BuildahGlobals {
    /// Accepted and without effect: there is one way to store
    #[arg(long, value_name = "DRIVER", hide = true, global = true)]
    storage_driver: Option<String>,
    /// Accepted and without effect
    #[arg(long, value_name = "OPTION", hide = true, global = true)]
    storage_opt: Vec<String>,
    /// Accepted and without effect
    #[arg(long, value_name = "LEVEL", hide = true, global = true)]
    log_level: Option<String>,
    /// Accepted and without effect
    #[arg(long, hide = true, global = true)]
    debug: bool,
    /// Accepted and without effect
    #[arg(long, value_name = "FILE", hide = true, global = true)]
    registries_conf_dir: Option<PathBuf>,
}

impl Tool for Cli {
    const NAME: &str = "buildah";
    const MANNER: Manner = Manner::Engine;

    fn run(&self) -> CommandResult {
        builder::run(&self.verb, &session(&self.globals, Names::Full))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_that_people_use_are_understood() {
        for words in [
            "buildah build",
            "buildah build -t my-first-image:latest",
            "buildah bud --layers -f Containerfile -t x .",
            "buildah from alpine",
            "buildah from --pull=never --name base scratch",
            "buildah ps",
            "buildah run alpine-working-container -- apk add curl",
            "buildah run --user root c sh -c ls",
            "buildah config -e ENVIRONMENT=test alpine-working-container",
            "buildah config --env A- --label - --cmd -c c",
            "buildah unshare",
            "buildah unshare sh build.sh -x",
            "buildah mount alpine-working-container",
            "buildah commit --squash --rm --timestamp 0 c localhost/my-first-image:latest",
            "buildah rm -a",
            "buildah tag abc quay.io/mkdev/dockerless:latest",
            "buildah --storage-driver overlay copy --chmod u=rwX,go=rX --chown 1:2 c a b /c/",
        ] {
            Cli::try_parse_from(words.split(' ')).unwrap_or_else(|error| panic!("{words}: {error}"));
        }
    }
}
