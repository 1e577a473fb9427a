// SPDX-License-Identifier: Apache-2.0
//! `run`.

use super::Verb;
use crate::cli::flags::{
    BUNDLE, CONFIG, CONSOLE_SOCKET, DETACH, NO_NEW_KEYRING, NO_PIVOT, PID_FILE, PIDFD_SOCKET, PRESERVE_FDS,
    TRACE, failed, options, switch,
};
use crate::run::{self, Keep};

pub(super) const VERB: Verb = Verb {
    name: "run",
    flags: &[
        BUNDLE,
        CONSOLE_SOCKET,
        PIDFD_SOCKET,
        PID_FILE,
        DETACH,
        switch("keep", "do not delete the container when it has ended"),
        switch("no-subreaper", "do not adopt the container's orphans"),
        NO_PIVOT,
        NO_NEW_KEYRING,
        PRESERVE_FDS,
        CONFIG,
        TRACE,
    ],
    usage: "[flags] ID",
    help: "create and start",
    enters_container: true,
    run: |runtime, parsed| {
        let keep = Keep { keep: parsed.has("keep"), no_subreaper: parsed.has("no-subreaper") };
        run::run(runtime, &options(parsed)?, keep).map_err(failed(runtime, "run"))
    },
    ..Verb::OF_ONE_CONTAINER
};
