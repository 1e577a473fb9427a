// SPDX-License-Identifier: Apache-2.0
//! `mounts add` and `mounts remove`, as crun has them.

use super::Verb;
use crate::cli::flags::failed;
use crate::cli::grammar::usage;
use crate::mounts;

pub(super) const VERB: Verb = Verb {
    name: "mounts",
    arguments: (3, 3),
    usage: "[add|remove] ID FILE",
    help: "mount what a JSON file lists into a running container, or take it away",
    enters_container: true,
    run: |runtime, parsed| {
        let [word, id, file] = [0, 1, 2].map(|index| parsed.positional[index].as_str());
        let act = match word {
            "add" => mounts::add,
            "remove" => mounts::remove,
            other => return Err(usage(format!("mounts: unknown command {other:?} (add or remove)"))),
        };
        act(runtime, id, file).map(|()| 0).map_err(failed(runtime, "mounts"))
    },
    ..Verb::OF_ONE_CONTAINER
};
