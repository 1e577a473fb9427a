// SPDX-License-Identifier: Apache-2.0
//! Small words of buildah's: times, lists of programs' words, its version.

use conex_spec::Timestamp;
use serde_json::json;

use crate::error::CommandResult;
use crate::output;

/// Print the version
#[derive(clap::Args, Debug)]
pub(crate) struct VersionArgs {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(super) fn version(args: &VersionArgs) -> CommandResult {
    let version = env!("CARGO_PKG_VERSION");
    let text = match args.json {
        true => output::pretty(&json!({"version": version, "imageSpec": "1.1.1", "runtimeSpec": "1.3.0"})),
        false => format!("Version:         {version}\nImage Spec:      1.1.1\nRuntime Spec:    1.3.0\n"),
    };
    output::print(&text).map(|()| 0)
}

/// Seconds since 1970.
pub(super) fn seconds(text: &str) -> Result<i64, String> {
    text.parse::<u32>().map(i64::from).map_err(|_| format!("{text:?} is not a number of seconds since 1970"))
}

/// The point in time.
pub(super) fn timestamp(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanoseconds: 0 }
}

/// What a shell would make words of: quotes and backslashes, nothing else.
pub(super) fn split(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let (mut quote, mut characters) = (None, text.chars());
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => {
                let next = characters.next().ok_or("ends in a backslash")?;
                word.get_or_insert_default().push(next);
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(format!("{text:?}: a quote is not closed"));
    }
    words.extend(word);
    Ok(words)
}

/// A JSON array of words as it is; anything else for the shell, or split where there is none wanted.
pub(super) fn list_or(
    text: &str,
    otherwise: impl FnOnce(&str) -> Result<Vec<String>, String>,
) -> Result<Vec<String>, String> {
    match serde_json::from_str::<Vec<String>>(text) {
        Ok(words) => Ok(words),
        Err(_) => otherwise(text),
    }
}

/// `/bin/sh -c …`
pub(super) fn for_shell(text: &str) -> Result<Vec<String>, String> {
    let words = ["/bin/sh", "-c", text].map(str::to_owned).to_vec();
    Ok(if text.is_empty() { Vec::new() } else { words })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_does() {
        assert_eq!(split(r#"sh -c "echo 'a b'" x\ y ''"#).unwrap(), ["sh", "-c", "echo 'a b'", "x y", ""]);
        assert_eq!(split("").unwrap(), Vec::<String>::new());
        assert!(split("'open").is_err() && split("x\\").is_err());
    }

    #[test]
    fn arrays_are_words_already() {
        assert_eq!(list_or(r#"["a", "b c"]"#, for_shell).unwrap(), ["a", "b c"]);
        assert_eq!(list_or("a b", for_shell).unwrap(), ["/bin/sh", "-c", "a b"]);
        assert_eq!(list_or("a b", split).unwrap(), ["a", "b"]);
    }
}
