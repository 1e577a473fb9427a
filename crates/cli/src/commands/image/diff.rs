// SPDX-License-Identifier: Apache-2.0
//! `conex image diff`: what of an image is otherwise in another, in the letters of `docker diff`.
//!
//! ```text
//!  A etc/new                   C etc/passwd (size content time)                   D etc/old
//! ```

use std::os::unix::ffi::OsStrExt;

use conex_engine::images::Image;
use conex_engine::images::merged::{Change, Difference, Hash, Merged};
use serde_json::{Value, json};

use super::target::LookArgs;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::output;
use crate::session::Session;

/// Show what of an image's files and configuration is otherwise in another
///
/// A: only in the second, D: only in the first, C: in both, and what of it differs. A path that starts with config/ and has
/// no slash in front is one of the configuration's.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex image diff alpine:3.19 alpine:3.20
  conex image diff oci:images:old docker://r.example/app:new --json | jq -r '.files[].path'")]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Compare the configurations only, and fetch no layer
    #[arg(long)]
    config: bool,
    /// The image: docker://NAME, oci:DIRECTORY[:TAG], any place of `conex copy`; else a name in the store
    #[arg(value_name = "IMAGE")]
    image: String,
    /// The other
    #[arg(value_name = "OTHER")]
    other: String,
    #[command(flatten)]
    look: LookArgs,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    show(args, session).context(|| format!("diff {} {}", args.image, args.other))
}

fn show(args: &Args, session: &Session) -> Result<u8, CommandError> {
    let (one, left) = read(args, &args.image, session)?;
    let (other, right) = read(args, &args.other, session)?;
    let files = match (left, right) {
        (Some(left), Some(right)) => left.compare(&right),
        _ => Vec::new(),
    };
    let mut config = Vec::new();
    values_differ("config", &json!(one.config), &json!(other.config), &mut config);
    if args.json {
        let files: Vec<Value> = files.iter().map(object).collect();
        let config: Vec<Value> = config.iter().map(object).collect();
        output::print_line(&json!({ "files": files, "config": config }).to_string())?;
        return Ok(0);
    }
    for difference in config.iter().chain(&files) {
        output::print_line(&line(difference))?;
    }
    Ok(0)
}

fn read(args: &Args, word: &str, session: &Session) -> Result<(Image, Option<Merged>), CommandError> {
    if args.config {
        let (image, _) = args.look.open(word, session, super::edit_args::Caller::Conex)?;
        return Ok((image, None));
    }
    let (image, source) = args.look.open_layers(word, session)?;
    let merged = Merged::read(&image, source.as_ref(), Hash::Files).context(|| word.to_owned())?;
    Ok((image, Some(merged)))
}

/// All leaves of two JSON documents that differ.
fn values_differ(at: &str, one: &Value, other: &Value, found: &mut Vec<Difference>) {
    let mut add = |path: String, change| found.push(Difference { path: path.into(), change });
    match (one, other) {
        _ if one == other => {}
        (Value::Object(one), Value::Object(other)) => {
            for (key, value) in one {
                match other.get(key) {
                    Some(there) => values_differ(&format!("{at}/{key}"), value, there, found),
                    None => {
                        found.push(Difference { path: format!("{at}/{key}").into(), change: Change::Removed })
                    }
                }
            }
            for key in other.keys().filter(|key| !one.contains_key(*key)) {
                found.push(Difference { path: format!("{at}/{key}").into(), change: Change::Added });
            }
        }
        _ => add(at.to_owned(), Change::Changed(vec!["value"])),
    }
}

fn letter(change: &Change) -> (&'static str, &[&'static str]) {
    match change {
        Change::Added => ("A", &[]),
        Change::Removed => ("D", &[]),
        Change::Changed(what) => ("C", what),
    }
}

fn line(difference: &Difference) -> String {
    let (letter, what) = letter(&difference.change);
    // A name with a newline in it must not pass for two.
    let path: String = difference.path.as_os_str().as_bytes().escape_ascii().to_string();
    let what = if what.is_empty() { String::new() } else { format!(" ({})", what.join(" ")) };
    format!("{letter} {}{what}", if path.is_empty() { "/" } else { &path })
}

fn object(difference: &Difference) -> Value {
    let (letter, what) = letter(&difference.change);
    json!({ "path": difference.path.to_string_lossy(), "change": letter, "what": what })
}
