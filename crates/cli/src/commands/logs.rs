// SPDX-License-Identifier: Apache-2.0
//! `conex logs`

use std::time::SystemTime;

use conex_engine::container::{self, LogOptions, Tail};
use conex_spec::Timestamp;

use crate::error::{CommandResult, Context as _};
use crate::output::units;
use crate::session::Session;

/// Show what a container has printed
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex logs web
  conex logs -f --tail 20 web                the last lines, and then what comes
  conex logs --since 10m -t web")]
pub(crate) struct Args {
    /// Name, id, or the beginning of one
    container: String,
    /// Go on until it ends
    #[arg(short, long)]
    follow: bool,
    /// The last so many lines, or all
    #[arg(short = 'n', long, value_name = "N", default_value = "all", value_parser = parse_tail)]
    tail: Tail,
    /// The time before each line
    #[arg(short, long)]
    timestamps: bool,
    /// Nothing older: a duration (10m), or a time (2006-01-02T15:04:05Z)
    #[arg(long, value_name = "WHEN", value_parser = parse_since)]
    since: Option<Timestamp>,
}

fn parse_tail(text: &str) -> Result<Tail, String> {
    match text {
        "all" | "-1" => Ok(Tail::All),
        number => {
            number.parse().map(Tail::Lines).map_err(|_| format!("{number:?} is neither a number nor all"))
        }
    }
}

fn parse_since(text: &str) -> Result<Timestamp, String> {
    match text.parse::<Timestamp>() {
        Ok(time) => Ok(time),
        Err(error) => units::parse_duration(text)
            .map(|ago| Timestamp::from(SystemTime::now()).before(ago))
            .map_err(|reason| format!("{error}; {reason}")),
    }
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    let engine = session.engine()?;
    let options =
        LogOptions { follow: args.follow, tail: args.tail, timestamps: args.timestamps, since: args.since };
    let show = || {
        let container = container::find(&engine, &args.container)?;
        container::logs(&container, options, &mut std::io::stdout(), &mut std::io::stderr())
    };
    show().context(|| format!("logs {}", args.container))?;
    Ok(0)
}
