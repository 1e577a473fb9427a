// SPDX-License-Identifier: Apache-2.0
//! `exec`.

use super::{ANY, Verb};
use crate::Result;
use crate::cli::flags::{
    CONSOLE_SOCKET, DETACH, PID_FILE, PIDFD_SOCKET, PRESERVE_FDS, TRACE, absolute, listening, option,
    preserved, switch, trace,
};
use crate::cli::grammar::{Order, Parsed};
use crate::exec::{self, Entry};

pub(super) const VERB: Verb = Verb {
    name: "exec",
    flags: &[
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
        option("cgroup", "[CONTROLLER,...:]PATH", "run in this sub-cgroup of the container (repeatable)"),
        switch("ignore-paused", "also enter a paused container"),
        TRACE,
        switch("no-subreaper", ""),
    ],
    order: Order::UpTo(1),
    arguments: (1, ANY),
    usage: "[flags] ID COMMAND...",
    help: "run another process in a container",
    // 1 may be the process's own.
    failure_status: 255,
    enters_container: true,
    run: |runtime, parsed| {
        let outcome = exec::exec(runtime, &parsed.positional[0], &entry(parsed)?);
        outcome.map_err(|error| error.wrap("exec failed"))
    },
};

fn entry(parsed: &Parsed) -> Result<Entry> {
    let words = |name| parsed.all(name).map(str::to_owned).collect::<Vec<_>>();
    Ok(Entry {
        process: parsed.value("process").map(absolute).transpose()?,
        args: parsed.positional[1..].to_vec(),
        cwd: parsed.value("cwd").map(str::to_owned),
        env: words("env"),
        terminal: parsed.has("tty"),
        user: parsed.value("user").map(exec::parse_user).transpose()?,
        additional_gids: parsed.all("additional-gids").map(exec::parse_id).collect::<Result<_>>()?,
        process_label: parsed.value("process-label").map(str::to_owned),
        apparmor: parsed.value("apparmor").map(str::to_owned),
        no_new_privileges: parsed.has("no-new-privs"),
        capabilities: words("cap"),
        detach: parsed.has("detach"),
        console_socket: parsed.value("console-socket").map(absolute).transpose()?,
        pidfd_socket: parsed.value("pidfd-socket").map(absolute).transpose()?,
        pid_file: parsed.value("pid-file").map(absolute).transpose()?,
        preserve_fds: preserved(parsed)?,
        sockets: listening(),
        cgroup: words("cgroup"),
        ignore_paused: parsed.has("ignore-paused"),
        trace: trace(parsed)?,
    })
}
