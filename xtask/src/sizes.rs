// SPDX-License-Identifier: Apache-2.0
//! The longest files and functions: something to look at, not a gate.

use std::fs;

use anyhow::Result;

use crate::shell;

pub fn main() -> Result<()> {
    let listed = shell::capture(shell::program("git").args(["ls-files", "*.rs"]))?;
    let mut files = Vec::new();
    let mut functions = Vec::new();
    let is_test =
        |name: &&str| name.contains("tests/") || name.ends_with("tests.rs") || name.ends_with("testing.rs");
    for name in listed.lines().filter(|name| !is_test(name)) {
        let Ok(text) = fs::read_to_string(shell::root().join(name)) else { continue };
        let code = code_lines(&text);
        files.push((code.len(), name.to_owned()));
        functions.extend(function_lengths(&code).map(|(length, line)| (length, format!("{name}: {line}"))));
    }
    print_longest("files (lines without tests)", files);
    print_longest("functions", functions);
    Ok(())
}

fn print_longest(what: &str, mut found: Vec<(usize, String)>) {
    found.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    println!("longest {what}:");
    for (length, name) in found.iter().take(10) {
        println!("  {length:5}  {name}");
    }
}

/// Everything in front of the test module, which by custom stands last.
fn code_lines(text: &str) -> Vec<&str> {
    text.lines().take_while(|line| *line != "#[cfg(test)]").collect()
}

/// rustfmt closes a function at the indentation it was opened with.
fn function_lengths<'a>(lines: &'a [&'a str]) -> impl Iterator<Item = (usize, String)> + 'a {
    let opens = |line: &str| {
        let before = |word: &&str| word.starts_with("pub") || ["const", "unsafe"].contains(word);
        line.split_whitespace().find(|word| !before(word)) == Some("fn")
    };
    lines.iter().enumerate().filter(move |(_, line)| opens(line)).filter_map(|(start, line)| {
        let indent = line.len() - line.trim_start().len();
        let close = format!("{}}}", " ".repeat(indent));
        let length = lines[start..].iter().position(|line| *line == close)?;
        let name = line.split("fn ").nth(1)?.split(['(', '<']).next()?;
        Some((length + 1, name.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_functions_and_leaves_tests_out() {
        let text = "fn a() {\n    b();\n}\n\npub fn c(\n    x: u8,\n) {\n}\n#[cfg(test)]\nmod tests {}\n";
        let code = code_lines(text);
        let found: Vec<_> = function_lengths(&code).collect();
        assert_eq!(code.len(), 8);
        assert_eq!(found, [(3, "a".to_owned()), (4, "c".to_owned())]);
    }
}
