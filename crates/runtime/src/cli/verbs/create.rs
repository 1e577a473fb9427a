// SPDX-License-Identifier: Apache-2.0
//! `create`.

use super::Verb;
use crate::cli::flags::{
    BUNDLE, CONFIG, CONSOLE_SOCKET, NO_NEW_KEYRING, NO_PIVOT, PID_FILE, PIDFD_SOCKET, PRESERVE_FDS, TRACE,
    failed, options, switch,
};
use crate::create;

pub(super) const VERB: Verb = Verb {
    name: "create",
    flags: &[
        BUNDLE,
        CONSOLE_SOCKET,
        PIDFD_SOCKET,
        PID_FILE,
        NO_PIVOT,
        NO_NEW_KEYRING,
        PRESERVE_FDS,
        CONFIG,
        TRACE,
        switch("no-subreaper", ""),
    ],
    usage: "[flags] ID",
    help: "make a container, and leave it waiting for its start",
    enters_container: true,
    run: |runtime, parsed| {
        create::create(runtime, &options(parsed)?).map_err(failed(runtime, "create"))?;
        Ok(0)
    },
    ..Verb::OF_ONE_CONTAINER
};
