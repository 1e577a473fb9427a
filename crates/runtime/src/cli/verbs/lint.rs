// SPDX-License-Identifier: Apache-2.0
//! `lint`.

use super::Verb;
use crate::Result;
use crate::cgroup::Layout;
use crate::cli::flags::{BUNDLE, options, switch, to_json};
use crate::cli::grammar::Parsed;
use crate::cli::print;
use crate::create::{self, Options};
use crate::lint::{self, Finding, Severity};

pub(super) const VERB: Verb = Verb {
    name: "lint",
    flags: &[BUNDLE, switch("json", "as JSON")],
    arguments: (0, 0),
    usage: "[--bundle DIR] [--json]",
    help: "tell what is wrong or unwise about a bundle on this host; 1 if there are errors",
    run: |runtime, parsed| {
        let options = Options { id: "ID".into(), ..options(parsed)? };
        let findings =
            lint::lint(&create::request(runtime, &options), &create::find_out(runtime, Layout::detect()?)?)?;
        print(&show(parsed, &findings)?)?;
        Ok(i32::from(findings.iter().any(|finding| finding.severity == Severity::Error)))
    },
    ..Verb::OF_ONE_CONTAINER
};

fn show(parsed: &Parsed, findings: &[Finding]) -> Result<String> {
    if parsed.has("json") {
        return to_json(&findings);
    }
    Ok(findings.iter().map(|finding| format!("{finding}\n")).collect())
}
