// SPDX-License-Identifier: Apache-2.0
//! runtime-spec bundle.md: reads a bundle's `config.json` and reports everything that is wrong with it at once.
//!
//! A correct file takes the short way: bytes straight into the structs. Only a wrong one is read again, slowly, to
//! name file, line, column and JSON pointer of each mistake: `config.json:112:9: /process/cwd: must be an absolute
//! path, got "srv"`.

use std::io::Read;
use std::path::Path;

use conex_spec::runtime::{Config, Mount, Process, Resources, Violation, locate, read, validate};

use crate::plan::PlanError;
use crate::{Error, ErrorKind, Result, Wrap};

/// More than any configuration needs; less than would hurt.
const LARGEST: u64 = 16 << 20;

/// Reads and validates `<bundle>/<file>`, as a rule `config.json`; an absolute `file` may be elsewhere.
pub fn load(bundle: &str, file: &Path) -> Result<Config> {
    let path = Path::new(bundle).join(file);
    read_file(&path.to_string_lossy(), &file.to_string_lossy(), validate)
}

/// Reads and validates the `--process` file of `exec`.
pub fn load_process(path: &str) -> Result<Process> {
    read_file(path, path, Process::validate)
}

/// Reads and validates the file of `mounts`: an array such as config.json has it.
pub(crate) fn load_mounts(path: &str, rules: fn(&Vec<Mount>) -> Vec<Violation>) -> Result<Vec<Mount>> {
    read_file(path, path, rules)
}

/// Reads and validates the `--resources` of `update`; `-` is standard input.
pub fn load_resources(path: &str) -> Result<Resources> {
    match path {
        "-" => parse(&all_of(std::io::stdin(), "standard input")?, "standard input", Resources::validate),
        _ => read_file(path, path, Resources::validate),
    }
}

/// As [`load`] tells of mistakes: where in the same file each thing stands that cannot be had here.
pub(crate) fn not_to_be_had(error: PlanError, bundle: &str, file: &Path) -> Error {
    let Ok(text) = contents(&Path::new(bundle).join(file).to_string_lossy()) else { return error.into() };
    let line = |violation: Violation| match violation.pointer.is_empty() {
        true => violation.message,
        false => format!("{}:{}", file.display(), locate(&text, violation)),
    };
    let lines: Vec<_> = error.0.into_iter().map(line).collect();
    Error::new(ErrorKind::Config, lines.join("\n"))
}

/// Every mistake is a line of the message, each beginning with `name`.
fn read_file<T>(path: &str, name: &str, rules: fn(&T) -> Vec<Violation>) -> Result<T>
where
    T: serde::de::DeserializeOwned,
{
    parse(&contents(path)?, name, rules)
}

fn parse<T>(text: &[u8], name: &str, rules: fn(&T) -> Vec<Violation>) -> Result<T>
where
    T: serde::de::DeserializeOwned,
{
    read(text, rules).map_err(|mistakes| {
        let lines: Vec<_> = mistakes.iter().map(|mistake| format!("{name}:{mistake}")).collect();
        Error::new(ErrorKind::Config, lines.join("\n"))
    })
}

/// The text of a file that should be JSON.
pub(crate) fn contents(path: &str) -> Result<Vec<u8>> {
    let file = conex_sys::file::open(path.as_ref(), conex_sys::file::Access::Read).map_err(|error| {
        match error.kind() {
            // Callers know this sentence.
            std::io::ErrorKind::NotFound => {
                Error::new(ErrorKind::NotFound, format!("JSON specification file {path} not found"))
            }
            _ => Error::from(error).wrap(format_args!("open {path}")),
        }
    })?;
    all_of(file, path)
}

fn all_of(source: impl Read, path: &str) -> Result<Vec<u8>> {
    // The standard library would begin with 32 bytes.
    let mut text = Vec::with_capacity(8192);
    source.take(LARGEST + 1).read_to_end(&mut text).wrap(|| format!("read {path}"))?;
    if text.len() as u64 > LARGEST {
        return Err(Error::new(ErrorKind::Config, format!("{path}: is larger than {LARGEST} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a directory of the test's own")]

    use super::*;

    #[test]
    fn every_line_of_the_error_begins_with_the_file() {
        let bundle = tempfile::tempdir().unwrap();
        std::fs::write(bundle.path().join("config.json"), "{\n\"process\": {\"cwd\": 1, \"args\": []}}")
            .unwrap();
        let error = load(bundle.path().to_str().unwrap(), "config.json".as_ref()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(
            error.to_string(),
            "config.json:1:1: /ociVersion: must be a version such as \"1.3.0\", got \"\"\n\
             config.json:1:1: /root: root must be specified: {\"path\": \"rootfs\"}\n\
             config.json:2:20: /process/cwd: invalid type: integer `1`, expected a string\n\
             config.json:2:31: /process/args: args must not be empty: the first is the program"
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let bundle = tempfile::tempdir().unwrap();
        let error = load(bundle.path().to_str().unwrap(), "config.json".as_ref()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().ends_with("/config.json not found"), "{error}");
    }
}
