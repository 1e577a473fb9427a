// SPDX-License-Identifier: Apache-2.0
//! `kill`.

use super::Verb;
use crate::cli::flags::{REGEX, each, switch};
use crate::kill;

pub(super) const VERB: Verb = Verb {
    name: "kill",
    flags: &[switch("all", "every process of the container").or('a'), REGEX],
    arguments: (1, 2),
    usage: "[flags] ID [SIGNAL]",
    help: "send a signal (default: TERM)",
    run: |runtime, parsed| {
        let signal = parsed.positional.get(1).map_or("TERM", String::as_str);
        each(runtime, parsed, |id| kill::kill(runtime, id, signal, parsed.has("all")))
    },
    ..Verb::OF_ONE_CONTAINER
};
