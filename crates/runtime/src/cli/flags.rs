// SPDX-License-Identifier: Apache-2.0
//! Flags that more than one verb has, and what their values mean.

use std::path::PathBuf;

use super::grammar::{Flag, Parsed, usage};
use super::pattern::Pattern;
use super::{Format, Runtime};
use conex_spec::json;

use crate::create::{Begin, Options};
use crate::trace::Trace;
use crate::{Error, ErrorKind, Result, Wrap, container};

/// A flag with a value.
pub(super) const fn option(long: &'static str, value: &'static str, help: &'static str) -> Flag {
    Flag { long, short: None, value: Some(value), help }
}

/// A flag without.
pub(super) const fn switch(long: &'static str, help: &'static str) -> Flag {
    Flag { long, short: None, value: None, help }
}

pub(super) const BUNDLE: Flag =
    option("bundle", "DIR", "the bundle (default: the current directory)").or('b');
pub(super) const CONSOLE_SOCKET: Flag =
    option("console-socket", "PATH", "a unix socket that gets the terminal's master");
pub(super) const PIDFD_SOCKET: Flag =
    option("pidfd-socket", "PATH", "a unix socket that gets the process's pidfd");
pub(super) const PID_FILE: Flag = option("pid-file", "FILE", "write the process id there");
pub(super) const PRESERVE_FDS: Flag =
    option("preserve-fds", "N", "pass N more descriptors than the standard three");
pub(super) const DETACH: Flag = switch("detach", "do not wait for the process").or('d');
pub(super) const FORMAT: Flag = option("format", "FORMAT", "table (default) or json").or('f');
pub(super) const NO_PIVOT: Flag = switch("no-pivot", "do not use pivot_root (for a root filesystem in RAM)");
pub(super) const NO_NEW_KEYRING: Flag = switch("no-new-keyring", "keep the caller's session keyring");
pub(super) const CONFIG: Flag =
    option("config", "FILE", "read FILE of the bundle (default: config.json)").or('f');
pub(super) const TRACE: Flag =
    option("trace", "FILE", "write there what each step took, for chrome://tracing or Perfetto");
pub(super) const REGEX: Flag =
    switch("regex", "ID is a regular expression: every container that it is found in").or('r');

/// The flags of `create` and `run`. Paths are made absolute: the bundle becomes the working directory.
pub(super) fn options(parsed: &Parsed) -> Result<Options> {
    Ok(Options {
        id: parsed.positional.first().cloned().unwrap_or_default(),
        bundle: absolute(parsed.value("bundle").unwrap_or("."))?,
        config: parsed.value("config").unwrap_or("config.json").into(),
        console_socket: parsed.value("console-socket").map(absolute).transpose()?,
        pidfd_socket: parsed.value("pidfd-socket").map(absolute).transpose()?,
        pid_file: parsed.value("pid-file").map(absolute).transpose()?,
        no_pivot: parsed.has("no-pivot"),
        no_new_keyring: parsed.has("no-new-keyring"),
        preserve_fds: preserved(parsed)?,
        sockets: listening(),
        detach: parsed.has("detach"),
        begin: Begin::WhenTold,
        trace: trace(parsed)?,
    })
}

/// Nothing is recorded without the flag.
pub(super) fn trace(parsed: &Parsed) -> Result<Trace> {
    parsed.value("trace").map_or(Ok(Trace::default()), |path| Trace::begin(path.as_ref()))
}

/// The descriptors that were asked for, and the sockets that the caller listens on (sd_listen_fds(3)).
pub(super) fn preserved(parsed: &Parsed) -> Result<u32> {
    let asked = parsed.number("preserve-fds")?.unwrap_or(0);
    // More than any process can have open: numbers behind it must not overflow.
    Ok(asked.saturating_add(listening()).min(1 << 20))
}

/// LISTEN_FDS. That LISTEN_PID is another process does not matter: callers in between do not know ours.
pub(super) fn listening() -> u32 {
    std::env::var("LISTEN_FDS").ok().and_then(|count| count.parse().ok()).unwrap_or(0)
}

pub(super) fn absolute(path: &str) -> Result<PathBuf> {
    let path = std::path::absolute(path).wrap(|| format!("path {path:?}"))?;
    // `absolute` keeps `/.` of a current directory given as ".".
    Ok(path.components().collect())
}

pub(super) fn format(parsed: &Parsed) -> Result<Format> {
    match parsed.value("format").unwrap_or("table") {
        "table" => Ok(Format::Table),
        "json" => Ok(Format::Json),
        other => Err(usage(format!("invalid format option {other:?} (table or json)"))),
    }
}

/// Does something with the container that ID names, or with `--regex` with each one that it is found in: then one
/// that fails keeps nobody else from their turn, and the first error is told in the end.
pub(super) fn each(runtime: &Runtime, parsed: &Parsed, act: impl Fn(&str) -> Result<()>) -> Result<i32> {
    let word = parsed.positional[0].as_str();
    if !parsed.has("regex") {
        return act(word).map(|()| 0);
    }
    let pattern = Pattern::parse(word)?;
    let ids = container::ids(&runtime.root)?;
    let chosen = ids.iter().filter(|id| pattern.is_in(id));
    let outcomes: Vec<_> = chosen.map(|id| act(id).map_err(|error| error.wrap(id))).collect();
    outcomes.into_iter().collect::<Result<()>>().map(|()| 0)
}

/// As runc words it: the callers' own messages are built around these.
pub(super) fn failed(runtime: &Runtime, verb: &str) -> impl Fn(Error) -> Error {
    let prefix = format!("{} {verb} failed", runtime.name);
    move |error| error.wrap(&prefix)
}

/// A value as JSON of four spaces.
pub(super) fn to_json(value: &impl serde::Serialize) -> Result<String> {
    json::write_indented(value, "    ")
        .map(|text| text + "\n")
        .map_err(|error| Error::new(ErrorKind::Os, error.to_string()))
}
