// SPDX-License-Identifier: Apache-2.0
//! `plan`.

use super::Verb;
use crate::cgroup::Layout;
use crate::cli::flags::{BUNDLE, CONFIG, NO_NEW_KEYRING, NO_PIVOT, PRESERVE_FDS, options, switch, to_json};
use crate::cli::grammar::Parsed;
use crate::cli::{Runtime, print};
use crate::{Result, bundle, create, plan};

pub(super) const VERB: Verb = Verb {
    name: "plan",
    flags: &[BUNDLE, CONFIG, NO_PIVOT, NO_NEW_KEYRING, PRESERVE_FDS, switch("json", "as JSON")],
    arguments: (0, 1),
    usage: "[--bundle DIR] [--json] [ID]",
    help: "print every step that create would take",
    run: |runtime, parsed| {
        print(&show(runtime, parsed)?)?;
        Ok(0)
    },
    ..Verb::OF_ONE_CONTAINER
};

fn show(runtime: &Runtime, parsed: &Parsed) -> Result<String> {
    let mut options = options(parsed)?;
    if options.id.is_empty() {
        options.id = "ID".into();
    }
    let bundle = options.bundle.to_string_lossy();
    let config = bundle::load(&bundle, &options.config)?;
    let plan = plan::plan(
        &config,
        &create::request(runtime, &options),
        &create::find_out(runtime, Layout::detect()?)?,
    )
    .map_err(|error| bundle::not_to_be_had(error, &bundle, &options.config))?;
    if parsed.has("json") { to_json(&plan) } else { Ok(plan.to_string()) }
}
