// SPDX-License-Identifier: Apache-2.0
//! `features`.

use super::Verb;
use crate::cli::flags::to_json;
use crate::cli::print;
use crate::features;

pub(super) const VERB: Verb = Verb {
    name: "features",
    arguments: (0, 0),
    usage: "",
    help: "print what this runtime can do as JSON",
    run: |_, _| {
        print(&to_json(&features::features())?)?;
        Ok(0)
    },
    ..Verb::OF_ONE_CONTAINER
};
