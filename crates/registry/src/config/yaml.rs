// SPDX-License-Identifier: Apache-2.0
//! As much of YAML 1.2 as configuration files use: maps and lists by indentation, one-line `[…]`, plain and quoted
//! scalars, comments. Anchors, tags, block scalars, `{…}` other than empty, and several documents are refused with their
//! line, never guessed at.

use serde_json::{Map, Value};

use crate::{Error, ErrorKind, Result};

/// Deepest nesting.
const DEPTH: usize = 32;

/// A line that says something.
#[derive(Clone, Debug)]
struct Line {
    number: usize,
    indent: usize,
    text: String,
}

/// Reads a document. An empty one is null.
pub fn parse(text: &str) -> Result<Value> {
    let mut reader = Reader { lines: lines(text)?, next: 0 };
    let Some(first) = reader.lines.first() else { return Ok(Value::Null) };
    let indent = first.indent;
    let value = reader.block(indent, 0)?;
    match reader.peek() {
        None => Ok(value),
        Some(line) => Err(wrong(line.number, "is indented otherwise than the lines before it")),
    }
}

fn wrong(line: usize, what: &str) -> Error {
    Error::new(ErrorKind::Usage, format!("YAML, line {line}: {what}"))
}

fn lines(text: &str) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let body = line.trim_start_matches(' ');
        if body.starts_with('\t') {
            return Err(wrong(number, "is indented by a tab"));
        }
        let content = without_comment(body).trim_end();
        if content.is_empty() || (content == "---" && lines.is_empty()) {
            continue;
        }
        lines.push(Line { number, indent: line.len() - body.len(), text: content.to_owned() });
    }
    Ok(lines)
}

/// A comment begins with `#` at the line's begin or after a space, outside of quotes.
fn without_comment(text: &str) -> &str {
    let mut quote = None;
    let mut before = ' ';
    for (at, letter) in text.char_indices() {
        match quote {
            Some(open) if letter == open && before != '\\' => quote = None,
            Some(_) => {}
            None if (letter == '"' || letter == '\'') && matches!(before, ' ' | '[' | ',') => {
                quote = Some(letter)
            }
            None if letter == '#' && before == ' ' => return &text[..at],
            None => {}
        }
        before = letter;
    }
    text
}

struct Reader {
    lines: Vec<Line>,
    next: usize,
}

impl Reader {
    fn peek(&self) -> Option<&Line> {
        self.lines.get(self.next)
    }

    /// The map or list whose entries begin at `indent`.
    fn block(&mut self, indent: usize, depth: usize) -> Result<Value> {
        let Some(line) = self.peek() else { return Ok(Value::Null) };
        if depth > DEPTH {
            return Err(wrong(line.number, "is nested too deep"));
        }
        if is_item(&line.text) {
            return self.list(indent, depth);
        }
        match split_key(&line.text) {
            Some(_) => self.map(indent, depth),
            None => {
                let line = line.clone();
                self.next += 1;
                scalar(&line.text, line.number)
            }
        }
    }

    fn list(&mut self, indent: usize, depth: usize) -> Result<Value> {
        let mut items = Vec::new();
        while let Some(line) = self.peek().filter(|line| line.indent == indent && is_item(&line.text)) {
            let rest = line.text[1..].trim_start();
            let inner = indent + line.text.len() - rest.len();
            if rest.is_empty() {
                self.next += 1;
                items.push(self.below(indent + 1, depth)?);
                continue;
            }
            // `- key: value` is a map that begins within the line.
            let rest = rest.to_owned();
            self.lines[self.next].indent = inner;
            self.lines[self.next].text = rest;
            items.push(self.block(inner, depth + 1)?);
        }
        Ok(Value::Array(items))
    }

    fn map(&mut self, indent: usize, depth: usize) -> Result<Value> {
        let mut map = Map::new();
        while let Some(line) =
            self.peek().filter(|line| line.indent == indent && !is_item(&line.text)).cloned()
        {
            let (key, rest) = split_key(&line.text).ok_or_else(|| wrong(line.number, "has no \"key:\""))?;
            let key = match scalar(key, line.number)? {
                Value::String(key) => key,
                other => other.to_string(),
            };
            self.next += 1;
            let value = match rest {
                "" => self.below(indent, depth)?,
                rest => scalar(rest, line.number)?,
            };
            if map.insert(key, value).is_some() {
                return Err(wrong(line.number, "has a key that was there before"));
            }
        }
        Ok(Value::Object(map))
    }

    /// What belongs to a key or dash that stands alone: lines further in, or a list in line with its key.
    fn below(&mut self, indent: usize, depth: usize) -> Result<Value> {
        match self.peek() {
            Some(line) if line.indent > indent || (line.indent == indent && is_item(&line.text)) => {
                let indent = line.indent;
                self.block(indent, depth + 1)
            }
            _ => Ok(Value::Null),
        }
    }
}

fn is_item(text: &str) -> bool {
    text == "-" || text.starts_with("- ")
}

/// `key: rest`; the colon is followed by a space or ends the line, and is not within quotes.
fn split_key(text: &str) -> Option<(&str, &str)> {
    if let Some(open) = text.chars().next().filter(|first| matches!(first, '"' | '\'')) {
        let end = text[1..].find(open)? + 2;
        let rest = text[end..].trim_start().strip_prefix(':')?;
        return (rest.is_empty() || rest.starts_with(' ')).then(|| (&text[..end], rest.trim()));
    }
    if text.starts_with(['[', '{']) {
        return None;
    }
    let at = text.find(": ").or_else(|| text.ends_with(':').then(|| text.len() - 1))?;
    Some((text[..at].trim_end(), text[at + 1..].trim()))
}

fn scalar(text: &str, line: usize) -> Result<Value> {
    if let Some(inner) = text.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or_else(|| wrong(line, "has a [ that does not end on it"))?;
        let items = flow_items(inner).into_iter().map(|item| scalar(item, line));
        return Ok(Value::Array(items.collect::<Result<_>>()?));
    }
    if let Some(inner) = text.strip_prefix('"') {
        let quoted = inner.ends_with('"') && text.len() > 1;
        let parsed = quoted.then(|| serde_json::from_str(text).ok()).flatten();
        return parsed.ok_or_else(|| wrong(line, "has a \" that does not end on it"));
    }
    if let Some(inner) = text.strip_prefix('\'') {
        let inner = inner.strip_suffix('\'').ok_or_else(|| wrong(line, "has a ' that does not end on it"))?;
        return Ok(Value::String(inner.replace("''", "'")));
    }
    Ok(match text {
        "{}" => Value::Object(Map::new()),
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ if text.starts_with(['&', '*', '!', '|', '>', '{', '%', '@', '`']) => {
            return Err(wrong(line, "uses more of YAML than is understood here"));
        }
        _ => text.parse::<i64>().map_or_else(|_| Value::String(text.to_owned()), Value::from),
    })
}

/// The items between commas that are not within quotes.
fn flow_items(text: &str) -> Vec<&str> {
    let mut quote = None;
    let items = text.split(|letter: char| {
        match quote {
            Some(open) if letter == open => quote = None,
            None if letter == '"' || letter == '\'' => quote = Some(letter),
            _ => {}
        }
        quote.is_none() && letter == ','
    });
    items.map(str::trim).filter(|item| !item.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_shape_of_configuration_files_is_read() {
        let text = "---\n# skopeo-sync(1)\nregistry.example.com:\n    images:\n        busybox: []\n        redis:\n            - \"1.0\"\n            \
                    - '2.0' # the second\n            - sha256:0000\n    images-by-tag-regex:\n        nginx: ^1\\.13\\.[12]-alpine$\n    \
                    tls-verify: false\n    credentials:\n      username: john\n      password: \"this is: a # secret\"\n\"quay.io\":\n  images: {}\n";
        assert_eq!(
            parse(text).unwrap(),
            json!({
                "registry.example.com": {
                    "images": {"busybox": [], "redis": ["1.0", "2.0", "sha256:0000"]},
                    "images-by-tag-regex": {"nginx": "^1\\.13\\.[12]-alpine$"},
                    "tls-verify": false,
                    "credentials": {"username": "john", "password": "this is: a # secret"}
                },
                "quay.io": {"images": {}}
            })
        );
        assert_eq!(
            parse("a:\n- x: 1\n  y: [b, 'c,d']\n-\n  z: ~\n").unwrap(),
            json!({"a": [{"x": 1, "y": ["b", "c,d"]}, {"z": null}]})
        );
        assert_eq!(parse("# nothing\n").unwrap(), Value::Null);
        assert_eq!(
            parse("docker:\n  host:5000:\n    lookaside: file:///x\n").unwrap()["docker"]["host:5000"]["lookaside"],
            "file:///x"
        );
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        for (text, line) in [
            ("a: &x 1\nb: *x\n", "line 1"),
            ("a: |\n  text\n", "line 1"),
            ("a: {b: 1}\n", "line 1"),
            ("a:\n\tb: 1\n", "line 2"),
            ("a: 1\na: 2\n", "line 2"),
            ("a:\n    b: 1\n  c: 2\n", "line 3"),
            ("a: [1,\n", "line 1"),
            ("a: \"x\n", "line 1"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(line), "{text:?}: {error}");
        }
        assert!(parse(&(0..100).map(|n| format!("{}a:\n", " ".repeat(n))).collect::<String>()).is_err());
    }
}
