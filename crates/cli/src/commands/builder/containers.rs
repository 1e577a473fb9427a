// SPDX-License-Identifier: Apache-2.0
//! `conex builder containers`

use conex_build::container::{self, Record, Working};
use serde_json::{Value, json};

use crate::error::{CommandError, CommandResult};
use crate::output;
use crate::session::Session;

/// Show the working containers
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Accepted for habit: all that there are, are shown
    #[arg(short, long, hide = true)]
    all: bool,
    /// Only those: id=, name=, ancestor=
    #[arg(short, long, value_name = "FILTER")]
    filter: Option<String>,
    /// A Go template for each: .ContainerID, .Builder, .ImageID, .ImageName, .ContainerName
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Without the header
    #[arg(short, long)]
    noheading: bool,
    /// Whole ids
    #[arg(long, alias = "no-trunc")]
    notruncate: bool,
    /// Print the ids only
    #[arg(short, long)]
    quiet: bool,
}

/// Runs the verb.
pub(super) fn run(args: &Args, session: &Session) -> CommandResult {
    // Only looks: needs neither locks nor other ids.
    let engine = session.engine()?;
    let mut all = container::list(&engine)?;
    if let Some(filter) = &args.filter {
        let (key, wanted) = filter.split_once('=').unwrap_or((filter, ""));
        if !["id", "name", "ancestor"].contains(&key) {
            return Err(CommandError::usage(format!("--filter {filter:?}: there are id=, name=, ancestor=")));
        }
        all.retain(|one| matches(one, key, wanted));
    }
    if args.quiet {
        let ids = all.iter().map(|(_, record)| format!("{}\n", record.id)).collect::<String>();
        return output::print(&ids).map(|()| 0);
    }
    if args.json {
        let rows: Vec<Value> = all.iter().map(row_json).collect();
        return output::print(&output::pretty(&json!(rows))).map(|()| 0);
    }
    if let Some(format) = &args.format {
        for (working, record) in &all {
            let row = json!({
                "ContainerID": record.id,
                "Builder": "   *",
                "ImageID": image_id(record),
                "ImageName": record.image_name(),
                "ContainerName": working.name,
            });
            output::print(&output::template::render_line(format, &row)?)?;
        }
        return Ok(0);
    }
    output::print(&table(&all, args)).map(|()| 0)
}

fn matches((working, record): &(Working, Record), key: &str, wanted: &str) -> bool {
    match key {
        "id" => record.id.starts_with(wanted),
        "name" => working.name.contains(wanted),
        _ => record.image.contains(wanted) || image_id(record).starts_with(wanted),
    }
}

fn image_id(record: &Record) -> &str {
    record.image_id.as_ref().map_or("", |id| id.hex())
}

fn row_json((working, record): &(Working, Record)) -> Value {
    json!({
        "id": record.id,
        "builder": true,
        "imageid": image_id(record),
        "imagename": record.image_name(),
        "containername": working.name,
    })
}

/// buildah's columns, which scripts cut by position.
fn table(all: &[(Working, Record)], args: &Args) -> String {
    let width = if args.notruncate { 64 } else { 12 };
    let line = |id: &str, builder: &str, image: &str, image_name: &str, name: &str| {
        let (id, image) = (id.get(..width).unwrap_or(id), image.get(..width).unwrap_or(image));
        format!("{id:width$}  {builder:8} {image:width$} {image_name:32} {name}\n")
    };
    let mut text = String::new();
    if !args.noheading && !all.is_empty() {
        text += &line("CONTAINER ID", "BUILDER", "IMAGE ID", "IMAGE NAME", "CONTAINER NAME");
    }
    for (working, record) in all {
        text += &line(&record.id, "   *", image_id(record), record.image_name(), &working.name);
    }
    text
}
