// SPDX-License-Identifier: Apache-2.0
//! Values as JSON text, written once; what is to be read by people gets its lines afterwards, so that each type is
//! compiled for one writer only.

use serde::Serialize;

/// In one line, without spaces. It fails for keys that are not strings, and where the value's own `Serialize` says so.
pub fn write<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string(value)
}

/// A line for each value, each level further in by `unit`.
pub fn write_indented<T: Serialize + ?Sized>(value: &T, unit: &str) -> Result<String, serde_json::Error> {
    write(value).map(|text| indent(&text, unit))
}

fn indent(compact: &str, unit: &str) -> String {
    let mut text = String::with_capacity(2 * compact.len());
    let (mut depth, mut inside_string, mut escaped, mut before) = (0, false, false, ' ');
    for character in compact.chars() {
        let (opened, closes) = (matches!(before, '[' | '{'), matches!(character, ']' | '}'));
        let breaks = !inside_string && (opened != closes || before == ',');
        if !inside_string && closes {
            depth -= 1;
        }
        if breaks {
            text.push('\n');
            (0..depth).for_each(|_| text.push_str(unit));
        }
        text.push(character);
        match character {
            ':' if !inside_string => text.push(' '),
            '[' | '{' if !inside_string => depth += 1,
            '"' if !escaped => inside_string = !inside_string,
            _ => {}
        }
        escaped = character == '\\' && inside_string && !escaped;
        before = if inside_string { '"' } else { character };
    }
    text
}
