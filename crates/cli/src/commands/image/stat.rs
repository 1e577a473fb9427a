// SPDX-License-Identifier: Apache-2.0
//! `conex image stat`, `umoci stat`: an image's history beside its layers, in umoci's columns and JSON.

use conex_engine::images::mutate::{Step, steps};
use serde_json::{Map, Value, json};

use super::edit_args::Caller;
use super::target::LookArgs;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::output::{self, units};
use crate::session::Session;

/// Show how an image came about, step by step
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex image stat --image oci:images:app
  conex image stat --image oci:images:app --json | jq '.history[].layer.size'")]
pub(crate) struct Args {
    /// The image: docker://NAME, oci:DIRECTORY[:TAG], any place of `conex copy`; else a name in the store (umoci:
    /// DIRECTORY[:TAG])
    #[arg(long, value_name = "IMAGE")]
    image: String,
    #[command(flatten)]
    look: LookArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session, caller: Caller) -> CommandResult {
    show(args, session, caller).context(|| format!("stat {}", args.image))
}

fn show(args: &Args, session: &Session, caller: Caller) -> Result<u8, CommandError> {
    let (image, _) = args.look.open(&args.image, session, caller)?;
    let steps = steps(&image)?;
    if args.json {
        let history: Vec<Value> = steps.iter().map(object).collect();
        let history = if history.is_empty() { Value::Null } else { Value::Array(history) };
        output::print_line(&json!({ "history": history }).to_string())?;
    } else {
        output::print(&table(&steps.iter().map(row).collect::<Vec<_>>()))?;
    }
    Ok(0)
}

/// umoci's keys, in its order.
fn object(step: &Step<'_>) -> Value {
    let history = step.history;
    let (layer, diff_id) = match step.layer {
        Some((layer, diff_id)) => (json!(layer), diff_id.to_string()),
        None => (Value::Null, String::new()),
    };
    let mut object = Map::from_iter([("layer".to_owned(), layer), ("diff_id".to_owned(), diff_id.into())]);
    let texts = [
        ("created", &history.created),
        ("created_by", &history.created_by),
        ("author", &history.author),
        ("comment", &history.comment),
    ];
    for (key, text) in texts {
        object.extend(text.as_ref().map(|text| (key.to_owned(), json!(text))));
    }
    if history.empty_layer {
        object.insert("empty_layer".to_owned(), Value::Bool(true));
    }
    object.into()
}

const TITLES: [&str; 5] = ["LAYER", "CREATED", "CREATED BY", "SIZE", "COMMENT"];

fn row(step: &Step<'_>) -> [String; 5] {
    let none = || "<none>".to_owned();
    let cell = |text: &Option<String>| text.clone().unwrap_or_default().replace(['\t', '\n'], " ");
    [
        step.layer.map_or_else(none, |(layer, _)| layer.digest.to_string()),
        cell(&step.history.created),
        cell(&step.history.created_by),
        step.layer.map_or_else(none, |(layer, _)| units::size(layer.size)),
        cell(&step.history.comment),
    ]
}

/// One blank between the columns, which are at least four wide.
fn table(rows: &[[String; 5]]) -> String {
    let titles = TITLES.map(str::to_owned);
    let lines: Vec<&[String; 5]> = std::iter::once(&titles).chain(rows).collect();
    let mut text = String::new();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count() + 1).max().unwrap_or(0);
    for line in &lines {
        for (column, cell) in line.iter().enumerate().take(4) {
            text.push_str(&format!("{cell:<width$}", width = width(column).max(4)));
        }
        text.push_str(&line[4]);
        text.push('\n');
    }
    text
}
