// SPDX-License-Identifier: Apache-2.0
//! `list`.

use super::Verb;
use crate::cli::flags::{FORMAT, format, switch};
use crate::cli::print;
use crate::list;

pub(super) const VERB: Verb = Verb {
    name: "list",
    flags: &[FORMAT, switch("quiet", "ids only").or('q')],
    arguments: (0, 0),
    usage: "[flags]",
    help: "list the containers",
    run: |runtime, parsed| {
        print(&list::list(runtime, format(parsed)?, parsed.has("quiet"))?)?;
        Ok(0)
    },
    ..Verb::OF_ONE_CONTAINER
};
