// SPDX-License-Identifier: Apache-2.0
//! Columns of text in docker's look: upper-case titles, at least ten wide, three blanks between.

use serde_json::Value;

use super::template;
use crate::error::CommandError;

/// A title and the field of a row that it shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// `IMAGE ID`
    pub title: &'static str,
    /// `ID`
    pub field: &'static str,
}

/// Draws the rows, which are objects.
pub(crate) fn draw(rows: &[Value], columns: &[Column]) -> String {
    let titles = columns.iter().map(|column| column.title.to_owned()).collect();
    let cells =
        rows.iter().map(|row| columns.iter().map(|column| template::text(&row[column.field])).collect());
    align(std::iter::once(titles).chain(cells).collect())
}

/// `table {{.ID}}\t{{.Names}}`: the fields' names are the titles.
pub(crate) fn from_template(rows: &[Value], template: &str) -> Result<String, CommandError> {
    let template = template.replace("\\t", "\t");
    let titles = template.split('\t').map(title).collect();
    let mut lines: Vec<Vec<String>> = vec![titles];
    for row in rows {
        let line = template::render_line(&template, row)?;
        lines.push(line.trim_end_matches('\n').split('\t').map(str::to_owned).collect());
    }
    Ok(align(lines))
}

/// `{{.CreatedAt}}` → `CREATED AT`.
fn title(cell: &str) -> String {
    let field = cell.trim().trim_matches(|c| matches!(c, '{' | '}' | ' ' | '.'));
    let mut title = String::new();
    let mut lower = false;
    for letter in field.chars() {
        if letter.is_uppercase() && lower {
            title.push(' ');
        }
        lower = letter.is_lowercase();
        title.extend(letter.to_uppercase());
    }
    title
}

fn align(lines: Vec<Vec<String>>) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count() + 3).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0).max(10)).collect();
    let mut text = String::new();
    for line in lines {
        let last = line.len().saturating_sub(1);
        for (at, cell) in line.iter().enumerate() {
            match at == last {
                true => text.push_str(cell),
                false => text.push_str(&format!("{cell:<width$}", width = widths[at])),
            }
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_line_up_and_lines_end_without_blanks() {
        let rows = [json!({"ID": "0123456789ab", "Names": "web"}), json!({"ID": "b", "Names": ""})];
        let columns =
            [Column { title: "CONTAINER ID", field: "ID" }, Column { title: "NAMES", field: "Names" }];
        assert_eq!(draw(&rows, &columns), "CONTAINER ID   NAMES\n0123456789ab   web\nb\n");
    }

    #[test]
    fn a_table_template_titles_its_columns() {
        let rows = [json!({"ID": "1", "CreatedAt": "now"})];
        let text = from_template(&rows, "{{.ID}}\\t{{.CreatedAt}}").unwrap();
        assert_eq!(text, "ID        CREATED AT\n1         now\n");
    }
}
