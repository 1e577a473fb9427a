// SPDX-License-Identifier: Apache-2.0
//! The count of a run, from what libtest prints.

use std::collections::BTreeMap;

/// The tiers that a host may lack.
pub const TIERS: [&str; 3] = ["userns", "root", "vm"];

#[derive(Debug, Default)]
pub struct Tally {
    /// As libtest counts: a test that skips itself is among them.
    pub passed: usize,
    pub failed: Vec<String>,
    /// Test → reason.
    pub skipped: BTreeMap<String, String>,
    /// Seconds of each program of tests.
    pub seconds: Vec<(f64, String)>,
    program: String,
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
        if let Some(program) = line.trim_start().strip_prefix("Running ") {
            self.program = program_name(program).to_owned();
        }
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.failures = false;
            let seconds = counts.rsplit(' ').next().and_then(|text| text.trim_end_matches('s').parse().ok());
            self.seconds.extend(seconds.map(|seconds| (seconds, self.program.clone())));
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

    /// Where the time goes: the programs of tests that took longest, the slowest first.
    pub fn slowest(&self, most: usize) -> Vec<(f64, String)> {
        let mut sorted = self.seconds.clone();
        sorted.sort_by(|one, other| other.0.total_cmp(&one.0));
        sorted.truncate(most);
        sorted
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

/// `tests/killed.rs (target/debug/deps/killed-3f2a)` → `killed`.
fn program_name(text: &str) -> &str {
    let path = text.rsplit(['(', '/']).next().unwrap_or(text);
    path.rsplit_once('-').map_or(path, |(name, _)| name)
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
     Running tests/tree.rs (target/debug/deps/tree-0f3a)

running 4 tests
test apply::opaque ... ok
test apply::slow ... ignored
failures:

---- apply::climbs stdout ----

thread 'apply::climbs' panicked at crates/image/src/apply.rs:1:1:
left behind

failures:
    apply::climbs

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.31s

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
        assert_eq!(tally.slowest(1), [(0.31, "tree".to_owned())]);
        assert!(shown.contains(&"left behind") && !shown.contains(&"running 1 test"));
    }
}
