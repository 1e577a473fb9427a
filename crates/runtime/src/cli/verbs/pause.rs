// SPDX-License-Identifier: Apache-2.0
//! `pause`.

use super::Verb;
use crate::pause;

pub(super) const VERB: Verb = Verb {
    name: "pause",
    help: "freeze all processes",
    run: |runtime, parsed| {
        pause::pause(runtime, &parsed.positional[0])?;
        Ok(0)
    },
    ..Verb::OF_ONE_CONTAINER
};
