// SPDX-License-Identifier: Apache-2.0
//! `spec`.

use conex_sys::credentials::{effective_group, effective_user};

use super::Verb;
use crate::cli::flags::{BUNDLE, option, switch};
use crate::spec;

pub(super) const VERB: Verb = Verb {
    name: "spec",
    flags: &[
        BUNDLE,
        switch("rootless", "for the calling user, without privilege"),
        option("file", "FILE", "").or('f'),
    ],
    arguments: (0, 0),
    usage: "[flags]",
    help: "write a config.json to start from",
    run: |_, parsed| {
        let own = parsed.has("rootless").then(|| (effective_user(), effective_group()));
        spec::write(parsed.value("bundle").unwrap_or("."), own)?;
        Ok(0)
    },
    ..Verb::OF_ONE_CONTAINER
};
