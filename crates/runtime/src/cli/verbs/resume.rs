// SPDX-License-Identifier: Apache-2.0
//! `resume`.

use super::Verb;
use crate::pause;

pub(super) const VERB: Verb = Verb {
    name: "resume",
    help: "let them go on",
    run: |runtime, parsed| {
        pause::resume(runtime, &parsed.positional[0])?;
        Ok(0)
    },
    ..Verb::OF_ONE_CONTAINER
};
