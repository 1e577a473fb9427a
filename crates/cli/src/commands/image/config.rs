// SPDX-License-Identifier: Apache-2.0
//! `conex image config`, `umoci config`

use conex_engine::images::mutate::{Changes, Clear};
use conex_spec::Timestamp;

use super::edit_args::{Caller, HistoryArgs, pair};
use super::target::TargetArgs;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::session::Session;

/// Change an image's configuration
///
/// What --clear names is cleared first; lists of the command line take the place of the image's, maps join it.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex image config --image oci:images:app --config.env MODE=test --config.user daemon
  conex image config --image oci:images:app --config.entrypoint /bin/app --config.entrypoint --verbose
  conex image config --image oci:images:app --tag clean --clear config.env --no-history")]
pub(crate) struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// USER[:GROUP], by name or number
    #[arg(long = "config.user", value_name = "USER", help_heading = "Configuration")]
    user: Option<String>,
    /// Add a port: PORT[/PROTOCOL]
    #[arg(long = "config.exposedports", value_name = "PORT", help_heading = "Configuration")]
    exposed_ports: Vec<String>,
    /// Set a variable
    #[arg(long = "config.env", value_name = "NAME=VALUE", value_parser = pair, help_heading = "Configuration")]
    env: Vec<(String, String)>,
    /// One word of the command; again for the next
    #[arg(
        long = "config.entrypoint",
        value_name = "WORD",
        allow_hyphen_values = true,
        help_heading = "Configuration"
    )]
    entrypoint: Option<Vec<String>>,
    /// One word of its default arguments; again for the next
    #[arg(
        long = "config.cmd",
        value_name = "WORD",
        allow_hyphen_values = true,
        help_heading = "Configuration"
    )]
    cmd: Option<Vec<String>>,
    /// Add a volume
    #[arg(long = "config.volume", value_name = "PATH", help_heading = "Configuration")]
    volumes: Vec<String>,
    /// Set a label
    #[arg(long = "config.label", value_name = "NAME=VALUE", value_parser = pair, help_heading = "Configuration")]
    labels: Vec<(String, String)>,
    /// The working directory
    #[arg(long = "config.workingdir", value_name = "PATH", help_heading = "Configuration")]
    working_dir: Option<String>,
    /// The signal that stops it
    #[arg(long = "config.stopsignal", value_name = "SIGNAL", help_heading = "Configuration")]
    stop_signal: Option<String>,
    /// When the image was made, like 2006-01-02T15:04:05Z
    #[arg(long, value_name = "TIME", help_heading = "Configuration")]
    created: Option<Timestamp>,
    /// Who made it
    #[arg(long, value_name = "NAME", help_heading = "Configuration")]
    author: Option<String>,
    /// The processor, in Go's words
    #[arg(
        long = "platform.arch",
        alias = "architecture",
        value_name = "ARCH",
        help_heading = "Configuration"
    )]
    architecture: Option<String>,
    /// The system, in Go's words
    #[arg(long = "platform.os", alias = "os", value_name = "OS", help_heading = "Configuration")]
    os: Option<String>,
    /// The processor's variant
    #[arg(long = "platform.variant", value_name = "VARIANT", help_heading = "Configuration")]
    variant: Option<String>,
    /// Set an annotation of the manifest
    #[arg(
        long = "manifest.annotation",
        value_name = "NAME=VALUE",
        value_parser = pair,
        help_heading = "Configuration"
    )]
    annotations: Vec<(String, String)>,
    /// Clear config.labels, config.exposedports, config.env, config.volume, config.cmd, config.entrypoint or
    /// manifest.annotations
    #[arg(long, value_name = "KEY", help_heading = "Configuration")]
    clear: Vec<Clear>,
    #[command(flatten)]
    history: HistoryArgs,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session, caller: Caller) -> CommandResult {
    change(args, session, caller).context(|| format!("config {}", args.target.word()))
}

fn change(args: &Args, session: &Session, caller: Caller) -> Result<u8, CommandError> {
    let mut image = args.target.open(session, caller)?;
    changes(args).apply(&mut image.draft);
    let verb = if caller == Caller::Umoci { "config" } else { "image config" };
    image.draft.note(args.history.note(verb, session, caller)?.as_ref());
    image.commit(session)?;
    Ok(0)
}

fn changes(args: &Args) -> Changes {
    Changes {
        clear: args.clear.clone(),
        user: args.user.clone(),
        exposed_ports: args.exposed_ports.clone(),
        env: args.env.clone(),
        entrypoint: args.entrypoint.clone(),
        cmd: args.cmd.clone(),
        volumes: args.volumes.clone(),
        labels: args.labels.clone(),
        working_dir: args.working_dir.clone(),
        stop_signal: args.stop_signal.clone(),
        created: args.created,
        author: args.author.clone(),
        architecture: args.architecture.clone(),
        os: args.os.clone(),
        variant: args.variant.clone(),
        annotations: args.annotations.clone(),
    }
}
