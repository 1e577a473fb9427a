// SPDX-License-Identifier: Apache-2.0
//! Reads a document and, if it is wrong, says everything that is wrong with it at once, with line and column.
//!
//! ```text
//!  text ─► json::Document ─► T        wrong type at /process/cwd? note it, cut that value out, try again
//!                            └► rules  what the rest of the document still breaks
//!  values, pointers ─► offsets ─► line:column
//! ```

use std::fmt;

use serde::de::DeserializeOwned;

use super::Violation;
use crate::json::{Document, Misfit, Syntax};

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
    let mut document = Document::parse(text).map_err(|Syntax { offset, message }| {
        vec![mistake(text, offset, Violation { pointer: String::new(), message: message.into() })]
    })?;
    let mut found: Vec<(usize, Violation)> = Vec::new();
    loop {
        match T::deserialize(document.root()) {
            Ok(read) => {
                let broken = broken(&document, rules(&read), &found);
                found.extend(broken);
                if found.is_empty() {
                    return Ok(read);
                }
                break;
            }
            Err(error) => {
                let Misfit { at, message } = error.into_inner();
                let value = at.unwrap_or_default();
                let pointer = document.pointer(value);
                // A value that misses what was cut out of it is no mistake of its own.
                if !found.iter().any(|(_, earlier)| is_within(&earlier.pointer, &pointer)) {
                    found.push((document.offset(value), Violation { pointer, message }));
                }
                if found.len() == MOST || !document.cut(value) {
                    break;
                }
            }
        }
    }
    found.sort_by_key(|(offset, _)| *offset);
    Err(found.into_iter().map(|(offset, violation)| mistake(text, offset, violation)).collect())
}

/// The rules that what is left of a document breaks, if wrong types did not make it so.
fn broken(
    document: &Document<'_>,
    violations: Vec<Violation>,
    wrong: &[(usize, Violation)],
) -> Vec<(usize, Violation)> {
    let place = |violation: Violation| {
        let (value, pointer) = document.find(&violation.pointer);
        (document.offset(value), Violation { pointer, ..violation })
    };
    let is_own = |(_, violation): &(usize, Violation)| {
        !wrong.iter().any(|(_, earlier)| may_follow(&earlier.pointer, violation))
    };
    violations.into_iter().map(place).filter(is_own).collect()
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

/// Where in the text of a well-formed document a violation is.
pub fn locate(text: &[u8], violation: Violation) -> Mistake {
    let offset = Document::parse(text).map_or(0, |document| {
        let (value, _) = document.find(&violation.pointer);
        document.offset(value)
    });
    mistake(text, offset, violation)
}

fn mistake(text: &[u8], offset: usize, Violation { pointer, message }: Violation) -> Mistake {
    let before = &text[..offset];
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    Mistake {
        line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
        column: offset - line_start + 1,
        pointer,
        message,
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
        assert_eq!(mistakes(""), ["1:1: EOF while parsing a value"]);
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
}
