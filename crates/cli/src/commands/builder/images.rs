// SPDX-License-Identifier: Apache-2.0
//! `conex builder images`, `conex builder rmi`, `conex builder prune`

use conex_build::container;
use conex_engine::Engine;
use conex_engine::image::{self, Listed};
use serde_json::{Value, json};

use super::super::images as table;
use super::engine;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::output::{self, units};
use crate::session::Session;

/// Show the images in the store
#[derive(clap::Args, Debug)]
#[group(skip)]
pub(crate) struct Args {
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    table: table::Args,
}

/// Remove names of images, and what only they led to
#[derive(clap::Args, Debug)]
pub(crate) struct RmiArgs {
    /// Names or ids
    #[arg(value_name = "IMAGE", required_unless_present_any = ["all", "prune"])]
    images: Vec<String>,
    /// All of them
    #[arg(short, long, conflicts_with = "images")]
    all: bool,
    /// Those that have no name
    #[arg(short, long, conflicts_with = "images")]
    prune: bool,
    /// Also images that containers were made from
    #[arg(short, long)]
    force: bool,
}

/// Remove the images that have no name
#[derive(clap::Args, Debug)]
pub(crate) struct PruneArgs {
    /// And all others that no container was made from
    #[arg(short, long)]
    all: bool,
    /// Also images that containers were made from
    #[arg(short, long)]
    force: bool,
}

/// Runs the verb.
pub(super) fn run(args: &Args, session: &Session) -> CommandResult {
    if !args.json {
        return table::run(&args.table, session);
    }
    let rows: Vec<Value> = image::list(&session.engine()?)?.iter().filter_map(row).collect();
    output::print(&output::pretty(&json!(rows))).map(|()| 0)
}

fn row(one: &Listed) -> Option<Value> {
    let image = one.image.as_ref()?;
    let names: Vec<String> = one.name.iter().map(ToString::to_string).collect();
    Some(json!({
        "id": image.id.short(),
        "names": names,
        "digest": one.descriptor.digest,
        "createdat": image.created.map_or("N/A".to_owned(), |time| format!("{} ago", units::since(time))),
        "size": units::size(image.size),
        "created": image.created.map_or(0, |time| time.seconds),
        "createdatraw": image.created.map(|time| time.to_string()),
        "readonly": false,
        "history": null,
    }))
}

/// Runs the verb.
pub(super) fn rmi(args: &RmiArgs, session: &Session) -> CommandResult {
    let engine = engine(session)?;
    let mut names = args.images.clone();
    if args.all || args.prune {
        names = listed(&engine, args.all)?;
    }
    remove(&engine, &names, args.force)
}

/// Runs the verb.
pub(super) fn prune(args: &PruneArgs, session: &Session) -> CommandResult {
    let engine = engine(session)?;
    let mut names = listed(&engine, args.all)?;
    if !args.force {
        names.retain(|name| users(&engine, name).is_ok_and(|users| users.is_empty()));
    }
    remove(&engine, &names, args.force)
}

/// Names, and ids of those without one.
fn listed(engine: &Engine, named: bool) -> Result<Vec<String>, CommandError> {
    let all = image::list(engine)?.into_iter().filter(|one| named || one.name.is_none());
    Ok(all
        .filter_map(|one| match &one.name {
            Some(name) => Some(name.canonical()),
            None => one.image.map(|image| image.id.hex().to_owned()),
        })
        .collect())
}

fn remove(engine: &Engine, names: &[String], force: bool) -> CommandResult {
    let mut failures = Vec::new();
    for name in names {
        let removed = (|| -> Result<(), CommandError> {
            let users = if force { Vec::new() } else { users(engine, name)? };
            if !users.is_empty() {
                let message = format!("working container {} was made from it", users.join(", "));
                return Err(CommandError::tool(message)
                    .with_hint(format!("`conex builder rm {}` first, or rmi -f", users.join(" "))));
            }
            let nameless = image::find(engine, name)?.is_nameless();
            let removed = image::remove(engine, name, force)?;
            if !nameless {
                output::print_line(&format!("untagged: {}", removed.untagged))?;
            }
            removed.deleted.map_or(Ok(()), |id| output::print_line(id.hex()))
        })();
        failures.extend(removed.context(|| format!("rmi {name}")).err());
    }
    CommandError::first(failures).map_or(Ok(0), Err)
}

/// Working containers that would lose their image's last name.
fn users(engine: &Engine, name: &str) -> Result<Vec<String>, CommandError> {
    let found = image::find(engine, name)?;
    let images = image::list(engine)?;
    if images.iter().filter(|one| one.descriptor.digest == found.descriptor.digest).count() > 1 {
        return Ok(Vec::new());
    }
    let all = container::list(engine)?.into_iter();
    let used = all.filter(|(_, record)| record.image_id.as_ref() == Some(found.image.id()));
    Ok(used.map(|(working, _)| working.name).collect())
}
