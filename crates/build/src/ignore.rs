// SPDX-License-Identifier: Apache-2.0
//! Ignore files (`.containerignore`, `.dockerignore`, `<Containerfile>.dockerignore`) with moby's rules: the last
//! pattern that matches a path, or a directory above it, decides; `!` takes a path back.
//!
//! A path is held against few patterns: those without wildcards are looked up by the whole path, those that end in a
//! plain name by that name, those that begin with one by that; only the others are tried one by one. A directory
//! remembers which pattern decided for it, so that what is below asks later patterns only.

use std::collections::HashMap;

use crate::glob::{Dialect, Glob};

/// The files that are looked for, the first one wins; `{}` is the Containerfile's path.
pub const NAMES: [&str; 4] = ["{}.containerignore", "{}.dockerignore", ".containerignore", ".dockerignore"];

/// An ignore file, read.
#[derive(Clone, Debug, Default)]
pub struct Ignore {
    patterns: Vec<Pattern>,
    /// Indices of patterns by what they can be found by; ascending.
    whole: HashMap<String, Vec<usize>>,
    name: HashMap<String, Vec<usize>>,
    first: HashMap<String, Vec<usize>>,
    rest: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Pattern {
    /// `!`
    taken_back: bool,
    glob: Glob,
}

/// What was decided for a directory: the number of the pattern, counted from 1; 0 if none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decision(usize);

impl Ignore {
    /// Reads a file's text. An error names the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines =
            text.lines().enumerate().filter(|(_, line)| !line.starts_with('#') && !line.trim().is_empty());
        let mut ignore = Self::default();
        for (index, line) in lines {
            ignore.add(line.trim()).ok_or_else(|| format!("line {}: {line:?} is no pattern", index + 1))?;
        }
        Ok(ignore)
    }

    /// From patterns, as `--exclude` gives them.
    pub fn of<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut ignore = Self::default();
        for pattern in patterns {
            ignore.add(pattern.trim()).ok_or_else(|| format!("{pattern:?} is no pattern"))?;
        }
        Ok(ignore)
    }

    fn add(&mut self, line: &str) -> Option<()> {
        let (taken_back, pattern) = match line.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, line),
        };
        if taken_back && pattern.is_empty() {
            return None;
        }
        let pattern = clean(pattern);
        let glob = Glob::parse(&pattern, Dialect::Ignore)?;
        let index = self.patterns.len();
        self.patterns.push(Pattern { taken_back, glob });
        self.index(&pattern, index);
        Some(())
    }

    fn index(&mut self, pattern: &str, index: usize) {
        let last = pattern.rsplit('/').next().unwrap_or_default();
        let first = pattern.split('/').next().unwrap_or_default();
        // Behind `**` a name need not begin at a slash: `a**/b` matches `ab`.
        let last_is_whole =
            pattern.strip_suffix(last).is_some_and(|before| before.ends_with('/') && !before.contains("**"))
                || pattern.strip_prefix("**/") == Some(last);
        let (map, key) = match () {
            () if !Glob::is_pattern(pattern) => (&mut self.whole, pattern),
            () if last_is_whole && !Glob::is_pattern(last) => (&mut self.name, last),
            () if first != pattern && !Glob::is_pattern(first) => (&mut self.first, first),
            () => return self.rest.push(index),
        };
        map.entry(key.to_owned()).or_default().push(index);
    }

    /// Whether some pattern takes paths back: then an ignored directory may have wanted files in it.
    pub fn takes_back(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.taken_back)
    }

    /// Whether there is nothing to hold paths against.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Decides for a path of which the directory above it was decided for. Relative, `/` between names.
    pub fn decide(&self, path: &str, above: Decision) -> Decision {
        let last = path.rsplit('/').next().unwrap_or_default();
        let first = path.split('/').next().unwrap_or_default();
        let lists = [self.whole.get(path), self.name.get(last), self.first.get(first), Some(&self.rest)];
        let mut best = above;
        for list in lists.into_iter().flatten() {
            let later = list.iter().rev().take_while(|index| **index >= best.0);
            if let Some(index) = later.into_iter().find(|index| self.patterns[**index].glob.matches(path)) {
                best = Decision(index + 1);
            }
        }
        best
    }

    /// What the decision says.
    pub fn is_ignored(&self, decision: Decision) -> bool {
        decision.0.checked_sub(1).is_some_and(|index| !self.patterns[index].taken_back)
    }

    /// For one path on its own, the directories above it included.
    pub fn ignores(&self, path: &str) -> bool {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let decision = ends.fold(Decision::default(), |above, end| self.decide(&path[..end], above));
        self.is_ignored(decision)
    }
}

/// Without `.`, `..`, doubled and leading slashes.
fn clean(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_pattern_that_matches_decides() {
        let text = "# not this\n\n*.md\n!README.md\n/temp?\n**/node_modules\nbuild/\n!build/keep/**\ndocs/*/x\n./a/../b\n";
        let ignore = Ignore::parse(text).expect("patterns");
        let ignored =
            ["x.md", "temp1", "node_modules", "a/b/node_modules/c", "build", "build/o", "docs/y/x", "b/c"];
        let kept = ["README.md", "a/x.md", "temp", "temp12", "build/keep/it", "docs/x", "a", "# not this"];
        for path in ignored {
            assert!(ignore.ignores(path), "{path}");
        }
        for path in kept {
            assert!(!ignore.ignores(path), "{path}");
        }
        assert!(Ignore::parse("ok\n[\n").expect_err("a class").contains("line 2"));
    }

    /// The tables are a short cut and nothing else.
    #[test]
    fn the_same_without_tables() {
        let text = "a/b\n**/c\n!x/c\n*/d/*\nq**/e\n!a/**/d\nf\n**\n!k*\n";
        let ignore = Ignore::parse(text).expect("patterns");
        let names = ["a", "b", "c", "d", "e", "f", "k", "x", "qe"];
        for number in 0..names.len().pow(3) {
            let name = |digit: u32| names[number / names.len().pow(digit) % names.len()];
            let (one, two, three) = (name(0), name(1), name(2));
            let path = format!("{one}/{two}/{three}");
            let prefixes = [one.to_owned(), format!("{one}/{two}"), path.clone()];
            let plain =
                ignore.patterns.iter().rev().find(|p| prefixes.iter().any(|prefix| p.glob.matches(prefix)));
            assert_eq!(ignore.ignores(&path), plain.is_some_and(|p| !p.taken_back), "{path}");
        }
    }
}
