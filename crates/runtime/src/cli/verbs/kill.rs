// SPDX-License-Identifier: Apache-2.0
//! `kill`.

use super::Verb;
use crate::cli::flags::switch;
use crate::kill;

pub(super) const VERB: Verb = Verb {
    name: "kill",
    flags: &[switch("all", "every process of the container").or('a')],
    arguments: (1, 2),
    usage: "ID [SIGNAL]",
    help: "send a signal (default: TERM)",
    run: |runtime, parsed| {
        let signal = parsed.positional.get(1).map_or("TERM", String::as_str);
        kill::kill(runtime, &parsed.positional[0], signal, parsed.has("all"))?;
        Ok(0)
    },
    ..Verb::OF_ONE_CONTAINER
};
