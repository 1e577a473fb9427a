// SPDX-License-Identifier: Apache-2.0
//! `delete`.

use super::Verb;
use crate::cli::flags::{REGEX, each, switch};
use crate::delete;

pub(super) const VERB: Verb = Verb {
    name: "delete",
    flags: &[switch("force", "kill it first; a missing container is no error").or('f'), REGEX],
    usage: "[flags] ID",
    help: "take away what create made",
    run: |runtime, parsed| each(runtime, parsed, |id| delete::delete(runtime, id, parsed.has("force"))),
    ..Verb::OF_ONE_CONTAINER
};
