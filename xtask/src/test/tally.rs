// SPDX-License-Identifier: Apache-2.0
//! The count of a run, from what libtest prints.

use std::collections::BTreeMap;

/// The tiers that a host may lack.
pub const TIERS: [&str; 3] = ["userns", "root", "vm"];

#[derive(Debug, Default, PartialEq)]
pub struct Tally {
    /// As libtest counts: a test that skips itself is among them.
    pub passed: usize,
    pub failed: Vec<String>,
    /// Test → reason.
    pub skipped: BTreeMap<String, String>,
    ignored: usize,
    failures: bool,
}

impl Tally {
    /// Takes in one line of `cargo test`; whether a person should see it.
    pub fn line(&mut self, line: &str) -> bool {
        if let Some(rest) = line.strip_prefix("SKIP ") {
            self.skip(rest);
            return false;
        }
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.failures = false;
            self.passed += count(counts, "passed");
            self.ignored += count(counts, "ignored");
            return counts.starts_with("FAILED");
        }
        if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... ignored")) {
            self.skip(&format!("{name}: ignored"));
        }
        self.failures |= line == "failures:";
        if self.failures && line.starts_with("---- ") {
            let name = line.trim_start_matches("---- ").trim_end_matches(" ----").trim_end_matches(" stdout");
            self.failed.push(name.to_owned());
        }
        self.failures || line.starts_with("error") || line.contains("panicked at")
    }

    /// Takes in `test: reason`.
    pub fn skip(&mut self, line: &str) {
        // A path has `::`, never a colon followed by a space.
        let (test, reason) = line.split_once(": ").unwrap_or((line, "no reason given"));
        self.skipped.insert(test.to_owned(), reason.to_owned());
    }

    /// How many of those that skipped themselves libtest has counted as passed.
    pub fn skipped_as_passed(&self) -> usize {
        self.skipped.len().saturating_sub(self.ignored)
    }

    /// Skipped tests of tiers that must run.
    pub fn forbidden_skips(&self, must: &[String]) -> Vec<String> {
        let tier = |test: &str| {
            let name = test.rsplit("::").next().unwrap_or(test);
            must.iter().any(|tier| name.starts_with(&format!("{tier}_")))
        };
        self.skipped.keys().filter(|test| tier(test)).cloned().collect()
    }
}

/// `ok. 5 passed; 0 failed; …` → 5.
fn count(counts: &str, what: &str) -> usize {
    let words: Vec<&str> = counts.split([' ', ';']).filter(|word| !word.is_empty()).collect();
    let at = words.iter().position(|word| *word == what).unwrap_or(0);
    words.get(at.wrapping_sub(1)).and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
running 4 tests
test apply::opaque ... ok
test apply::slow ... ignored
failures:

---- apply::climbs stdout ----

thread 'apply::climbs' panicked at crates/image/src/apply.rs:1:1:
left behind

failures:
    apply::climbs

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s

running 1 test
test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
SKIP demo::root_mounts: no runc on this host: apt-get install runc
";

    #[test]
    fn counts_what_libtest_prints() {
        let mut tally = Tally::default();
        let shown: Vec<&str> = OUTPUT.lines().filter(|line| tally.line(line)).collect();
        assert_eq!(tally.passed, 3);
        assert_eq!(tally.failed, ["apply::climbs"]);
        assert_eq!(tally.skipped["apply::slow"], "ignored");
        assert_eq!(tally.skipped["demo::root_mounts"], "no runc on this host: apt-get install runc");
        assert_eq!(tally.skipped_as_passed(), 1);
        assert_eq!(tally.forbidden_skips(&["root".into()]), ["demo::root_mounts"]);
        assert_eq!(tally.forbidden_skips(&["vm".into()]), [""; 0]);
        assert!(shown.contains(&"left behind") && !shown.contains(&"running 1 test"));
    }
}
