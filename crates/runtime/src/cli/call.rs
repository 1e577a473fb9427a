// SPDX-License-Identifier: Apache-2.0
//! A command line: `NAME [global flags] VERB [flags] [arguments]`, read and done. What a verb takes is in its own file
//! below `verbs`; here is what all of them share: global flags, help, version, the log that an error goes to.

use std::ffi::OsString;

use super::flags::{option, switch};
use super::grammar::{self, Flag, Order, Parsed, usage};
use super::log::{Destination, Level, Log};
use super::verbs::{self, Verb};
use super::{Runtime, default_root, print};
use crate::cgroup::Driver;
use crate::{Error, ErrorKind, Result, Wrap, protect};

pub(super) const GLOBAL: &[Flag] = &[
    option("root", "DIR", "where containers are recorded (default: /run/NAME, or $XDG_RUNTIME_DIR/NAME)"),
    option("log", "DEST", "also log to [file:]PATH, journald:ID or syslog:ID (default: standard error only)"),
    option("log-format", "FORMAT", "text (default) or json"),
    switch("debug", "also log what is being done"),
    switch("systemd-cgroup", "cgroupsPath is slice:prefix:name, and systemd makes the cgroup"),
    option("rootless", "BOOL", "ignore cgroup permission errors: true, false or auto (default)"),
    option(
        "cgroup-manager",
        "DRIVER",
        "cgroupfs (default), systemd, or disabled: stay in the caller's cgroup",
    ),
    option("log-level", "LEVEL", "error, warning or debug (default: warnings at standard error only)"),
    option("criu", "PATH", ""),
    switch("version", "print the version").or('v'),
    // crun's other name for it.
    switch("version", "").or('V'),
];

/// What is to be done.
enum Task {
    Version,
    Overview,
    Help(&'static Verb),
    Verb(&'static Verb, Parsed),
}

/// A parsed command line.
pub(super) struct Call {
    name: &'static str,
    global: Parsed,
    task: Task,
}

impl Call {
    /// Global flags, the verb, its flags and arguments.
    pub(super) fn parse(name: &'static str, arguments: &[OsString]) -> Result<Self> {
        let words = arguments.get(1..).unwrap_or_default();
        let mut global = grammar::parse(words, GLOBAL, Order::UpTo(1))?;
        let mut words = std::mem::take(&mut global.positional).into_iter();
        let task = match words.next() {
            _ if global.has("version") => Task::Version,
            None => Task::Overview,
            Some(word) if word == "help" || word == "h" => {
                words.next().map_or(Ok(Task::Overview), |word| {
                    Ok::<_, Error>(Task::Help(verbs::find(&word).ok_or_else(|| unknown(name, &word))?))
                })?
            }
            Some(word) => {
                let verb = verbs::find(&word).ok_or_else(|| unknown(name, &word))?;
                read(name, verb, &words.map(OsString::from).collect::<Vec<_>>(), global.help)?
            }
        };
        Ok(Self { name, global, task })
    }

    /// What to exit with if it fails.
    pub(super) fn failure_status(&self) -> i32 {
        if let Task::Verb(verb, _) = &self.task { verb.failure_status } else { 1 }
    }

    /// Does it. An error comes with the log that it belongs to.
    pub(super) fn run(self, arguments: &[OsString]) -> std::result::Result<i32, (Log, Error)> {
        let text = match &self.task {
            Task::Version => version(self.name),
            Task::Overview => overview(self.name),
            Task::Help(verb) => help(self.name, verb),
            Task::Verb(verb, parsed) => {
                let runtime = runtime(self.name, &self.global).map_err(|error| (Log::default(), error))?;
                let ready = runtime.log.check().and_then(|()| match verb.enters_container {
                    true => protect::run_from_unwritable_file(arguments.iter().cloned()),
                    false => Ok(()),
                });
                let outcome = ready.and_then(|()| (verb.run)(&runtime, parsed));
                return outcome.map_err(|error| (runtime.log, error));
            }
        };
        print(&text).map(|_| 0).map_err(|error| (Log::default(), error))
    }
}

fn unknown(name: &str, word: &str) -> Error {
    let what = format!("No help topic for '{word}': no such command (see {name} --help)");
    Error::new(ErrorKind::NotFound, what)
}

/// A verb's own words.
fn read(name: &str, verb: &'static Verb, words: &[OsString], help: bool) -> Result<Task> {
    // Also of a verb that does not read its own words.
    if help || words.first().is_some_and(|word| word == "-h" || word == "--help") {
        return Ok(Task::Help(verb));
    }
    let parsed = grammar::parse(words, verb.flags, verb.order)?;
    if parsed.help {
        return Ok(Task::Help(verb));
    }
    let (least, most) = verb.arguments;
    let given = parsed.positional.len();
    let required = if least == most && given != least {
        format!("exactly {least}")
    } else if given < least {
        format!("a minimum of {least}")
    } else if given > most {
        format!("a maximum of {most}")
    } else {
        return Ok(Task::Verb(verb, parsed));
    };
    // As runc answers: the help at standard output, the error as any other.
    print(&format!("Incorrect Usage.\n\n{}", self::help(name, verb)))?;
    Err(usage(format!("{name}: {:?} requires {required} argument(s)", verb.name)))
}

/// What the global flags say.
fn runtime(name: &'static str, global: &Parsed) -> Result<Runtime> {
    let rootless = match global.value("rootless").unwrap_or("auto") {
        "auto" => None,
        "true" => Some(true),
        "false" => Some(false),
        other => return Err(usage(format!("--rootless: expected true, false or auto, got {other:?}"))),
    };
    let json = match global.value("log-format").unwrap_or("text") {
        "text" => false,
        "json" => true,
        other => return Err(usage(format!("unknown log-format {other:?} (text or json)"))),
    };
    let cgroup_driver = match global.value("cgroup-manager") {
        None if global.has("systemd-cgroup") => Driver::Systemd,
        None | Some("cgroupfs") => Driver::Cgroupfs,
        Some("systemd") => Driver::Systemd,
        Some("disabled") => Driver::Disabled,
        Some(other) => {
            return Err(usage(format!("unknown cgroup manager {other:?} (cgroupfs, systemd or disabled)")));
        }
    };
    let level = global.value("log-level").map(Level::parse).transpose()?;
    let log = Log {
        to: global.value("log").map_or_else(Destination::default, |word| Destination::parse(word, name)),
        json,
        level: if global.has("debug") { Some(Level::Debug) } else { level },
    };
    let root = match global.value("root") {
        Some(root) => std::path::absolute(root).wrap(|| "--root")?,
        None => default_root(name, rootless)?,
    };
    let root_is_explicit = global.value("root").is_some();
    Ok(Runtime { name, root, root_is_explicit, rootless, cgroup_driver, log })
}

fn version(name: &str) -> String {
    let own = env!("CARGO_PKG_VERSION");
    // Under a peer's name the first line is that peer's, which callers look for.
    let commit = if name == "conex-runtime" { own.to_owned() } else { format!("conex-runtime {own}") };
    format!("{name} version {own}\ncommit: {commit}\nspec: {}\n", conex_spec::runtime::VERSION)
}

fn help(name: &str, verb: &Verb) -> String {
    let Verb { name: word, usage, help, .. } = verb;
    let flags = if verb.flags.is_empty() { "" } else { "\nOPTIONS:\n" };
    let list = grammar::help(verb.flags);
    format!("NAME:\n   {name} {word} - {help}\n\nUSAGE:\n   {name} {word} {usage}\n{flags}{list}")
}

fn overview(name: &str) -> String {
    let verbs = verbs::ALL.iter().filter(|verb| !verb.help.is_empty());
    let verbs: String = verbs.map(|verb| format!("   {:10} {}\n", verb.name, verb.help)).collect();
    let flags = grammar::help(GLOBAL);
    format!(
        "NAME:\n   {name} - Open Container Initiative runtime: a bundle becomes a container\n\n\
         USAGE:\n   {name} [global options] COMMAND [options] [arguments]\n\n\
         COMMANDS:\n{verbs}\nGLOBAL OPTIONS:\n{flags}\n`{name} COMMAND --help` explains a command.\n"
    )
}
