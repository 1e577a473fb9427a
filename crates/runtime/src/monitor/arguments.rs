// SPDX-License-Identifier: Apache-2.0
//! The verb's words. It is called by programs only, so every option is a long one.

use std::ffi::OsString;

use lexopt::{Arg, Parser, ValueExt};

use crate::{Error, ErrorKind, Result};

/// What `conex-runtime monitor` was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    pub id: String,
    pub bundle: String,
    /// The runtime's binary.
    pub runtime: String,
    /// Its `--root`.
    pub runtime_root: Option<String>,
    pub log: String,
    pub exit_file: String,
    pub pid_file: String,
    pub attach_socket: Option<String>,
    /// The container has a terminal.
    pub terminal: bool,
    /// Those who attach may write; otherwise standard input is empty.
    pub stdin: bool,
    pub ready_fd: Option<i32>,
    /// Global arguments for the runtime, from after `--`.
    pub runtime_arguments: Vec<String>,
}

/// Parses the verb's own words, without the verb.
pub fn parse(words: Vec<OsString>) -> Result<Arguments> {
    read(words).map_err(|error| Error::new(ErrorKind::Usage, format!("monitor: {error}")))
}

fn read(words: Vec<OsString>) -> std::result::Result<Arguments, lexopt::Error> {
    let mut own = words;
    let after = own.iter().position(|word| word == "--").map_or(Vec::new(), |at| own.split_off(at));
    let mut arguments = Arguments::default();
    for word in after.into_iter().skip(1) {
        arguments.runtime_arguments.push(word.string()?);
    }
    let mut parser = Parser::from_args(own);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("id") => arguments.id = parser.value()?.string()?,
            Arg::Long("bundle") => arguments.bundle = parser.value()?.string()?,
            Arg::Long("runtime") => arguments.runtime = parser.value()?.string()?,
            Arg::Long("runtime-root") => arguments.runtime_root = Some(parser.value()?.string()?),
            Arg::Long("log") => arguments.log = parser.value()?.string()?,
            Arg::Long("exit-file") => arguments.exit_file = parser.value()?.string()?,
            Arg::Long("pid-file") => arguments.pid_file = parser.value()?.string()?,
            Arg::Long("attach-socket") => arguments.attach_socket = Some(parser.value()?.string()?),
            Arg::Long("terminal") => arguments.terminal = true,
            Arg::Long("stdin") => arguments.stdin = true,
            Arg::Long("ready-fd") => arguments.ready_fd = Some(parser.value()?.parse()?),
            other => return Err(other.unexpected()),
        }
    }
    let required = [
        ("--id", &arguments.id),
        ("--bundle", &arguments.bundle),
        ("--runtime", &arguments.runtime),
        ("--log", &arguments.log),
        ("--exit-file", &arguments.exit_file),
        ("--pid-file", &arguments.pid_file),
    ];
    match required.iter().find(|(_, value)| value.is_empty()) {
        Some((name, _)) => Err(format!("{name} is missing").into()),
        None => Ok(arguments),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn words_after_the_dashes_are_the_runtimes() {
        let line = "--id a --bundle /b --runtime /r --log l --exit-file=e --pid-file p --stdin --ready-fd 3 -- --debug --log x";
        let arguments = parse(words(line)).unwrap();
        assert_eq!(arguments.runtime_arguments, ["--debug", "--log", "x"]);
        assert_eq!((arguments.exit_file.as_str(), arguments.ready_fd), ("e", Some(3)));
        assert!(arguments.stdin && !arguments.terminal);
    }

    #[test]
    fn what_is_missing_or_unknown_is_named() {
        let error = parse(words("--id a --bundle /b --runtime /r --log l --exit-file e")).unwrap_err();
        assert_eq!(error.to_string(), "monitor: --pid-file is missing");
        let error = parse(words("--id a --colour")).unwrap_err();
        assert_eq!(error.to_string(), "monitor: invalid option '--colour'");
    }
}
