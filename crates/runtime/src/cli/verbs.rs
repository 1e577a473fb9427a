// SPDX-License-Identifier: Apache-2.0
//! The verbs: for each its flags, its arguments, and the call of the function that does it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::grammar::{self, Flag, Order, Parsed, option, switch, usage};
use super::{Format, Log, Runtime, default_root, print};
use crate::create::{self, Options};
use crate::exec::{self, Entry};
use crate::run::Keep;
use crate::{
    Error, ErrorKind, Result, Wrap, bundle, delete, features, kill, list, monitor, pause, plan, protect, ps,
    run, spec, start, state,
};

const GLOBAL: [Flag; 12] = [
    option("root", "DIR", "where containers are recorded (default: /run/NAME, or $XDG_RUNTIME_DIR/NAME)"),
    option("log", "FILE", "write errors to FILE as well as to standard error"),
    option("log-format", "FORMAT", "text (default) or json"),
    switch("debug", "also log what is being done"),
    switch("systemd-cgroup", "cgroupsPath is slice:prefix:name, and systemd makes the cgroup"),
    option("rootless", "BOOL", "ignore cgroup permission errors: true, false or auto (default)"),
    option("cgroup-manager", "DRIVER", "cgroupfs or systemd, as crun has it"),
    option("log-level", "LEVEL", "error, warning or debug, as crun has it"),
    option("criu", "PATH", ""),
    option("config", "FILE", ""),
    switch("force", ""),
    switch("version", "print the version").or('v'),
];

const BUNDLE: Flag = option("bundle", "DIR", "the bundle (default: the current directory)").or('b');
const CONSOLE_SOCKET: Flag =
    option("console-socket", "PATH", "a unix socket that gets the terminal's master");
const PIDFD_SOCKET: Flag = option("pidfd-socket", "PATH", "a unix socket that gets the process's pidfd");
const PID_FILE: Flag = option("pid-file", "FILE", "write the process id there");
const PRESERVE_FDS: Flag = option("preserve-fds", "N", "pass N more descriptors than the standard three");
const DETACH: Flag = switch("detach", "do not wait for the process").or('d');
const FORMAT: Flag = option("format", "FORMAT", "table (default) or json").or('f');
/// crun's name for another file than config.json; only the usual one is taken.
const CONFIG: Flag = option("config", "FILE", "").or('f');

const CREATE: [Flag; 9] = [
    BUNDLE,
    CONSOLE_SOCKET,
    PIDFD_SOCKET,
    PID_FILE,
    switch("no-pivot", "do not use pivot_root (for a root filesystem in RAM)"),
    switch("no-new-keyring", "keep the caller's session keyring"),
    PRESERVE_FDS,
    CONFIG,
    switch("no-subreaper", ""),
];

const RUN: [Flag; 11] = [
    BUNDLE,
    CONSOLE_SOCKET,
    PIDFD_SOCKET,
    PID_FILE,
    DETACH,
    switch("keep", "do not delete the container when it has ended"),
    switch("no-subreaper", "do not adopt the container's orphans"),
    switch("no-pivot", "do not use pivot_root (for a root filesystem in RAM)"),
    switch("no-new-keyring", "keep the caller's session keyring"),
    PRESERVE_FDS,
    CONFIG,
];

const EXEC: [Flag; 18] = [
    CONSOLE_SOCKET,
    PIDFD_SOCKET,
    option("cwd", "DIR", "working directory in the container"),
    option("env", "NAME=VALUE", "set a variable (repeatable)").or('e'),
    switch("tty", "allocate a terminal").or('t'),
    option("user", "UID[:GID]", "run as this user").or('u'),
    option("additional-gids", "GID", "be in this group too (repeatable)").or('g'),
    option("process", "FILE", "read the whole process from a JSON file").or('p'),
    DETACH,
    PID_FILE,
    option("process-label", "LABEL", "SELinux label"),
    option("apparmor", "PROFILE", "AppArmor profile"),
    switch("no-new-privs", "set no_new_privs"),
    option("cap", "CAP", "add a capability (repeatable)").or('c'),
    PRESERVE_FDS,
    option("cgroup", "PATH", "run in this sub-cgroup of the container"),
    switch("ignore-paused", "also enter a paused container"),
    switch("no-subreaper", ""),
];

const SPEC: [Flag; 3] = [
    BUNDLE,
    switch("rootless", "for the calling user, without privilege"),
    option("file", "FILE", "").or('f'),
];

/// A verb: how it is written, and what it is for.
struct Verb {
    name: &'static str,
    flags: &'static [Flag],
    order: Order,
    /// Least and most positional arguments.
    arguments: (usize, usize),
    usage: &'static str,
    help: &'static str,
}

const fn verb(
    name: &'static str,
    flags: &'static [Flag],
    arguments: (usize, usize),
    usage: &'static str,
    help: &'static str,
) -> Verb {
    Verb { name, flags, order: Order::Anywhere, arguments, usage, help }
}

const ANY: usize = usize::MAX;
const FORCE: Flag = switch("force", "kill it first; a missing container is no error").or('f');

const VERBS: [Verb; 15] = [
    verb("create", &CREATE, (1, 1), "[flags] ID", "make a container, and leave it waiting for its start"),
    verb("start", &[], (1, 1), "ID", "run the program of a created container"),
    verb("run", &RUN, (1, 1), "[flags] ID", "create and start"),
    Verb {
        order: Order::UpTo(1),
        ..verb("exec", &EXEC, (1, ANY), "[flags] ID COMMAND...", "run another process in a container")
    },
    verb(
        "kill",
        &[switch("all", "every process of the container").or('a')],
        (1, 2),
        "ID [SIGNAL]",
        "send a signal (default: TERM)",
    ),
    verb("delete", &[FORCE], (1, 1), "[--force] ID", "take away what create made"),
    verb("state", &[], (1, 1), "ID", "print a container's state as JSON"),
    verb("list", &[FORMAT, switch("quiet", "ids only").or('q')], (0, 0), "[flags]", "list the containers"),
    Verb {
        order: Order::UpTo(1),
        ..verb("ps", &[FORMAT], (1, ANY), "[flags] ID [PS OPTIONS]", "list a container's processes")
    },
    verb("pause", &[], (1, 1), "ID", "freeze all processes"),
    verb("resume", &[], (1, 1), "ID", "let them go on"),
    verb("spec", &SPEC, (0, 0), "[flags]", "write a config.json to start from"),
    verb("features", &[], (0, 0), "", "print what this runtime can do as JSON"),
    verb(
        "plan",
        &[
            BUNDLE,
            switch("no-pivot", ""),
            switch("no-new-keyring", ""),
            PRESERVE_FDS,
            switch("json", "as JSON"),
        ],
        (0, 1),
        "[--bundle DIR] [--json]",
        "print every step that create would take",
    ),
    Verb { order: Order::UpTo(0), ..verb("monitor", &[], (0, ANY), "", "") },
];

/// A parsed command line.
pub(super) struct Call {
    name: &'static str,
    global: Parsed,
    verb: Option<&'static Verb>,
    parsed: Parsed,
}

impl Call {
    /// Global flags, the verb, its flags and arguments.
    pub(super) fn parse(name: &'static str, arguments: &[OsString]) -> Result<Self> {
        let words = arguments.get(1..).unwrap_or_default();
        let global = grammar::parse(words, &GLOBAL, Order::UpTo(1))?;
        let Some(word) = global.positional.first() else {
            return Ok(Self { name, global, verb: None, parsed: Parsed::default() });
        };
        let known = VERBS.iter().find(|verb| verb.name == word.as_str());
        let Some(verb) = known.or_else(|| (word == "help").then_some(&VERBS[0])) else {
            return Err(usage(format!("no help topic for '{word}': no such command (see {name} --help)")));
        };
        let rest: Vec<_> = global.positional[1..].iter().map(OsString::from).collect();
        let mut parsed = grammar::parse(&rest, verb.flags, verb.order)?;
        parsed.help |= global.help;
        if word == "help" {
            return Ok(Self { name, global, verb: None, parsed: Parsed::default() });
        }
        let (least, most) = verb.arguments;
        if !parsed.help && !(least..=most).contains(&parsed.positional.len()) {
            let what = format!(
                "{name}: {:?} needs {least} to {} arguments: {name} {} {}",
                verb.name,
                if most == ANY { "any number of".to_owned() } else { most.to_string() },
                verb.name,
                verb.usage
            );
            return Err(usage(what));
        }
        Ok(Self { name, global, verb: Some(verb), parsed })
    }

    /// runc's: 255 where the process's own status is expected, else 1.
    pub(super) fn failure_status(&self) -> i32 {
        if self.verb.is_some_and(|verb| verb.name == "exec") { 255 } else { 1 }
    }

    /// Does it. An error comes with the log that it belongs to.
    pub(super) fn run(self, arguments: &[OsString]) -> std::result::Result<i32, (Log, Error)> {
        if self.global.has("version") {
            print(&version(self.name));
            return Ok(0);
        }
        let Some(verb) = self.verb else {
            print(&overview(self.name));
            return Ok(0);
        };
        if self.parsed.help {
            let usage = format!("{} {} {}", self.name, verb.name, verb.usage);
            print(&format!("{usage}\n   {}\n\n{}", verb.help, grammar::help(verb.flags)));
            return Ok(0);
        }
        let runtime = match self.runtime() {
            Ok(runtime) => runtime,
            Err(error) => return Err((Log::default(), error)),
        };
        let outcome = runtime.log.check().and_then(|()| dispatch(&runtime, verb, &self.parsed, arguments));
        outcome.map_err(|error| (runtime.log, error))
    }

    fn runtime(&self) -> Result<Runtime> {
        let global = &self.global;
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
        let systemd_cgroup = match global.value("cgroup-manager") {
            None => global.has("systemd-cgroup"),
            Some("cgroupfs") => false,
            Some("systemd") => true,
            Some("disabled") => {
                let what = "--cgroup-manager disabled is not supported yet: use cgroupfs";
                return Err(Error::new(ErrorKind::Unsupported, what));
            }
            Some(other) => return Err(usage(format!("unknown cgroup manager {other:?}"))),
        };
        let log = Log {
            file: global.value("log").map(|path| PathBuf::from(path.strip_prefix("file:").unwrap_or(path))),
            json,
            debug: global.has("debug") || global.value("log-level") == Some("debug"),
        };
        let root = match global.value("root") {
            Some(root) => std::path::absolute(root).wrap(|| "--root")?,
            None => default_root(self.name, rootless)?,
        };
        Ok(Runtime {
            name: self.name,
            root,
            root_is_explicit: global.value("root").is_some(),
            rootless,
            systemd_cgroup,
            log,
        })
    }
}

fn dispatch(runtime: &Runtime, verb: &Verb, parsed: &Parsed, arguments: &[OsString]) -> Result<i32> {
    let id = parsed.positional.first().map_or("", String::as_str);
    // As runc words it: the callers' own messages are built around these.
    let failed = |error: Error| match verb.name {
        "exec" => error.wrap("exec failed"),
        name => error.wrap(format_args!("{} {name} failed", runtime.name)),
    };
    if ["create", "run", "exec"].contains(&verb.name) {
        protect::run_from_sealed_copy(arguments.iter().cloned())?;
    }
    match verb.name {
        "create" => create::create(runtime, &options(parsed)?).map_err(failed)?,
        "run" => {
            let keep = Keep { keep: parsed.has("keep"), no_subreaper: parsed.has("no-subreaper") };
            return run::run(runtime, &options(parsed)?, keep).map_err(failed);
        }
        "exec" => return exec::exec(runtime, id, &entry(parsed)?).map_err(failed),
        "start" => start::start(runtime, id)?,
        "kill" => {
            let signal = parsed.positional.get(1).map_or("TERM", String::as_str);
            kill::kill(runtime, id, signal, parsed.has("all"))?;
        }
        "delete" => delete::delete(runtime, id, parsed.has("force"))?,
        "state" => print(&state::state(runtime, id)?),
        "list" => print(&list::list(runtime, format(parsed)?, parsed.has("quiet"))?),
        "ps" => print(&ps::ps(runtime, id, format(parsed)?, &parsed.positional[1..])?),
        "pause" => pause::pause(runtime, id)?,
        "resume" => pause::resume(runtime, id)?,
        "spec" => write_spec(parsed)?,
        "features" => print(&to_json(&features::features())?),
        "plan" => print(&show_plan(runtime, parsed)?),
        "monitor" => {
            let words = parsed.positional.iter().map(OsString::from).collect();
            monitor::run(&monitor::parse(words)?)?;
        }
        other => return Err(usage(format!("{other}: no such command"))),
    }
    Ok(0)
}

/// The flags of `create` and `run`. Paths are made absolute: the bundle becomes the working directory.
fn options(parsed: &Parsed) -> Result<Options> {
    if let Some(file) = parsed.value("config").filter(|file| Path::new(file) != Path::new("config.json")) {
        let what = format!("--config {file}: only the bundle's config.json is supported");
        return Err(Error::new(ErrorKind::Unsupported, what));
    }
    Ok(Options {
        id: parsed.positional.first().cloned().unwrap_or_default(),
        bundle: absolute(parsed.value("bundle").unwrap_or("."))?,
        console_socket: parsed.value("console-socket").map(absolute).transpose()?,
        pidfd_socket: parsed.value("pidfd-socket").map(absolute).transpose()?,
        pid_file: parsed.value("pid-file").map(absolute).transpose()?,
        no_pivot: parsed.has("no-pivot"),
        no_new_keyring: parsed.has("no-new-keyring"),
        preserve_fds: preserved(parsed)?,
        detach: parsed.has("detach"),
    })
}

/// The descriptors that were asked for, and the sockets that the caller listens on (sd_listen_fds(3)).
fn preserved(parsed: &Parsed) -> Result<u32> {
    let asked = parsed.number("preserve-fds")?.unwrap_or(0);
    let listening = std::env::var("LISTEN_FDS").ok().and_then(|count| count.parse().ok()).unwrap_or(0);
    // More than any process can have open: numbers behind it must not overflow.
    Ok(asked.saturating_add(listening).min(1 << 20))
}

fn absolute(path: &str) -> Result<PathBuf> {
    let path = std::path::absolute(path).wrap(|| format!("path {path:?}"))?;
    // `absolute` keeps `/.` of a current directory given as ".".
    Ok(path.components().collect())
}

fn entry(parsed: &Parsed) -> Result<Entry> {
    let words = |name| parsed.all(name).map(str::to_owned).collect::<Vec<_>>();
    Ok(Entry {
        process: parsed.value("process").map(absolute).transpose()?,
        args: parsed.positional[1..].to_vec(),
        cwd: parsed.value("cwd").map(str::to_owned),
        env: words("env"),
        terminal: parsed.has("tty"),
        user: parsed.value("user").map(exec::parse_user).transpose()?,
        additional_gids: words("additional-gids")
            .iter()
            .map(|word| exec::parse_id(word))
            .collect::<Result<_>>()?,
        process_label: parsed.value("process-label").map(str::to_owned),
        apparmor: parsed.value("apparmor").map(str::to_owned),
        no_new_privileges: parsed.has("no-new-privs"),
        capabilities: words("cap"),
        detach: parsed.has("detach"),
        console_socket: parsed.value("console-socket").map(absolute).transpose()?,
        pidfd_socket: parsed.value("pidfd-socket").map(absolute).transpose()?,
        pid_file: parsed.value("pid-file").map(absolute).transpose()?,
        preserve_fds: preserved(parsed)?,
        cgroup: parsed.value("cgroup").map(str::to_owned),
        ignore_paused: parsed.has("ignore-paused"),
    })
}

fn format(parsed: &Parsed) -> Result<Format> {
    match parsed.value("format").unwrap_or("table") {
        "table" => Ok(Format::Table),
        "json" => Ok(Format::Json),
        other => Err(usage(format!("invalid format option {other:?} (table or json)"))),
    }
}

fn write_spec(parsed: &Parsed) -> Result<()> {
    let own = || {
        let (uid, gid) =
            (conex_sys::credentials::effective_user(), conex_sys::credentials::effective_group());
        (uid, gid)
    };
    spec::write(parsed.value("bundle").unwrap_or("."), parsed.has("rootless").then(own))
}

fn show_plan(runtime: &Runtime, parsed: &Parsed) -> Result<String> {
    let mut options = options(parsed)?;
    if options.id.is_empty() {
        options.id = "ID".into();
    }
    let config = bundle::load(&options.bundle.to_string_lossy())?;
    let plan = plan::plan(&config, &create::request(runtime, &options), &create::find_out(runtime)?)
        .map_err(|error| Error::new(ErrorKind::Config, error.message))?;
    if parsed.has("json") { to_json(&plan) } else { Ok(plan.to_string()) }
}

fn to_json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string_pretty(value)
        .map(|text| spec::indent(&text, "    ") + "\n")
        .map_err(|error| Error::new(ErrorKind::Os, error.to_string()))
}

fn version(name: &str) -> String {
    let own = env!("CARGO_PKG_VERSION");
    let other = if name == "conex-runtime" { String::new() } else { format!("conex-runtime: {own}\n") };
    format!("{name} version {own}\n{other}spec: {}\n", conex_spec::runtime::VERSION)
}

fn overview(name: &str) -> String {
    let verbs = VERBS.iter().filter(|verb| !verb.help.is_empty());
    let verbs: String = verbs.map(|verb| format!("   {:10} {}\n", verb.name, verb.help)).collect();
    let flags = grammar::help(&GLOBAL);
    format!(
        "{name}: runs a container from an OCI bundle\n\nUSAGE:\n   {name} [global flags] COMMAND [flags] [arguments]\n\n\
         COMMANDS:\n{verbs}\nGLOBAL FLAGS:\n{flags}\n`{name} COMMAND --help` explains a command.\n"
    )
}
