// SPDX-License-Identifier: Apache-2.0
//! `conex images`

use conex_engine::image::{self, Listed};
use serde_json::{Value, json};

use crate::error::CommandResult;
use crate::output::table::Column;
use crate::output::{self, units};
use crate::session::Session;

/// Show the images in the store
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex images                               a table
  conex images alpine                        those of one repository
  conex images -q --no-trunc                 whole ids, for scripts
  conex images --format '{{.Repository}}:{{.Tag}} {{.Size}}'
  conex images --format json")]
pub(crate) struct Args {
    /// Only names that contain this
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Print the ids only
    #[arg(short, long)]
    quiet: bool,
    /// Print whole ids
    #[arg(long)]
    no_trunc: bool,
    /// Show the digests of the manifests
    #[arg(long)]
    digests: bool,
    /// Accepted for habit: nothing is hidden
    #[arg(short, long, hide = true)]
    all: bool,
    /// json, a Go template, or table TEMPLATE
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

const COLUMNS: [Column; 5] = [
    Column { title: "REPOSITORY", field: "Repository" },
    Column { title: "TAG", field: "Tag" },
    Column { title: "IMAGE ID", field: "ID" },
    Column { title: "CREATED", field: "CreatedSince" },
    Column { title: "SIZE", field: "Size" },
];

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    let engine = session.engine()?;
    let mut listed = image::list(&engine)?;
    let fits = |one: &Listed, wanted: &String| {
        one.name.as_ref().is_some_and(|name| name.canonical().contains(wanted.as_str()))
    };
    listed.retain(|one| args.name.as_ref().is_none_or(|wanted| fits(one, wanted)));
    let created = |one: &Listed| one.image.as_ref()?.created;
    listed.sort_by_key(|one| created(one).map_or(0, |time| -time.seconds));
    let rows: Vec<Value> = listed.iter().map(|one| row(one, args, session)).collect();
    if args.quiet {
        let mut ids: Vec<String> = rows.iter().map(|row| output::template::text(&row["ID"])).collect();
        ids.dedup();
        return output::print(&ids.iter().map(|id| format!("{id}\n")).collect::<String>()).map(|()| 0);
    }
    let mut columns = COLUMNS.to_vec();
    if args.digests {
        columns.insert(2, Column { title: "DIGEST", field: "Digest" });
    }
    output::print_rows(&rows, &columns, args.format.as_deref())
}

fn row(one: &Listed, args: &Args, session: &Session) -> Value {
    let image = one.image.as_ref();
    let created = image.and_then(|image| image.created);
    let id = image.map_or("<none>", |image| match args.no_trunc {
        true => image.id.as_str(),
        false => image.id.short(),
    });
    json!({
        "Repository": one.name.as_ref().map_or("<none>".to_owned(), |name| session.repository(name)),
        "Tag": one.name.as_ref().and_then(|name| name.tag_or_latest()).unwrap_or("<none>"),
        "Digest": one.descriptor.digest,
        "ID": id,
        "CreatedSince": created.map_or("N/A".to_owned(), |time| format!("{} ago", units::since(time))),
        "CreatedAt": created.map(|time| time.to_string()),
        "Size": image.map_or("N/A".to_owned(), |image| units::size(image.size)),
    })
}
