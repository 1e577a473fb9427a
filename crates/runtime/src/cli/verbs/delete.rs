// SPDX-License-Identifier: Apache-2.0
//! `delete`.

use super::Verb;
use crate::cli::flags::switch;
use crate::delete;

pub(super) const VERB: Verb = Verb {
    name: "delete",
    flags: &[switch("force", "kill it first; a missing container is no error").or('f')],
    usage: "[--force] ID",
    help: "take away what create made",
    run: |runtime, parsed| {
        delete::delete(runtime, &parsed.positional[0], parsed.has("force"))?;
        Ok(0)
    },
    ..Verb::OF_ONE_CONTAINER
};
