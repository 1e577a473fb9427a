// SPDX-License-Identifier: Apache-2.0
//! `state`.

use super::Verb;
use crate::cli::print;
use crate::state;

pub(super) const VERB: Verb = Verb {
    name: "state",
    help: "print a container's state as JSON",
    run: |runtime, parsed| {
        print(&state::state(runtime, &parsed.positional[0])?);
        Ok(0)
    },
    ..Verb::OF_ONE_CONTAINER
};
