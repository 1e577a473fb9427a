// SPDX-License-Identifier: Apache-2.0
//! `conex builder copy`, `conex builder add`

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use conex_build::chmod::Chmod;
use conex_build::copy::{self, CopyOptions, Origin};
use conex_build::ignore::Ignore;
use conex_spec::Timestamp;
use conex_spec::image::History;

use super::{engine, hold};
use crate::error::{CommandError, CommandResult, Context as _};
use crate::output;
use crate::session::Session;

/// Copy files into a working container
///
/// A directory stands for what is in it. Files become root's unless --chown says otherwise.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex builder copy c site /srv/site
  conex builder copy --chown app --chmod u=rwX,go=rX c a.conf b.conf /etc/app/")]
pub(crate) struct CopyArgs {
    #[command(flatten)]
    common: Common,
    /// Keep the sources' directories, from /./ on where that is in them
    #[arg(long)]
    parents: bool,
}

/// Copy files into a working container; archives are unpacked
#[derive(clap::Args, Debug)]
pub(crate) struct AddArgs {
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Debug)]
struct Common {
    /// Name or id of the working container
    container: String,
    /// What to copy, and where to as the last [default: the working directory]
    #[arg(required = true, value_name = "SOURCE… [TARGET]")]
    paths: Vec<String>,
    /// Who gets it: USER[:GROUP], by name or number
    #[arg(long, value_name = "USER")]
    chown: Option<String>,
    /// Its mode: octal, or as chmod has it
    #[arg(long, value_name = "MODE", value_parser = chmod)]
    chmod: Option<Chmod>,
    /// Leave out what fits
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// Look for the sources in this directory, and only there
    #[arg(long, value_name = "DIR")]
    contextdir: Option<PathBuf>,
    /// Write it into the history
    #[arg(long)]
    add_history: bool,
    /// Do not print the digest
    #[arg(short, long)]
    quiet: bool,
}

/// Runs the verb.
pub(super) fn copy(args: &CopyArgs, session: &Session) -> CommandResult {
    run(&args.common, session, "COPY", CopyOptions { parents: args.parents, ..CopyOptions::default() })
}

/// Runs the verb.
pub(super) fn add(args: &AddArgs, session: &Session) -> CommandResult {
    run(&args.common, session, "ADD", CopyOptions { unpack: true, ..CopyOptions::default() })
}

fn run(args: &Common, session: &Session, word: &str, options: CopyOptions) -> CommandResult {
    let options = CopyOptions {
        chown: args.chown.clone(),
        chmod: args.chmod.clone(),
        exclude: Ignore::of(args.exclude.iter().map(String::as_str)).map_err(CommandError::usage)?,
        ..options
    };
    let context = Origin::context(copy::open(args.contextdir.as_deref().unwrap_or(Path::new("/")))?);
    let (sources, target) = sources(args)?;
    let engine = engine(session)?;
    let describe = || format!("{} {}", word.to_lowercase(), args.container);
    let mut held = hold(&engine, &args.container).context(describe)?;
    let target = Path::new("/").join(&held.record.config.config.working_dir).join(target);
    let tree = held.tree(&engine)?;
    let scratch = held.working.path.join("unpack");
    let copied = tree.with_root(|merged| {
        let into = copy::open(merged)?;
        copy::copy(&context, &sources, &into, &target, &options, &scratch)
    });
    let digest = copied.context(describe)?;
    if args.add_history {
        let what = if sources.len() == 1 { "file" } else { "multi" };
        let words = format!("/bin/sh -c #(nop) {word} {what}:{} in {}", digest.hex(), target.display());
        held.record.steps.push(History {
            created: Some(Timestamp::from(SystemTime::now()).to_string()),
            created_by: Some(words),
            empty_layer: true,
            ..History::default()
        });
        held.save()?;
    }
    if !args.quiet {
        output::print_line(digest.hex())?;
    }
    Ok(0)
}

fn chmod(text: &str) -> Result<Chmod, String> {
    Chmod::parse(text).ok_or_else(|| format!("{text:?} is no mode: write 0644, or u=rwX,go=rX"))
}

/// The last of several paths is the target.
fn sources(args: &Common) -> Result<(Vec<String>, String), CommandError> {
    let (target, sources) = match args.paths.split_last() {
        Some((target, sources)) if !sources.is_empty() => (target.clone(), sources.to_vec()),
        _ => (String::new(), args.paths.clone()),
    };
    let remote = |source: &&String| ["http://", "https://", "git://"].iter().any(|s| source.starts_with(s));
    if let Some(source) = sources.iter().find(remote) {
        return Err(CommandError::tool(format!("{source}: sources on the network are not there yet"))
            .with_hint("fetch it first: curl -LO …"));
    }
    if args.contextdir.is_some() {
        return Ok((sources, target));
    }
    let cwd = std::env::current_dir().context(|| "current directory")?;
    let absolute = |source: &String| {
        let joined = cwd.join(source);
        joined
            .to_str()
            .map(str::to_owned)
            .ok_or_else(|| CommandError::usage(format!("{source:?} is not text")))
    };
    Ok((sources.iter().map(absolute).collect::<Result<_, _>>()?, target))
}
