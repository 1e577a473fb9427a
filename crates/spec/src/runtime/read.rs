// SPDX-License-Identifier: Apache-2.0
//! Reads a document and, if it is wrong, says everything that is wrong with it at once, with line and column.
//!
//! A correct document takes the short way: bytes straight into the structs. Only a wrong one is read again:
//!
//! ```text
//!  text ─► Value ─► T        wrong type at /process/cwd? note it, cut that node out, try again
//!                   └► rules  what the pruned document still breaks
//!  pointers ─► offsets ─► line:column, by a walk over the raw text
//! ```

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use super::Violation;
use super::validate::token;

/// After so many wrong types nobody reads on, and every one costs another pass.
const MOST: usize = 100;

/// One mistake and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Counted from 1; of the value, or of the nearest one around it where it is missing.
    pub line: usize,
    pub column: usize,
    pub pointer: String,
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if !self.pointer.is_empty() {
            write!(f, "{}: ", self.pointer)?;
        }
        f.write_str(&self.message)
    }
}

/// A document that passes `rules`, or every mistake in it, in the order of the text.
pub fn read<T: DeserializeOwned>(text: &[u8], rules: fn(&T) -> Vec<Violation>) -> Result<T, Vec<Mistake>> {
    let violations = match serde_json::from_slice::<T>(text) {
        Ok(document) => {
            let violations = rules(&document);
            if violations.is_empty() {
                return Ok(document);
            }
            violations
        }
        Err(_) => match read_slowly(text, rules)? {
            (Some(document), violations) if violations.is_empty() => return Ok(document),
            (_, violations) => violations,
        },
    };
    let mut mistakes: Vec<_> = violations.into_iter().map(|violation| locate(text, violation)).collect();
    mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
    Err(mistakes)
}

/// The document as far as it can be understood, and all that is wrong with it.
fn read_slowly<T: DeserializeOwned>(
    text: &[u8],
    rules: fn(&T) -> Vec<Violation>,
) -> Result<(Option<T>, Vec<Violation>), Vec<Mistake>> {
    let value = serde_json::from_slice(text).map_err(|error| vec![syntax_mistake(&error)])?;
    let mut pruned = Pruned { value, removed: BTreeMap::new() };
    let mut found: Vec<Violation> = Vec::new();
    loop {
        match serde_path_to_error::deserialize::<_, T>(&pruned.value) {
            Ok(document) => {
                let mut broken = rules(&document);
                for violation in &mut broken {
                    violation.pointer = pruned.original(&violation.pointer);
                }
                broken
                    .retain(|violation| !found.iter().any(|earlier| may_follow(&earlier.pointer, violation)));
                found.append(&mut broken);
                return Ok((Some(document), found));
            }
            Err(error) => {
                let here = pointer(error.path());
                let original = pruned.original(&here);
                // A node that misses what was cut out of it is no mistake of its own.
                if !found.iter().any(|earlier| is_within(&earlier.pointer, &original)) {
                    found.push(Violation { pointer: original, message: error.inner().to_string() });
                }
                if found.len() == MOST || here.is_empty() || !pruned.remove(&here) {
                    return Ok((None, found));
                }
            }
        }
    }
}

/// Whether a broken rule may only be the echo of a wrong type found earlier.
fn may_follow(earlier: &str, violation: &Violation) -> bool {
    // Many rules ask which namespaces there are.
    is_within(earlier, &violation.pointer)
        || is_within(&violation.pointer, earlier)
        || is_within(earlier, "/linux/namespaces")
}

/// Whether `pointer` is `ancestor` or lies below it.
fn is_within(pointer: &str, ancestor: &str) -> bool {
    pointer.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer += &format!("/{index}"),
            Segment::Map { key } => pointer += &format!("/{}", token(key)),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

/// A document with nodes cut out.
struct Pruned {
    value: Value,
    /// By array (its original pointer), the original indices that are gone.
    removed: BTreeMap<String, Vec<usize>>,
}

impl Pruned {
    /// False if there is no such node.
    fn remove(&mut self, pointer: &str) -> bool {
        let Some((parent, last)) = pointer.rsplit_once('/') else { return false };
        let original = self.original(pointer);
        match self.value.pointer_mut(parent) {
            Some(Value::Object(map)) => map.remove(&last.replace("~1", "/").replace("~0", "~")).is_some(),
            Some(Value::Array(list)) => {
                let Some(index) = last.parse().ok().filter(|index| *index < list.len()) else { return false };
                list.remove(index);
                if let Some((array, index)) = original.rsplit_once('/') {
                    self.removed.entry(array.into()).or_default().extend(index.parse::<usize>());
                }
                true
            }
            _ => false,
        }
    }

    /// Where a node of the pruned document was before.
    fn original(&self, pointer: &str) -> String {
        let mut original = String::new();
        for part in pointer.split('/').skip(1) {
            let shifted = self.removed.get(&original).and_then(|removed| {
                let index: usize = part.parse().ok()?;
                (0..).filter(|candidate| !removed.contains(candidate)).nth(index)
            });
            original.push('/');
            match shifted {
                Some(index) => original += &index.to_string(),
                None => original += part,
            }
        }
        original
    }
}

fn syntax_mistake(error: &serde_json::Error) -> Mistake {
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(&*message, |(message, _)| message);
    Mistake { line: error.line(), column: error.column(), pointer: String::new(), message: message.into() }
}

/// Where in the text of a well-formed document a violation is.
pub fn locate(text: &[u8], violation: Violation) -> Mistake {
    let mut scanner = Scanner { text, at: 0 };
    let offset = scanner.find(&violation.pointer);
    let before = &text[..offset.min(text.len())];
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    Mistake {
        line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
        column: before.len() - line_start + 1,
        pointer: violation.pointer,
        message: violation.message,
    }
}

/// Walks over text that is known to be well-formed JSON.
struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    /// The offset of the value at a pointer, or of the innermost one on the way that exists.
    fn find(&mut self, pointer: &str) -> usize {
        self.skip_space();
        let mut innermost = self.at;
        for part in pointer.split('/').skip(1) {
            let wanted = part.replace("~1", "/").replace("~0", "~");
            if !self.enter(&wanted) {
                break;
            }
            innermost = self.at;
        }
        innermost
    }

    /// From the start of an object or array to the start of one of its values.
    fn enter(&mut self, wanted: &str) -> bool {
        let object = match self.peek() {
            Some(b'{') => true,
            Some(b'[') => false,
            _ => return false,
        };
        self.at += 1;
        for index in 0.. {
            self.skip_space();
            if matches!(self.peek(), None | Some(b'}' | b']')) {
                return false;
            }
            let here = if object {
                let start = self.at;
                self.skip_value();
                let key: Option<String> = serde_json::from_slice(&self.text[start..self.at]).ok();
                self.skip_space();
                self.at += 1; // the colon
                self.skip_space();
                key.as_deref() == Some(wanted)
            } else {
                wanted.parse() == Ok(index)
            };
            if here {
                return true;
            }
            self.skip_value();
            self.skip_space();
            if self.peek() == Some(b',') {
                self.at += 1;
            }
        }
        false
    }

    fn skip_value(&mut self) {
        let mut depth = 0;
        loop {
            match self.peek() {
                None => return,
                Some(b'"') => self.skip_string(),
                Some(b'{' | b'[') => {
                    depth += 1;
                    self.at += 1;
                }
                Some(b'}' | b']') => {
                    depth -= 1;
                    self.at += 1;
                }
                Some(_) => self.at += 1,
            }
            if depth == 0
                && matches!(
                    self.peek(),
                    None | Some(b',' | b':' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n')
                )
            {
                return;
            }
        }
    }

    fn skip_string(&mut self) {
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'"' {
                return;
            }
        }
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{Config, validate};

    fn mistakes(text: &str) -> Vec<String> {
        match read::<Config>(text.as_bytes(), validate) {
            Ok(_) => Vec::new(),
            Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn all_mistakes_of_both_kinds_are_told_in_order_with_their_place() {
        let text = r#"{
  "ociVersion": "1.0.2",
  "root": { "path": "rootfs" },
  "process": {
    "args": [ "a", 7, "b", null ],
    "cwd": "srv",
    "user": { "uid": "root" }
  },
  "linux": {
    "resources": { "pids": { "limit": "many" } },
    "seccomp": { "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
      { "names": ["a"], "action": "SCMP_ACT_MAYBE" },
      { "names": [], "action": "SCMP_ACT_ERRNO" } ] }
  }
}"#;
        assert_eq!(
            mistakes(text),
            [
                "5:20: /process/args/1: invalid type: integer `7`, expected a string",
                "5:28: /process/args/3: invalid type: null, expected a string",
                "6:12: /process/cwd: must be an absolute path, got \"srv\"",
                "7:22: /process/user/uid: invalid type: string \"root\", expected u32",
                "10:39: /linux/resources/pids/limit: invalid type: string \"many\", expected i64",
                "12:35: /linux/seccomp/syscalls/0/action: unknown variant `SCMP_ACT_MAYBE`, expected one of \
                 `SCMP_ACT_KILL`, `SCMP_ACT_KILL_THREAD`, `SCMP_ACT_KILL_PROCESS`, `SCMP_ACT_TRAP`, \
                 `SCMP_ACT_ERRNO`, `SCMP_ACT_TRACE`, `SCMP_ACT_ALLOW`, `SCMP_ACT_LOG`, `SCMP_ACT_NOTIFY`",
                "13:18: /linux/seccomp/syscalls/1/names: must name at least one system call",
            ]
        );
    }

    #[test]
    fn a_syntax_error_is_the_only_mistake() {
        assert_eq!(mistakes("{\n  \"ociVersion\": \"1.0.0\",\n}"), ["3:1: trailing comma"]);
        assert_eq!(mistakes(""), ["1:0: EOF while parsing a value"]);
        assert_eq!(mistakes("7"), ["1:1: invalid type: integer `7`, expected struct Config"]);
    }

    #[test]
    fn null_lists_unknown_keys_and_repeated_keys_are_fine() {
        let text = r#"{"ociVersion":"1.0.0","ociVersion":"1.0.1","root":{"path":"r","x":1},"mounts":null,"new":{},
            "process":{"cwd":"/","args":["x"],"env":null,"user":null,"capabilities":null},
            "linux":{"namespaces":null,"resources":{"memory":null,"cpu":{"cpus":null}},"rootfsPropagation":""}}"#;
        assert_eq!(mistakes(text), Vec::<String>::new());
        let config: Config = read(text.as_bytes(), validate).unwrap();
        assert_eq!(config.oci_version, "1.0.1");
    }

    #[test]
    fn keys_with_escapes_are_found() {
        let text = "{\"a\\\"b\": [1, {\"c/d\": \"}\", \"e\": 2}]}";
        let mut scanner = Scanner { text: text.as_bytes(), at: 0 };
        assert_eq!(&text[scanner.find("/a\"b/1/e")..], "2}]}");
        let mut scanner = Scanner { text: text.as_bytes(), at: 0 };
        assert_eq!(&text[scanner.find("/a\"b/1/c~1d")..], "\"}\", \"e\": 2}]}");
    }
}
