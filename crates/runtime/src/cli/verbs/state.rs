// SPDX-License-Identifier: Apache-2.0
//! `state`.

use super::Verb;
use crate::cli::flags::{switch, to_json};
use crate::cli::print;
use crate::container::Container;
use crate::{live, state};

pub(super) const VERB: Verb = Verb {
    name: "state",
    flags: &[switch("live", "compare what the kernel says with what config.json asked; 1 if they differ")],
    usage: "[--live] ID",
    help: "print a container's state as JSON",
    run: |runtime, parsed| {
        let id = &parsed.positional[0];
        if parsed.has("live") {
            let live = live::live(&Container::open(&runtime.root, id)?)?;
            print(&to_json(&live)?)?;
            return Ok(i32::from(!live.agrees));
        }
        print(&state::state(runtime, id)?)?;
        Ok(0)
    },
    ..Verb::OF_ONE_CONTAINER
};
