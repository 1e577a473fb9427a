// SPDX-License-Identifier: Apache-2.0
//! `start`.

use super::Verb;
use crate::start;

pub(super) const VERB: Verb = Verb {
    name: "start",
    help: "run the program of a created container",
    run: |runtime, parsed| {
        start::start(runtime, &parsed.positional[0])?;
        Ok(0)
    },
    ..Verb::OF_ONE_CONTAINER
};
