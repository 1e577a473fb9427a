// SPDX-License-Identifier: Apache-2.0
//! `conex layout`: an OCI layout as a whole, and the names in it.

use std::path::PathBuf;

use clap::Subcommand;
use conex_engine::images::layout::{self, Layout};

use super::image::edit_args::{Caller, Place};
use crate::error::{CommandError, CommandResult, Context as _};
use crate::output::{self, units};

/// Make OCI layouts, give and take names in them, remove what has none
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Init(InitPlace),
    #[command(visible_alias = "ls")]
    List(ListPlace),
    Tag(TagArgs),
    #[command(visible_alias = "remove")]
    Rm(RmArgs),
    Gc(GcPlace),
}

/// Make a layout of nothing
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  conex layout init images")]
struct InitPlace {
    /// The directory to make
    #[arg(value_name = "DIR")]
    layout: PathBuf,
}

/// Show the names in a layout
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  conex layout list images")]
struct ListPlace {
    /// The layout's directory
    #[arg(value_name = "DIR")]
    layout: PathBuf,
}

/// Remove what no name leads to
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  conex layout gc images")]
struct GcPlace {
    /// The layout's directory
    #[arg(value_name = "DIR")]
    layout: PathBuf,
}

/// The layout, as umoci takes it.
#[derive(clap::Args, Debug)]
pub(crate) struct LayoutArgs {
    /// The layout's directory
    #[arg(long, value_name = "DIR")]
    pub layout: PathBuf,
}

/// Give an image another name besides
///
/// What had that name has it no longer.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  conex layout tag --image oci:images:app stable")]
pub(crate) struct TagArgs {
    /// The image: oci:DIRECTORY[:TAG] (umoci: DIRECTORY[:TAG])
    #[arg(long, value_name = "IMAGE")]
    image: String,
    /// The new name
    #[arg(value_name = "TAG")]
    tag: String,
}

/// Take a name away; `gc` then removes what it alone led to
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  conex layout rm --image oci:images:old")]
pub(crate) struct RmArgs {
    /// The name: oci:DIRECTORY[:TAG] (umoci: DIRECTORY[:TAG])
    #[arg(long, value_name = "IMAGE")]
    image: String,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> CommandResult {
    match &args.verb {
        Verb::Init(args) => init(&args.layout),
        Verb::List(args) => list(&args.layout),
        Verb::Tag(args) => tag(args, Caller::Conex),
        Verb::Rm(args) => rm(args, Caller::Conex),
        Verb::Gc(args) => {
            let swept = layout::gc(&args.layout)?;
            output::print_line(&format!("{} blobs, {}", swept.blobs.len(), units::size(swept.bytes)))?;
            Ok(0)
        }
    }
}

/// `init`
pub(crate) fn init(path: &std::path::Path) -> CommandResult {
    Layout::init(path)?;
    Ok(0)
}

/// `list`
pub(crate) fn list(path: &std::path::Path) -> CommandResult {
    let names = layout::names(path).context(|| format!("list {}", path.display()))?;
    let mut names: Vec<_> = names.into_iter().filter_map(|(name, _)| Some(name? + "\n")).collect();
    names.sort();
    names.dedup();
    output::print(&names.concat())?;
    Ok(0)
}

/// `tag`
pub(crate) fn tag(args: &TagArgs, caller: Caller) -> CommandResult {
    let tag = |place: Place| -> Result<(), CommandError> {
        Ok(Layout::open(&place.layout)?.tag(&place.name, &args.tag)?)
    };
    caller.place(&args.image).and_then(tag).context(|| format!("tag {}", args.image))?;
    Ok(0)
}

/// `rm`: as with umoci, a name that is not there is no error.
pub(crate) fn rm(args: &RmArgs, caller: Caller) -> CommandResult {
    let rm = |place: Place| -> Result<bool, CommandError> {
        Ok(Layout::open(&place.layout)?.remove(&place.name)?)
    };
    let was = caller.place(&args.image).and_then(rm).context(|| format!("rm {}", args.image))?;
    if !was && caller == Caller::Conex {
        return Err(CommandError::not_found(format!("rm {}: there is no such name", args.image)));
    }
    Ok(0)
}

/// `gc`, quietly
pub(crate) fn gc(path: &std::path::Path) -> CommandResult {
    layout::gc(path)?;
    Ok(0)
}
