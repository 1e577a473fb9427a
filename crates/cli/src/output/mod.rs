// SPDX-License-Identifier: Apache-2.0
//! How results look: tables, templates, JSON, sizes and times, progress. Results go to stdout, progress to stderr.

pub(crate) mod progress;
pub(crate) mod table;
pub(crate) mod template;
pub(crate) mod units;

use std::io::Write as _;

use serde_json::Value;

use crate::error::{CommandError, CommandResult};

/// Writes to stdout. A reader that has gone away (`conex ps | head -1`) ends the program quietly, as everywhere.
pub(crate) fn print(text: &str) -> Result<(), CommandError> {
    let mut out = std::io::stdout().lock();
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// What has come of writing to stdout.
pub(crate) fn written(outcome: std::io::Result<()>) -> Result<(), CommandError> {
    match outcome {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => result.map_err(|error| CommandError::tool(format!("write to stdout: {error}"))),
    }
}

/// One line on stdout.
pub(crate) fn print_line(text: &str) -> Result<(), CommandError> {
    print(&format!("{text}\n"))
}

/// One line on stderr: warnings and things that are not the result.
pub(crate) fn note(text: &str) {
    // A closed stderr leaves nobody to tell.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A table, or what `--format` asks for instead, of the same rows.
///
/// `json` prints one array, `table …` a template with a header, anything else a template per row.
pub(crate) fn print_rows(rows: &[Value], columns: &[table::Column], format: Option<&str>) -> CommandResult {
    let text = match format {
        None => table::draw(rows, columns),
        Some("json") => pretty(&Value::Array(rows.to_vec())),
        Some(format) => match format.strip_prefix("table ") {
            Some(template) => table::from_template(rows, template)?,
            None => rows.iter().map(|row| template::render_line(format, row)).collect::<Result<_, _>>()?,
        },
    };
    print(&text)?;
    Ok(0)
}

/// Four spaces, as the peers write what people read, and a line's end.
pub(crate) fn pretty(value: &Value) -> String {
    use serde::Serialize as _;
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut writer = serde_json::Serializer::with_formatter(&mut text, formatter);
    value.serialize(&mut writer).expect("a JSON value has only string keys and writes to memory");
    text.push(b'\n');
    String::from_utf8(text).expect("serde_json writes UTF-8")
}
